"""Once a minute, what lies in a queue → CloudWatch, as long as the queue is active: it holds messages, or had some lately."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record, Tx
from dewfall.engine.series import Point

NAMESPACE = "AWS/SQS"
ACTIVE = timedelta(hours=6)
COUNTS = ("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


def tick(ctx: Ctx) -> None:
    """Measure every active queue."""
    with ctx.ports.store.reading() as tx:
        measured = [(record, _gauges(tx, ctx, record)) for record in tx.records.scan("sqs", "queue")]
    time = int(ctx.now().timestamp())
    for record, gauges in measured:
        if gauges:
            names = {"QueueName": record.key.name}
            points = [Point(name, names, time, "Seconds" if "Age" in name else "Count", 1.0, value, value, value) for name, value in gauges.items()]
            points += (
                _sent(ctx, record, time) if "_sent" in record.document else [Point("NumberOfMessagesSent", names, time, "Count", 1.0, 0.0, 0.0, 0.0)]
            )
            ctx.ports.series.append_points(record.key.account, record.key.region, NAMESPACE, points)


def _sent(ctx: Ctx, record: Record, time: int) -> list[Point]:
    """What was sent since the last tick; the queue counts anew from here."""
    with ctx.ports.store.transaction() as tx:
        current = tx.records.get(record.key)
        if current is None or "_sent" not in current.document:
            return []
        many, total, low, high = map(float, current.document.pop("_sent"))
        tx.records.save(current)
    names = {"QueueName": record.key.name}
    sizes = Point("SentMessageSize", names, time, "Bytes", many, total, low, high)
    return [Point("NumberOfMessagesSent", names, time, "Count", many, many, 1.0, 1.0), sizes]


def _gauges(tx: Tx, ctx: Ctx, record: Record) -> dict[str, float]:
    now, document = ctx.now(), record.document
    request: dict[str, Any] = {"queue": document["Arn"], "expired": now.timestamp() - int(document["Attributes"]["MessageRetentionPeriod"])}
    counts = tx.run("message_counts", now=now.timestamp(), **request)[0]
    if not any(counts) and record.modified is not None and record.modified < now - ACTIVE:
        return {}
    oldest = tx.run("message_oldest", **request)[0][0]
    age = max(0.0, now.timestamp() - oldest) if oldest is not None else 0.0
    return dict(zip(COUNTS, map(float, counts), strict=True)) | {"ApproximateAgeOfOldestMessage": float(int(age))}
