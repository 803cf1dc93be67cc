"""Cases in the form in which botocore keeps its own, read from the server's side: requests parsed, answers written."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.model import OperationModel, ServiceModel

from dewfall.wire.answers import write_response
from dewfall.wire.bindings import form_of, read_request
from dewfall.wire.messages import Request
from dewfall.wire.route import Match, path_of
from tests.protocol.documents import comparable, parse_answer

HERE = Path(__file__).parent


def cases(folder: str) -> list[Any]:
    found = []
    for file in sorted((HERE / folder).glob("*.json")):
        for suite in json.loads(file.read_text()):
            found += [pytest.param(suite, case, id=f"{file.stem}-{number}") for number, case in enumerate(suite["cases"])]
    return found


def value(plain: Any) -> Any:
    """A case's value: {"$time": seconds} and {"$bytes": base64} stand for what JSON has not."""
    if isinstance(plain, dict):
        if "$time" in plain:
            return datetime.fromtimestamp(plain["$time"], UTC)
        return base64.b64decode(plain["$bytes"]) if "$bytes" in plain else {key: value(item) for key, item in plain.items()}
    return [value(item) for item in plain] if isinstance(plain, list) else plain


def operation_of(suite: dict[str, Any], case: dict[str, Any]) -> tuple[str, OperationModel]:
    given = {"http": {"method": "POST", "requestUri": "/"}, **case["given"]}
    given["http"].setdefault("requestUri", "/")
    metadata = {"serviceId": "Foo", **suite["metadata"]}
    model = ServiceModel({"metadata": metadata, "shapes": suite["shapes"], "operations": {given["name"]: given}}, "foo")
    protocol = metadata["protocol"]
    return f"json-{metadata['jsonVersion']}" if protocol == "json" else protocol, model.operation_model(given["name"])


@pytest.mark.parametrize(("suite", "case"), cases("input"))
def test_a_request_is_read(suite: dict[str, Any], case: dict[str, Any]) -> None:
    protocol, operation = operation_of(suite, case)
    sent = case["serialized"]
    uri, _, query = sent["uri"].partition("?")
    body = bytes.fromhex(sent["hex"]) if "hex" in sent else sent["body"].encode()
    request = Request(operation.http["method"], uri, query, dict(sent.get("headers", {})), body)
    match = Match("foo", operation.name, operation, protocol)
    if protocol.startswith("rest-"):
        match.labels = path_of(operation.name, operation).labels_of(uri) or {}
    read = read_request(request, match, form_of(request) if protocol in ("query", "ec2") else None)
    assert comparable(read) == value(case["params"])


@pytest.mark.parametrize(("suite", "case"), cases("output"))
def test_an_answer_is_written(suite: dict[str, Any], case: dict[str, Any]) -> None:
    protocol, operation = operation_of(suite, case)
    wanted, result = case["response"], value(case["result"])
    response = write_response("foo", operation, protocol, {**result, "NotInTheShape": "x"}, "0123456789ABCDEF")
    assert response.status == wanted["status_code"]
    headers = {name.lower(): text for name, text in response.headers}
    assert wanted.get("headers", {}).items() <= headers.items()
    if "body" in wanted:
        assert response.body == wanted["body"].encode()
    if "hex" in wanted:
        assert response.body == bytes.fromhex(wanted["hex"])
    assert parse_answer(operation, suite["metadata"]["protocol"], response) == result
