"""Requests → the plain dicts operations see: labels, query, headers and payload of REST; the bodies of every protocol.

Where a shape's members live is worked out once per shape (`Binding`), because every request asks.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
import zlib
from dataclasses import dataclass, field, replace
from hashlib import md5
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_to_bytes

from dewfall.bodies import StagedBody
from dewfall.errors import AwsError
from dewfall.wire import cbor_codec, eventstream, json_codec, query_codec, sqs_query, timestamps, xml_codec
from dewfall.wire.messages import Request
from dewfall.wire.route import Match
from dewfall.wire.words import decode_words

INFLATED_LIMIT = 256 * 1024 * 1024
_PAYLOAD = re.compile(r"[0-9a-fA-F]{64}|UNSIGNED-PAYLOAD|STREAMING-(UNSIGNED-PAYLOAD-TRAILER|AWS4-(HMAC|ECDSA-P256)-SHA256-PAYLOAD(-TRAILER)?)")
_CHECKSUM = re.compile(r"x-amz-checksum-(?!type$|algorithm$|mode$).+")
METADATA = "x-amz-meta-"
PRESIGNING = {f"x-amz-{name}" for name in ("algorithm", "credential", "date", "expires", "signedheaders", "signature", "security-token")}
Placed = tuple[tuple[str, str, Any], ...]  # (member, name on the wire, shape)


@dataclass(frozen=True, slots=True)
class Binding:
    """Where the members of an operation's input, output or error live in an HTTP message."""

    shape: Any
    labels: Placed = ()
    query: Placed = ()
    query_map: str = ""
    headers: Placed = ()
    prefixes: Placed = ()
    status: str = ""
    payload: str = ""
    payload_kind: str = ""  # blob | string | structure | eventstream, when there is a payload member
    body: json_codec.Members = ()  # members that live in a document body
    by_header: dict[str, tuple[str, Any]] = field(default_factory=dict)  # of `headers`: name on the wire → member, shape
    by_member: dict[str, tuple[str, Any]] = field(default_factory=dict)  # the same by member


@functools.lru_cache(maxsize=4096)
def binding(shape: Any) -> Binding:
    """The Binding of a structure. Shapes of cached operation models compare by identity, so each is worked out once."""
    places: dict[str, list[tuple[str, str, Any]]] = {"uri": [], "querystring": [], "header": [], "headers": []}
    query_map = status = ""
    payload = shape.serialization.get("payload", "")
    body: list[tuple[str, str, Any, str]] = []
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        if where == "querystring" and member.type_name == "map":
            query_map = name
        elif where == "statusCode":
            status = name
        elif where in places:
            places[where].append((name, wire_name.lower() if where.startswith("header") else wire_name, member))
        elif not payload:
            body.append((name, wire_name, member, member.type_name))
    kind = ""
    if payload:
        member = shape.members[payload]
        kind = "eventstream" if member.serialization.get("eventstream") else member.type_name
    return Binding(
        shape,
        tuple(places["uri"]),
        tuple(places["querystring"]),
        query_map,
        tuple(places["header"]),
        tuple(places["headers"]),
        status,
        payload,
        kind if kind in ("blob", "string", "eventstream") or not kind else "structure",
        tuple(body),
        {wire_name: (name, member) for name, wire_name, member in places["header"]},
        {name: (wire_name, member) for name, wire_name, member in places["header"]},
    )


# ---------------------------------------------------------------- whole requests


def form_of(request: Request) -> dict[str, str]:
    """The fields of a query-protocol request: its query string and its form body."""
    fields = dict(parse_qsl(request.query, keep_blank_values=True)) if request.query else {}
    body = inflated(request)
    if body:
        try:
            fields.update(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100_000))
        except (UnicodeDecodeError, ValueError):
            raise AwsError("MalformedQueryString", "The query string contains a syntax error.", status=400) from None
    return fields


