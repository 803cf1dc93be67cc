"""Asynchronous inference: InvokeEndpointAsync, which keeps the request and says where the answer will lie.

InvokeEndpointAsync ─ record (durable) ─ async_step.py: room on a replica? → the router ─ async_results.py: S3, SNS, record gone
"""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any

from dewfall.bodies import StagedBody
from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Key, Record, Tx
from dewfall.engine.serving import faults
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.sagemaker.endpoint_status import endpoint_key
from dewfall.services.sagemaker.models import s3_uri

KIND = "async-invocation"
STEP = "async-endpoint"
BODY_LIMIT = 128_000
TTL_SECONDS, TIMEOUT_SECONDS = 21_600, 900
SENT_MEMBERS = ("ContentType", "Accept", "CustomAttributes")


@operation("sagemaker-runtime", "InvokeEndpointAsync")
def invoke_endpoint_async(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    body = _body(req)
    with ctx.ports.store.reading() as tx:
        fleet = _serving_fleet(ctx, tx, req["EndpointName"])
    now, name = ctx.now(), new_uuid()
    inference = req.get("InferenceId") or new_uuid()
    document = {
        "EndpointName": req["EndpointName"],
        "InferenceId": inference,
        "InputLocation": req.get("InputLocation", ""),
        "Body": base64.b64encode(body).decode(),
        "ReceivedTime": now,
        "Expires": now + timedelta(seconds=req.get("RequestTTLSeconds") or TTL_SECONDS),
        "TimeoutSeconds": req.get("InvocationTimeoutSeconds") or TIMEOUT_SECONDS,
        "Request": {member: req[member] for member in SENT_MEMBERS if req.get(member)},
        "Attempts": 0,
        **locations(fleet["Async"]["OutputConfig"], req, name),
    }
    record = Record(invocation_key(ctx, now, name), document, parent=req["EndpointName"])
    promise(ctx, record)
    with ctx.ports.store.transaction() as tx:
        tx.records.create(record)
        tx.queue.put(STEP, endpoint_key(ctx, req["EndpointName"]))
    answer = {"InferenceId": inference}
    return answer | {member: document[member] for member in ("OutputLocation", "FailureLocation") if document[member]}


def locations(output: dict[str, Any], req: dict[str, Any], name: str) -> dict[str, str]:
    """Where answer and failure of an invocation will lie; empty where the configuration has no path for them."""
    found = {"OutputLocation": "", "FailureLocation": ""}
    if output.get("S3OutputPath"):
        parts = [output["S3OutputPath"].rstrip("/"), req.get("S3OutputPathExtension", "").strip("/"), req.get("Filename") or f"{name}.out"]
        found["OutputLocation"] = "/".join(part for part in parts if part)
    if output.get("S3FailurePath"):
        found["FailureLocation"] = f"{output['S3FailurePath'].rstrip('/')}/{name}-error.out"
    return found


def promise(ctx: Ctx, record: Record) -> None:
    """Readers of the object that will be written may wait for the record to go."""
    for member in ("OutputLocation", "FailureLocation"):
        if record.document[member]:
            ctx.ports.serving.background.promised[s3_uri(record.document[member])] = record.key


def invocation_key(ctx: Ctx, at: datetime, name: str) -> Key:
    """An invocation's record; names are in the order of arrival."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, f"{int(at.timestamp() * 1e6):017d}-{name}")


def _serving_fleet(ctx: Ctx, tx: Tx, name: str) -> dict[str, Any]:
    record = tx.records.get(endpoint_key(ctx, name))
    if record is None or "_Fleet" not in record.document or record.status == "Deleting":
        raise faults.not_found((ctx.account, ctx.region, name))
    fleet: dict[str, Any] = record.document["_Fleet"]
    if "Async" not in fleet:
        message = f"Endpoint {name} of account {ctx.account} is not an asynchronous inference endpoint. Use InvokeEndpoint to invoke it."
        raise AwsError("ValidationError", message, status=400)
    return fleet


def _body(req: dict[str, Any]) -> bytes:
    """The inline payload; AWS's error where there are two payloads, none, or too much of one."""
    body = req.get("Body", b"")
    if isinstance(body, StagedBody):
        size, data = body.size, b"" if body.size > BODY_LIMIT else body.read()
        body.drop()
    else:
        size, data = len(body), bytes(body)
    if bool(size) == bool(req.get("InputLocation")):
        raise AwsError("ValidationError", "Exactly one of Body and InputLocation must be provided.", status=400)
    if size > BODY_LIMIT:
        raise AwsError("ValidationError", f"Body of {size} bytes exceeds the limit of {BODY_LIMIT} bytes. Use InputLocation.", status=400)
    return data
