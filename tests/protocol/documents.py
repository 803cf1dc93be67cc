"""Random documents of a shape, and the two round trips that must give them back."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.compat import HTTPHeaders
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from dewfall.bodies import StagedBody
from dewfall.wire import models
from dewfall.wire.answers import write_response
from dewfall.wire.bindings import form_of, read_request
from dewfall.wire.messages import Request, Response
from dewfall.wire.route import Match, match, match_form

EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
PLAIN = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.~"
HEADER = PLAIN + " /=;:+()'!*&%$#@?"
WIDE = HEADER + ',"<>\\\n\t{}[]|äßπ☃𝒳'
LISTS_OF_NOTHING = ("json", "rest-json", "smithy-rpc-v2-cbor")


class Maker:
    """Makes one document; what a place cannot carry (an empty list in a form, say) is not made for it."""

    def __init__(self, random: Random, protocol: str) -> None:
        self.random = random
        self.protocol = protocol
        self.least = 0 if protocol in LISTS_OF_NOTHING else 1

    def structure(self, shape: Any, depth: int = 0) -> dict[str, Any]:
        names = [name for name in shape.members if self.protocol != "query" or not hollow(shape.members[name])]
        if getattr(shape, "is_tagged_union", False):
            names = [self.random.choice(names)]
        found = {}
        for name in names:
            member = shape.members[name]
            if member.serialization.get("eventstream"):
                continue
            if name in shape.required_members or len(names) == 1 or self.random.random() < (0.7 if depth < 4 else 0.2):
                found[name] = self.value(member, depth + 1)
        payload = shape.serialization.get("payload")
        if payload and shape.members[payload].type_name == "blob":
            found.setdefault(payload, b"")  # no body and an empty one are the same bytes on the wire
        if not found and names and self.least and depth:
            found[names[0]] = self.value(shape.members[names[0]], depth + 1)
        return found

    def value(self, shape: Any, depth: int) -> Any:
        location = shape.serialization.get("location", "")
        kind = shape.type_name
        if kind == "structure":
            if shape.is_document_type:
                return {"a": [1, "b", None, True, {"c": 1.5}]}
            return self.structure(shape, depth)
        if kind == "list":
            least = 1 if location else self.least
            if shape.member.type_name in ("structure", "list", "map") and depth > 4 and not least:
                return []
            count = 1 if location == "header" and shape.member.type_name == "timestamp" else self.random.randint(least, 2)
            return [self.value(shape.member, depth + 1) if not location else self.scalar(shape.member, location) for _ in range(count)]
        if kind == "map":
            if location:
                return {self.text("abc-x", least=2): [self.text(PLAIN)] if shape.value.type_name == "list" else self.text(HEADER) for _ in range(2)}
            return {self.text(WIDE): self.value(shape.value, depth + 1) for _ in range(self.random.randint(self.least, 2))}
        return self.scalar(shape, location)

    def scalar(self, shape: Any, location: str) -> Any:
        kind, random = shape.type_name, self.random
        if shape.serialization.get("hostLabel"):
            return self.text("abcxyz0123")
        if kind == "boolean":
            return random.random() < 0.5
        if kind in ("integer", "long"):
            return 202 if location == "statusCode" else random.randint(-(2**31), 2**31 - 1)
        if kind in ("float", "double"):
            return random.choice((0.0, 1.0, -2.5, 1e-9, 12345.678))
        if kind == "timestamp":
            whole = timedelta(seconds=random.randint(0, 2**30))
            exact = not location and shape.serialization.get("timestampFormat") != "rfc822"
            return EPOCH + whole + (timedelta(0) if not exact else timedelta(milliseconds=random.randint(0, 999)))
        if kind == "blob":
            return random.randbytes(random.randint(0, 20))
        if shape.enum and random.random() < 0.5:
            return random.choice(shape.enum)
        alphabet = {"": WIDE, "header": HEADER, "querystring": WIDE, "uri": WIDE}.get(location, PLAIN)
        return self.text(alphabet, least=1)

    def text(self, alphabet: str, least: int = 1) -> str:
        middle = "".join(self.random.choice(alphabet) for _ in range(self.random.randint(0, 12)))
        ends = [self.random.choice(PLAIN if len(alphabet) > 10 else "abc") for _ in range(least + 1)]
        return ends[0] + middle + "".join(ends[1:])


def hollow(shape: Any) -> bool:
    """Whether a structure can hold no value at all; a form cannot say that one is there."""
    return shape.type_name == "structure" and all(hollow(member) for member in shape.members.values())


def request_of(service: str, operation: Any, protocol: str, params: dict[str, Any]) -> Request:
    """The request that botocore would send."""
    serialized = create_serializer(protocol, include_validation=False).serialize_to_request(params, operation)
    serialized["headers"] = dict(serialized["headers"])
    prepare_request_dict(serialized, endpoint_url="http://127.0.0.1:4566", context={"is_presign_request": False}, user_agent="test")
    prepared = create_request_object(serialized).prepare()
    where = urlsplit(prepared.url)
    headers = {name.lower(): value.decode() if isinstance(value, bytes) else str(value) for name, value in prepared.headers.items()}
    signing = models.head(service).signing
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/{signing}/aws4_request, SignedHeaders=host, Signature=0"
    headers["host"] = "127.0.0.1:4566"
    body = prepared.body or b""
    return Request(prepared.method, where.path, where.query, headers, body if isinstance(body, bytes) else body.encode())


def parsed(request: Request) -> tuple[Match, dict[str, Any]]:
    """Our reading of a request: where it was routed, and its parameters."""
    found = match(request)
    form = None if found.complete else form_of(request)
    if form is not None:
        match_form(found, request, form)
    return found, comparable(read_request(request, found, form)) if found.model is not None else {}


def comparable(value: Any) -> Any:
    """Bodies as their bytes."""
    if isinstance(value, StagedBody):
        return value.read()
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    return value


def answer_read(service: str, operation: Any, protocol: str, result: dict[str, Any]) -> Any:
    """A result as botocore's parser reads it from our answer."""
    ours = f"json-{operation.service_model.metadata['jsonVersion']}" if protocol == "json" else protocol
    return parse_answer(operation, protocol, write_response(service, operation, ours, result, "0123456789ABCDEF"))


def parse_answer(operation: Any, protocol: str, response: Response) -> Any:
    """botocore's reading of an answer, without its own additions."""
    headers = HTTPHeaders()
    for name, value in response.headers:
        headers[name] = value
    body: Any = response.body
    shape = operation.output_shape
    if shape is not None and operation.has_streaming_output and isinstance(body, bytes):
        body = _Stream(body)
    found = create_parser(protocol).parse({"body": body, "headers": headers, "status_code": response.status, "context": {}}, shape)
    found.pop("ResponseMetadata", None)
    empty = {"Metadata", shape.serialization.get("payload") if shape is not None else None}
    found = {name: value for name, value in found.items() if not (name in empty and value == {})}
    payload = shape.serialization.get("payload") if shape is not None else None
    if payload and isinstance(found.get(payload), _Stream):
        found[payload] = found[payload].body
    elif payload and shape.members[payload].type_name == "blob" and isinstance(found.get(payload), str):
        found[payload] = found[payload].encode()
    return found


class _Stream:
    """A raw body, as botocore hands streaming payloads through."""

    def __init__(self, body: bytes) -> None:
        self.body = body


def shown(value: Any) -> str:
    """A document in a failure's message."""
    return json.dumps(value, default=lambda x: base64.b64encode(x).decode() if isinstance(x, bytes) else str(x), ensure_ascii=False)[:3000]
