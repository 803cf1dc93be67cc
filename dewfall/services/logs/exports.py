"""Export tasks: a group's events of a span of time as gzipped text in a bucket, a file per stream.

bucket/aws-logs-write-test                                    that the bucket can be written
bucket/<prefix>/<task>/<stream, its slashes as dashes>/000000.gz    lines of "time message"
"""

from __future__ import annotations

import gzip
import io
import logging
from datetime import UTC, datetime
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Key, Message, Record
from dewfall.engine.series import LogGroup, LogStream
from dewfall.errors import AwsError
from dewfall.services.common import settle, with_token
from dewfall.services.logs.places import find_group, invalid, not_found, page_of
from dewfall.services.registry import operation

log = logging.getLogger(__name__)

PREFIX = "exportedlogs"
OPEN = ("PENDING", "RUNNING")
WRITE_TEST = ("aws-logs-write-test", b"Permission Check Successful")
BATCH = 2_000
MESSAGES = {"COMPLETED": "Completed successfully", "CANCELLED": "Cancelled by user"}


@operation("logs", "CreateExportTask")
def create_export_task(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    find_group(ctx, req["logGroupName"])
    prefix = req.get("destinationPrefix")
    try:
        _write(ctx, req["destination"], f"{prefix}/{WRITE_TEST[0]}" if prefix else WRITE_TEST[0], WRITE_TEST[1])
    except AwsError:
        raise invalid("The given bucket does not exist. Please make sure the bucket is valid.") from None
    task = {"taskId": new_uuid(), "taskName": req.get("taskName"), "logGroupName": req["logGroupName"], "from": req["from"], "to": req["to"]}
    task |= {"destination": req["destination"], "destinationPrefix": prefix or PREFIX, "status": {"code": "PENDING"}}
    task |= {"executionInfo": {"creationTime": _now(ctx)}, "_streams": req.get("logStreamNamePrefix") or ""}
    with ctx.ports.store.transaction() as tx:
        if any(r.status in OPEN for r in tx.records.list(ctx.account, ctx.region, "logs", "export-task")):
            raise AwsError("LimitExceededException", "Resource limit exceeded.", status=400)
        tx.records.create(Record(_key(ctx, task["taskId"]), task, status="PENDING"))
        started = tx.outbox.put("logs.export", ctx.account, ctx.region, {"taskId": task["taskId"]})
    settle(ctx, [started])
    return {"taskId": task["taskId"]}


@operation("logs", "DescribeExportTasks")
def describe_export_tasks(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "logs", "export-task")
    if req.get("taskId"):
        records = [record for record in records if record.key.name == req["taskId"]]
    chosen = [record for record in records if req.get("statusCode") in (None, record.status)]
    newest_first = sorted(chosen, key=lambda r: int(r.document["executionInfo"]["creationTime"]), reverse=True)
    shown, token = page_of(newest_first, req, lambda record: record.key.name)
    tasks = [{name: value for name, value in record.document.items() if value is not None} for record in shown]
    return with_token({"exportTasks": tasks}, token, "nextToken")


@operation("logs", "CancelExportTask")
def cancel_export_task(ctx: Ctx, req: dict[str, Any]) -> None:
    if _advance(ctx, req["taskId"], "CANCELLED"):
        return
    with ctx.ports.store.reading() as tx:
        if tx.records.get(_key(ctx, req["taskId"])) is None:
            raise not_found("export task")
    raise AwsError("InvalidOperationException", "The specified export task has already finished", status=400)


def run(ctx: Ctx, message: Message) -> None:
    """Write the files, a stream at a time; a second run after a crash writes the same ones again. What fails ends the task: an open one
    would keep all later ones waiting.
    """
    name = message.body["taskId"]
    try:
        _export(ctx, name)
    except AwsError as error:
        _advance(ctx, name, "FAILED", error.message)
    except OSError as error:
        log.exception("export failed task=%s", name)
        _advance(ctx, name, "FAILED", error.strerror or str(error))


def _export(ctx: Ctx, name: str) -> None:
    if not _advance(ctx, name, "RUNNING"):
        return
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(_key(ctx, name))
    group = ctx.ports.series.log_group(ctx.account, ctx.region, record.document["logGroupName"]) if record else None
    if record is None or group is None:
        _advance(ctx, name, "FAILED", "The log group is gone.")
        return
    task = record.document
    for stream in ctx.ports.series.log_streams(group, task["_streams"]):
        text = _gzipped(ctx, group, stream, task["from"], task["to"])
        if text:
            place = f"{task['destinationPrefix']}/{name}/{stream.name.replace('/', '-')}/000000.gz"
            _write(ctx, task["destination"], place, text)
    _advance(ctx, name, "COMPLETED")


def _gzipped(ctx: Ctx, group: LogGroup, stream: LogStream, start: int, end: int) -> bytes:
    """A stream's events of [start, end] as lines; nothing where there are none."""
    packed, place, count = io.BytesIO(), (-1, 0), 0
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        while events := ctx.ports.series.read_stream(stream, BATCH, after=place, start=start, end=end + 1):
            for event in events:
                moment = datetime.fromtimestamp(event.time / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
                file.write(f"{moment}Z {event.text}\n".encode())
            place, count = events[-1].place, count + len(events)
    return packed.getvalue() if count else b""


def _advance(ctx: Ctx, name: str, code: str, message: str = "") -> bool:
    """The next state of a task that has not ended; whether that was so."""
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(_key(ctx, name))
        if record is None or record.status not in OPEN:
            return False
        record.status = code
        text = message or MESSAGES.get(code)
        record.document["status"] = {"code": code} | ({"message": text} if text else {})
        if code not in OPEN:
            record.document["executionInfo"]["completionTime"] = _now(ctx)
        tx.records.save(record)
        return True


def _write(ctx: Ctx, bucket: str, key: str, body: bytes) -> None:
    ctx.ports.objects.put(f"s3://{bucket}/{key}", body)


def _now(ctx: Ctx) -> int:
    return int(ctx.now().timestamp() * 1000)


def _key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, ctx.region, "logs", "export-task", name)
