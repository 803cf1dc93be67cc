"""The step behind an asynchronous endpoint: takes what has been answered, gives up what is too old, begins what there is room for.

The backlog is records in the order of arrival; what is under way is known to the router only, so that a crash begins it anew.
"""

from __future__ import annotations

import base64
import logging
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Task
from dewfall.engine.series import Point
from dewfall.engine.serving.table import EndpointKey
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.services.sagemaker import async_results
from dewfall.services.sagemaker.async_inference import KIND, STEP, promise
from dewfall.services.sagemaker.endpoint_metrics import NAMESPACE
from dewfall.services.sagemaker.endpoint_status import KIND as ENDPOINT
from dewfall.services.sagemaker.endpoint_status import endpoint_key
from dewfall.services.sagemaker.endpoint_step import adopt
from dewfall.services.sagemaker.models import s3_uri

log = logging.getLogger(__name__)

CONCURRENT = 4  # invocations at once per instance, where MaxConcurrentInvocationsPerInstance is not given
LOOK = 1.0  # seconds between looks while something waits for room
LOOK_UNDER_WAY = 10.0  # while everything is under way; ends are told at once
AT_ONCE = 500  # of the backlog's records that a look takes in
INPUT_LIMIT = 1024**3
A_FEW = 20  # of those for which there is no room, looked at for their age
SENT = {
    "ContentType": b"content-type",
    "Accept": b"accept",
    "CustomAttributes": b"x-amzn-sagemaker-custom-attributes",
    "InferenceId": b"x-amzn-sagemaker-inference-id",
}


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at an asynchronous endpoint's backlog."""
    name = task.key.name
    with ctx.ports.store.reading() as tx:
        endpoint = tx.records.get(endpoint_key(ctx, name))
    key = (ctx.account, ctx.region, name)
    if endpoint is None or "Async" not in endpoint.document.get("_Fleet", {}):
        ctx.ports.serving.background.forget(key)
        backlog = _backlog(ctx, name, AT_ONCE)
        for record in backlog:
            async_results.drop(ctx, record)
        return Again(0.0) if backlog else Done()
    if not ctx.ports.serving.knows(key):
        adopt(ctx, endpoint)
    return _look(ctx, key, endpoint.document["_Fleet"]["Async"])


def _backlog(ctx: Ctx, endpoint: str, limit: int) -> list[Record]:
    """The oldest invocations of an endpoint."""
    with ctx.ports.store.reading() as tx:
        return tx.records.list(ctx.account, ctx.region, "sagemaker", KIND, parent=endpoint, limit=limit)


def _look(ctx: Ctx, key: EndpointKey, config: dict[str, Any]) -> Outcome:
    background = ctx.ports.serving.background
    each = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance") or CONCURRENT
    capacity = ctx.ports.serving.reachable(key) * each
    limit = min(AT_ONCE, len(background.names(key)) + capacity + A_FEW)
    records = {record.key.name: record for record in _backlog(ctx, key[2], limit)}
    for name, call in background.take_ended(key).items():
        if name in records:
            async_results.settle(ctx, config, records.pop(name), call)
    under_way = background.names(key)
    room = capacity - len(under_way)
    waiting = [record for name, record in records.items() if name not in under_way]
    for record in waiting:
        promise(ctx, record)
        if record.document["Expires"] <= ctx.now():
            async_results.expire(ctx, config, record)
        elif room > 0 and _begin(ctx, key, config, record):
            room -= 1
    if not records and not _backlog(ctx, key[2], 1):
        return Done()
    return Again(LOOK if len(waiting) > room or not records else LOOK_UNDER_WAY)


def _begin(ctx: Ctx, key: EndpointKey, config: dict[str, Any], record: Record) -> bool:
    """Send an invocation on its way; whether it is. One whose input cannot be read has failed."""
    document = record.document
    request = {**document["Request"], "InferenceId": document["InferenceId"]}
    try:
        if document["InputLocation"]:
            kind, body = _input(ctx, document["InputLocation"])
            request = {"ContentType": kind, **request}
        else:
            body = base64.b64decode(document["Body"])
    except AwsError as error:
        async_results.fail(ctx, config, record, f"ClientError: Failed to read the input {document['InputLocation']}: {error.message}")
        return False
    headers = [(header, request[member].encode()) for member, header in SENT.items() if request.get(member)]
    call = ctx.ports.serving.begin(key, headers, body, document["TimeoutSeconds"])
    ctx.ports.serving.background.add(key, record.key.name, call, lambda: ctx.ports.serving.aside(_wake, ctx, key[2]))
    async_results.note_begin(ctx, document)
    return True


def _input(ctx: Ctx, location: str) -> tuple[str, bytes]:
    uri = s3_uri(location)
    stored = ctx.ports.objects.get(uri)
    if stored is None:
        next(iter(ctx.ports.objects.list(uri)), None)  # raises where it is the bucket that is not there
        raise AwsError("NoSuchKey", "The specified key does not exist.", status=404)
    if stored.size > INPUT_LIMIT:
        raise AwsError("EntityTooLarge", f"It is larger than {INPUT_LIMIT} bytes.", status=400)
    return stored.content_type, stored.path.read_bytes()


def _wake(ctx: Ctx, endpoint: str) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.queue.wake(STEP, endpoint_key(ctx, endpoint))


# ---------------------------------------------------------------- metrics


def tick(ctx: Ctx) -> None:
    """The backlog of every asynchronous endpoint, for alarms and automatic scaling."""
    with ctx.ports.store.reading() as tx:
        endpoints = [record for record in tx.records.scan("sagemaker", ENDPOINT) if "Async" in record.document.get("_Fleet", {})]
        counted = {record.key: _count(tx, record.key) for record in endpoints}
    now = ctx.now().timestamp()
    for record in endpoints:
        waiting, oldest = counted[record.key]
        instances = sum(variant["Count"] for variant in record.document["_Fleet"]["Variants"])
        age = now - oldest if waiting else 0.0
        values = {
            "ApproximateBacklogSize": ("Count", waiting),
            "ApproximateBacklogSizePerInstance": ("Count", waiting / max(1, instances)),
            "ApproximateAgeOfOldestRequest": ("Seconds", age),
            "HasBacklogWithoutCapacity": ("Count", float(bool(waiting) and not instances)),
        }
        points = [Point(name, {"EndpointName": record.key.name}, int(now), unit, 1.0, value, value, value) for name, (unit, value) in values.items()]
        ctx.ports.series.append_points(record.key.account, record.key.region, NAMESPACE, points)


def _count(tx: Any, endpoint: Key) -> tuple[int, float]:
    where = {"account": endpoint.account, "region": endpoint.region, "service": "sagemaker", "kind": KIND, "parent": endpoint.name}
    count, oldest = tx.run("record_count_parent", **where)[0]
    return count, oldest or 0.0
