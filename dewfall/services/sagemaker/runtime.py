"""SageMaker Runtime: InvokeEndpoint and its streaming sister, for requests that do not go straight through the router.

Why a second way: signatures to check, headers that need an explanation, calls from other services, and the first request after a
restart, when the router does not know the endpoint yet. It ends in the same router.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dewfall.bodies import StagedBody
from dewfall.context import Ctx
from dewfall.engine.ports import Record
from dewfall.engine.serving import faults
from dewfall.engine.serving.answer import Answer
from dewfall.engine.serving.table import EndpointKey
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.sagemaker.endpoint_status import endpoint_key
from dewfall.services.sagemaker.endpoint_step import adopt
from dewfall.services.sagemaker.inference_component_status import component_key
from dewfall.services.sagemaker.inference_component_step import adopt as adopt_component

HEADERS = {
    "ContentType": b"content-type",
    "Accept": b"accept",
    "CustomAttributes": b"x-amzn-sagemaker-custom-attributes",
    "InferenceId": b"x-amzn-sagemaker-inference-id",
    "SessionId": b"x-amzn-sagemaker-session-id",
    "EnableExplanations": faults.EXPLANATIONS,
}
WISHES = {"TargetModel": faults.TARGET_MODEL, "TargetContainerHostname": faults.TARGET_CONTAINER}
RETURNED = {
    "CustomAttributes": b"x-amzn-sagemaker-custom-attributes",
    "NewSessionId": b"x-amzn-sagemaker-new-session-id",
    "ClosedSessionId": b"x-amzn-sagemaker-closed-session-id",
    "ContentType": b"content-type",
}


@operation("sagemaker-runtime", "InvokeEndpoint")
def invoke_endpoint(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    answer = _invoke(ctx, req, streamed=False)
    return {**_members(answer), "Body": answer.body()}


@operation("sagemaker-runtime", "InvokeEndpointWithResponseStream")
def invoke_endpoint_with_response_stream(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    answer = _invoke(ctx, req, streamed=True)
    return {**_members(answer), "Body": _parts(ctx, answer)}


def _invoke(ctx: Ctx, req: dict[str, Any], *, streamed: bool) -> Answer:
    body = req.get("Body", b"")
    if isinstance(body, StagedBody):
        size = body.size
        if size > faults.PAYLOAD_LIMIT:
            raise faults.too_large()
        data = body.read()
        body.drop()
        body = data
    key = (ctx.account, ctx.region, req["EndpointName"])
    _ensure_known(ctx, key)
    check_kind(ctx, key)
    if req.get("InferenceComponentName"):
        key = _component(ctx, key, req["InferenceComponentName"])
    if req.get("EnableExplanations") and not ctx.ports.serving.explains(key):
        raise faults.header_refused(key, faults.EXPLANATIONS)
    wishes = [(header, req[member]) for member, header in WISHES.items() if req.get(member)]
    if len(wishes) > 1:
        raise faults.header_refused(key, wishes[1][0])
    wish = wishes[0] if wishes else None
    headers = [(name, req[member].encode("utf-8")) for member, name in HEADERS.items() if req.get(member)]
    return ctx.ports.serving.invoke(key, headers, body, req.get("TargetVariant", ""), streamed=streamed, wish=wish)


def _ensure_known(ctx: Ctx, key: tuple[str, str, str]) -> None:
    """The router knows the endpoint, or learns it now; AWS's error when it is not (yet) in service."""

    def found() -> Record:
        with ctx.ports.store.reading() as tx:
            record = tx.records.get(endpoint_key(ctx, key[2]))
        if record is None or "_Fleet" not in record.document or record.status == "Deleting":
            raise faults.not_found(key)
        return record

    _learn(ctx, key, found, adopt)


def _learn(ctx: Ctx, key: EndpointKey, found: Callable[[], Record], adopted: Callable[[Ctx, Record], bool]) -> None:
    """Until the router knows who serves: from the record as it is now, which is looked up again where it changed meanwhile."""
    while not ctx.ports.serving.knows(key):
        record = found()
        if adopted(ctx, record):
            with ctx.ports.store.transaction() as tx:
                tx.queue.wake(record.key.kind, record.key)
            return


def check_kind(ctx: Ctx, key: tuple[str, str, str]) -> None:
    """Raise where the endpoint only answers asynchronously."""
    if ctx.ports.serving.is_direct(key):
        return
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(endpoint_key(ctx, key[2]))
    if record is not None and "Async" in record.document.get("_Fleet", {}):
        message = f"Endpoint {key[2]} of account {key[0]} is an asynchronous inference endpoint. Use InvokeEndpointAsync to invoke it."
        raise AwsError("ValidationError", message, status=400)


def _component(ctx: Ctx, endpoint: EndpointKey, name: str) -> EndpointKey:
    """The component's place in the router, which knows it from now on; AWS's error when there is none in service."""
    key = (*endpoint[:2], f"{endpoint[2]}/{name}")

    def found() -> Record:
        with ctx.ports.store.reading() as tx:
            record = tx.records.get(component_key(ctx, name))
        if record is None or record.document["EndpointName"] != endpoint[2] or record.status not in ("InService", "Updating"):
            raise _component_refused(ctx, endpoint, name)
        return record

    _learn(ctx, key, found, adopt_component)
    return key


def _component_refused(ctx: Ctx, endpoint: EndpointKey, name: str) -> AwsError:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(endpoint_key(ctx, endpoint[2]))
    variants = record.document.get("_Fleet", {}).get("Variants", ()) if record is not None else ()
    is_for_models = any("Container" in variant for variant in variants)
    return faults.component_refused() if is_for_models else faults.component_not_found(endpoint[0], name)


def _members(answer: Answer) -> dict[str, Any]:
    found = {member: value.decode("latin-1") for member, name in RETURNED.items() if (value := answer.header(name)) is not None}
    return {**found, "InvokedProductionVariant": answer.variant}


def _parts(ctx: Ctx, answer: Answer) -> Iterator[dict[str, Any]]:
    ended = False
    try:
        while chunk := ctx.ports.serving.next_chunk(answer):
            yield {"PayloadPart": {"Bytes": chunk}}
        ended = True
    finally:
        if not ended:
            ctx.ports.serving.abandon(answer)
