"""SQS message move tasks: dead letters go back to where they came from, or to another queue.

What fits into one second's allowance moves with the call; the rest is the worker's, a second's allowance at a time.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Key, Record, Task, Tx
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.sqs.attributes import invalid
from dewfall.services.sqs.queues import check_page, queue_of, sources_of

RATE_LIMIT = 500
LIST_LIMIT = 10
NO_SOURCE = "CouldNotDetermineMessageSource"
NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"


def _queue(tx: Tx, ctx: Ctx, arn: str, member: str) -> Record:
    try:
        return queue_of(tx, ctx, arn)
    except AwsError:
        message = f"The resource that you specified for the {member} parameter doesn't exist."
        raise AwsError("ResourceNotFoundException", message, status=404) from None


def _tasks(tx: Tx, source: Record) -> list[Record]:
    """Newest first."""
    found = tx.records.list(source.key.account, source.key.region, "sqs", "move-task", parent=source.document["Arn"])
    return sorted(found, key=lambda r: float(r.document["_started"]), reverse=True)


@operation("sqs", "StartMessageMoveTask")
def start_message_move_task(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    rate = req.get("MaxNumberOfMessagesPerSecond")
    if rate is not None and not 1 <= rate <= RATE_LIMIT:
        raise invalid(f"Value {rate} for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and {RATE_LIMIT}.")
    with ctx.ports.store.transaction() as tx:
        source = _queue(tx, ctx, req["SourceArn"], "SourceArn")
        if not sources_of(tx, source):
            raise invalid("Source queue must be configured as a Dead Letter Queue.")
        if req.get("DestinationArn"):
            _queue(tx, ctx, req["DestinationArn"], "DestinationArn")
        if any(task.document["Status"] == "RUNNING" for task in _tasks(tx, source)):
            one = "Only one active task is allowed for a source queue arn at a given time."
            raise invalid(f"There is already a task running. {one}")
        name, now = new_uuid(), ctx.now().timestamp()
        counts = tx.run("message_counts", queue=req["SourceArn"], now=now, expired=0.0)[0]
        handle = base64.b64encode(json.dumps({"taskId": name, "sourceArn": req["SourceArn"]}).encode()).decode()
        document = {
            "TaskHandle": handle,
            "Status": "RUNNING",
            "SourceArn": req["SourceArn"],
            "ApproximateNumberOfMessagesMoved": 0,
            "ApproximateNumberOfMessagesToMove": sum(counts),
            "StartedTimestamp": int(now * 1000),
            "_started": now,
        }
        document |= {member: req[member] for member in ("DestinationArn", "MaxNumberOfMessagesPerSecond") if req.get(member)}
        task = Record(Key(source.key.account, source.key.region, "sqs", "move-task", name), document, parent=req["SourceArn"])
        if not _move(tx, ctx, document):
            tx.queue.put("sqs-move", task.key, delay=1.0)
        tx.records.create(task)
    return {"TaskHandle": handle}


def _move(tx: Tx, ctx: Ctx, document: dict[str, Any]) -> bool:
    """Move a second's allowance of messages; whether that was the end of it. The document tells how it went."""
    rate, now = document.get("MaxNumberOfMessagesPerSecond", RATE_LIMIT), ctx.now().timestamp()
    rows = tx.run("message_due", queue=document["SourceArn"], now=now, expired=0.0, limit=rate)
    touched = {}
    for row in rows:
        kept = json.loads(row[3])
        target = document.get("DestinationArn") or kept.get("source")
        problem = NO_SOURCE
        if target:
            try:
                touched[target] = queue_of(tx, ctx, target)
                problem = ""
            except AwsError:
                problem = NO_QUEUE
        if problem:
            document |= {"Status": "FAILED", "FailureReason": problem}
            break
        kept.pop("source", None)
        tx.run("message_renew", id=row[0], target=target, message_id=new_uuid(), document=json.dumps(kept), now=now)
        document["ApproximateNumberOfMessagesMoved"] += 1
    for queue in touched.values():
        tx.records.save(queue)
    if document["Status"] == "RUNNING" and not tx.run("message_due", queue=document["SourceArn"], now=now, expired=0.0, limit=1):
        document["Status"] = "COMPLETED"
    return bool(document["Status"] != "RUNNING")


def step(ctx: Ctx, task: Task) -> Outcome:
    """A further second of a move task."""
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(task.key)
        if record is None or record.document["Status"] == "CANCELLING":
            if record is not None:
                record.document["Status"] = "CANCELLED"
                tx.records.save(record)
            return Done()
        if record.document["Status"] != "RUNNING":
            return Done()
        ended = _move(tx, ctx, record.document)
        tx.records.save(record)
    return Done() if ended else Again(1.0)


@operation("sqs", "ListMessageMoveTasks")
def list_message_move_tasks(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_page(req, LIST_LIMIT)
    with ctx.ports.store.reading() as tx:
        tasks = [r.document for r in _tasks(tx, _queue(tx, ctx, req["SourceArn"], "SourceArn"))]
    shown = tasks[: req.get("MaxResults", 1)]
    return {"Results": [{k: v for k, v in t.items() if k != "TaskHandle" or t["Status"] == "RUNNING"} for t in shown]}


@operation("sqs", "CancelMessageMoveTask")
def cancel_message_move_task(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    try:
        named = json.loads(base64.b64decode(req["TaskHandle"], validate=True))
        name, arn = str(named["taskId"]), str(named["sourceArn"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise invalid("Value for parameter TaskHandle is invalid.") from None
    with ctx.ports.store.transaction() as tx:
        source = _queue(tx, ctx, arn, "SourceArn")
        record = next((task for task in _tasks(tx, source) if task.key.name == name), None)
        if record is None or record.document["Status"] != "RUNNING":
            raise AwsError("ResourceNotFoundException", "Task does not exist.", status=404)
        record.document["Status"] = "CANCELLING"
        tx.records.save(record)
        tx.queue.wake("sqs-move", record.key)
    return {"ApproximateNumberOfMessagesMoved": record.document["ApproximateNumberOfMessagesMoved"]}