def read_request(request: Request, match: Match, form: dict[str, str] | None = None) -> dict[str, Any]:
    """A routed request → its operation's parameters."""
    model = match.model
    shape = model.input_shape if model is not None else None
    if shape is None:
        return {}
    protocol = match.protocol
    if protocol.startswith("json"):
        return _read_json(shape, inflated(request))
    if protocol in ("query", "ec2"):
        if match.service == "sqs":
            form = sqs_query.with_queue(form or {}, request.raw_path)
        return query_codec.read(shape, query_codec.Form(form or {}), protocol)
    if protocol == "smithy-rpc-v2-cbor":
        body = inflated(request)
        return cbor_codec.read(shape, cbor_codec.parse(body)) if body else {}
    return _read_rest(shape, request, match)


def _read_json(shape: Any, body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    found: dict[str, Any] = json_codec.read(shape, parse_json(body))
    return found


def parse_json(body: bytes) -> Any:
    """JSON text → value; SerializationException when it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise AwsError("SerializationException", "The request body is not well-formed JSON.", status=400) from None


def inflated(request: Request) -> bytes:
    """The body in memory, with Content-Encoding: gzip taken off."""
    body = request.body if isinstance(request.body, bytes) else request.body.read()
    encodings = request.headers.get("content-encoding", "")
    if "gzip" not in encodings or body[:2] != b"\x1f\x8b":
        return body
    engine = zlib.decompressobj(31)
    try:
        out = engine.decompress(body, INFLATED_LIMIT)
    except zlib.error:
        raise AwsError("SerializationException", "The request body is not well-formed gzip.", status=400) from None
    if engine.unconsumed_tail:
        raise AwsError("RequestEntityTooLargeException", f"Request must be smaller than {INFLATED_LIMIT} bytes", status=413)
    if not engine.eof:
        raise AwsError("SerializationException", "The request body is not well-formed gzip.", status=400)
    return out


# ---------------------------------------------------------------- REST


def _read_rest(shape: Any, request: Request, match: Match) -> dict[str, Any]:
    place = binding(shape)
    found: dict[str, Any] = {}
    for name, wire_name, member in place.labels:
        if wire_name in match.labels:
            found[name] = text_value(member, match.labels[wire_name])
    if request.query and (place.query or place.query_map):
        _read_query(place, request, match, found)
    for wire_name in (*request.headers, *request.trailers) if request.trailers else request.headers:
        known = place.by_header.get(wire_name)
        text = _header(request, wire_name) if known is not None else None
        if known is not None and text is not None:
            name, member = known
            value = _header_value(member, wire_name, text)
            if value is not None:
                found[name] = value
    for name, prefix, _ in place.prefixes:
        read = decode_words if prefix == METADATA else str
        entries = {key[len(prefix) :]: read(text) for key, text in request.headers.items() if key.startswith(prefix)}
        if entries:
            found[name] = entries
    if place.payload:
        _read_payload(place, request, match, found)
    elif place.body:
        found.update(_read_body(place, match.protocol, inflated(request)))
    return found


def _header(request: Request, name: str) -> str | None:
    """A header as the operation should see it: without what belongs to the transport."""
    text = request.headers.get(name)
    if text is None:
        return request.trailers.get(name)
    if name == "content-encoding" and "aws-chunked" in text:
        return ",".join(part.strip() for part in text.split(",") if part.strip() != "aws-chunked") or None
    if name == "content-length":
        return request.headers.get("x-amz-decoded-content-length", text)
    return text


def _header_value(shape: Any, name: str, text: str) -> Any:
    """HTTP has a condition that cannot be read ignored."""
    if name == "expires":
        return _written_moment(text)
    if not name.startswith("if-"):
        return header_value(shape, text)
    try:
        return header_value(shape, text)
    except AwsError:
        return None


def _written_moment(text: str) -> Any:
    """Expires: a moment, or the text itself where it would read otherwise when written again."""
    try:
        moment = timestamps.read(text)
    except AwsError:
        return text
    return moment if timestamps.write(moment, "rfc822") == text else text


def _read_query(place: Binding, request: Request, match: Match, found: dict[str, Any]) -> None:
    given = parse_qs(request.query, keep_blank_values=True)
    for name, wire_name, member in place.query:
        texts = given.pop(wire_name, None)
        if texts is None:
            continue
        try:
            if member.type_name == "list":
                found[name] = [text_value(member.member, text) for text in texts]
            elif texts[-1] != "" or member.type_name == "string":
                found[name] = _written_moment(texts[-1]) if wire_name == "response-expires" else text_value(member, texts[-1])
        except AwsError:
            if match.service != "s3":
                raise
            message = f"Provided {wire_name} not an integer or within integer range"
            raise AwsError("InvalidArgument", message, status=400, ArgumentName=wire_name, ArgumentValue=texts[-1]) from None
    if place.query_map and given:
        literals = {pair.partition("=")[0] for pair in match.model.http["requestUri"].partition("?")[2].split("&")} if match.model else set()
        several = place.shape.members[place.query_map].value.type_name == "list"
        found[place.query_map] = {key: texts if several else texts[0] for key, texts in given.items() if key not in literals}


def _read_payload(place: Binding, request: Request, match: Match, found: dict[str, Any]) -> None:
    name, member = place.payload, place.shape.members[place.payload]
    if place.payload_kind == "blob":
        if match.streams:
            found[name] = staged(request.body)
        elif request.body:
            found[name] = request.body if isinstance(request.body, bytes) else request.body.read()
    elif place.payload_kind == "string":
        body = inflated(request)
        if body:
            found[name] = body.decode("utf-8", "replace")
    elif place.payload_kind == "eventstream":
        body = request.body if isinstance(request.body, bytes) else request.body.read()
        found[name] = eventstream.read(member, body, "xml" if match.protocol == "rest-xml" else "json")
    elif place.payload_kind == "structure":
        value = _read_document(member, match.protocol, inflated(request))
        if value is not None:
            found[name] = value


def with_presigned(request: Request) -> Request:
    """A presigned URL may carry S3's headers in its query: they count as headers. The request itself stays as it was signed: it may be
    handled again.

    Checksums count for nothing there, as on AWS: SDKs sign that of an empty body into the address, before anybody knows what comes.
    """
    if "ignature=" not in request.query:
        return request
    headers = dict(request.headers)
    for name, text in parse_qsl(request.query, keep_blank_values=True):
        wire_name = name.lower()
        if wire_name.startswith("x-amz-") and wire_name not in PRESIGNING and not _CHECKSUM.fullmatch(wire_name):
            headers.setdefault(wire_name, text)
    return replace(request, headers=headers)


def check_s3(request: Request, match: Match) -> None:
    """What S3 refuses by the look of a request, before it knows what is asked."""
    if "\ufffd" in match.labels.get("Key", ""):
        try:
            unquote_to_bytes(request.raw_path).decode()
        except UnicodeDecodeError:
            raise AwsError("InvalidURI", "Couldn't parse the specified URI.", status=400, URI=request.raw_path) from None
    if match.operation in ("GetObject", "HeadObject"):
        name = "x-amz-server-side-encryption"
        if name in request.headers:
            message = f"{name} header is not supported for this operation."
            raise AwsError("InvalidArgument", message, status=400, ArgumentName=name, ArgumentValue=request.headers[name])
    if match.region == "aws-global":
        message = "The authorization header is malformed; the region 'aws-global' is wrong; expecting 'us-east-1'"
        raise AwsError("AuthorizationHeaderMalformed", message, status=400, Region="us-east-1")
    _check_payload_headers(request)
    if not match.streams:
        _check_digest(request, match)


def _check_payload_headers(request: Request) -> None:
    """The hash of the payload is one, or one of the words in its place; a checksum that an SDK announces comes as header or trailer."""
    sent = request.headers.get("x-amz-content-sha256")
    if sent is not None and not _PAYLOAD.fullmatch(sent):
        message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
        message += "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, "
        message += "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value."
        raise AwsError("InvalidArgument", message, status=400, ArgumentName="x-amz-content-sha256", ArgumentValue=sent)
    name = "x-amz-sdk-checksum-algorithm"
    comes = "x-amz-trailer" in request.headers or any(_CHECKSUM.fullmatch(header) for header in request.headers)
    if name in request.headers and not comes and name not in request.query.lower():
        message = f"{name} specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
        raise AwsError("InvalidRequest", message, status=400)


def _check_digest(request: Request, match: Match) -> None:
    """Content-MD5 counts for documents too, and a deletion list must have some checksum."""
    text = request.headers.get("content-md5")
    if text is None:
        if match.operation == "DeleteObjects" and not any(name.startswith("x-amz-checksum-") for name in (*request.headers, *request.trailers)):
            message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
            raise AwsError("InvalidRequest", message, status=400)
        return
    body = request.body if isinstance(request.body, bytes) else request.body.read()
    found = base64.b64encode(md5(body, usedforsecurity=False).digest()).decode()
    if len(text) != 24 or not text.endswith("=="):
        members: dict[str, Any] = {"Content-MD5": text}
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.", status=400, **members)
    if text != found:
        message = "The Content-MD5 you specified did not match what we received."
        raise AwsError("BadDigest", message, status=400, ExpectedDigest=text, CalculatedDigest=found)


def staged(body: bytes | StagedBody) -> StagedBody:
    """A body that came in memory, as operations expect a streamed one."""
    if isinstance(body, StagedBody):
        return body
    return StagedBody(len(body), body, None, {"md5": md5(body, usedforsecurity=False).digest(), "crc32": zlib.crc32(body).to_bytes(4, "big")})


def _read_body(place: Binding, protocol: str, body: bytes) -> dict[str, Any]:
    """The members in a body that is no payload. Another member may have the same name on the wire, elsewhere."""
    if protocol == "rest-xml":
        return _read_document(place.shape, protocol, body) or {}
    document = parse_json(body) if body.strip() else {}
    if not isinstance(document, dict):
        raise json_codec.refuse(place.shape, document)
    return json_codec.read_members(place.body, document)


def _read_document(shape: Any, protocol: str, body: bytes) -> Any:
    """A JSON or XML body → value; None when there is no body."""
    if not body.strip():
        return None
    if protocol == "rest-xml":
        return xml_codec.read(shape, xml_codec.parse(body))
    return json_codec.read(shape, parse_json(body))


# ---------------------------------------------------------------- text values


def text_value(shape: Any, text: str) -> Any:
    """A label's, header's or query parameter's text → value."""
    kind = shape.type_name
    if kind == "string":
        return text
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
    except ValueError:
        raise AwsError("SerializationException", f"{text[:80]!r} is not a number.", status=400) from None
    if kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise AwsError("SerializationException", f"{text[:80]!r} is not a boolean.", status=400)
        return text.lower() == "true"
    if kind == "timestamp":
        return timestamps.read(text)
    if kind == "blob":
        return json_codec.read_blob(shape, text)
    return text


def header_value(shape: Any, text: str) -> Any:
    """A header's text → value."""
    if shape.type_name == "list":
        return [text_value(shape.member, part) for part in split_list(text, moments=shape.member.type_name == "timestamp")]
    if shape.type_name == "string" and shape.serialization.get("jsonvalue"):
        try:
            return json.loads(base64.b64decode(text, validate=True))
        except (ValueError, binascii.Error):
            raise AwsError("SerializationException", "A header holds no base64 encoded JSON.", status=400) from None
    return text_value(shape, text)


def split_list(text: str, *, moments: bool = False) -> list[str]:
    """`a, "b,c"` → its items. HTTP dates have one comma of their own."""
    if moments and "GMT" in text:
        halves = [part.strip() for part in text.split(",")]
        return [f"{day}, {rest}" for day, rest in zip(halves[::2], halves[1::2], strict=False)]
    if '"' not in text:
        return [part.strip() for part in text.split(",")]
    items, current, quoted, escaped = [], "", False, False
    for letter in text:
        if escaped:
            current, escaped = current + letter, False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            items.append(current.strip())
            current = ""
        else:
            current += letter
    return [*items, current.strip()]
