"""What CloudWatch is told of queues."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dewfall.context import Caller, Ctx, HandClock
from dewfall.engine.ports import Ports
from dewfall.engine.series import Series
from dewfall.engine.store import SqliteStore
from dewfall.services.cloudwatch.statistics import get_metric_statistics
from dewfall.services.sqs import messages, metrics, queues, receiving

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Ctx]:
    clock = HandClock(NOON)
    store = SqliteStore(tmp_path / "dewfall.db", clock)
    settings = SimpleNamespace(endpoint="http://localhost:1")
    ports = cast(Ports, SimpleNamespace(store=store, series=Series(store), settings=settings))

    def refuse(ctx: Ctx, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError(f"{service}:{operation} was called")

    yield Ctx("000000000000", "us-east-1", Caller("000000000000", "arn", "id"), ports, refuse, clock)
    store.close()


def measured(ctx: Ctx) -> dict[str, float]:
    """Every gauge's last minute, by name."""
    metrics.tick(ctx)
    found = ctx.ports.series.metrics(ctx.account, ctx.region, metrics.NAMESPACE)
    shown: dict[str, float] = {}
    for metric in found:
        request: dict[str, Any] = {"Namespace": metrics.NAMESPACE, "MetricName": metric.name, "Dimensions": [{"Name": "QueueName", "Value": "q"}]}
        request |= {"StartTime": ctx.now() - timedelta(seconds=30), "EndTime": ctx.now() + timedelta(minutes=1)}
        request |= {"Period": 60, "Statistics": ["Maximum", "Sum"]}
        points = get_metric_statistics(ctx, request)["Datapoints"]
        statistic = "Sum" if "Sent" in metric.name else "Maximum"
        shown |= {metric.name: points[-1][statistic]} if points else {}
    return shown


def test_gauges_tell_what_lies_in_a_queue(ctx: Ctx) -> None:
    url = queues.create_queue(ctx, {"QueueName": "q"})["QueueUrl"]
    for delay in (0, 0, 600):
        messages.send_message(ctx, {"QueueUrl": url, "MessageBody": "m", "DelaySeconds": delay})
    receiving.receive_message(ctx, {"QueueUrl": url, "VisibilityTimeout": 3600})
    cast(HandClock, ctx.clock).move(NOON + timedelta(minutes=2))
    assert measured(ctx) == {
        "ApproximateNumberOfMessagesVisible": 1.0,
        "ApproximateNumberOfMessagesNotVisible": 1.0,
        "ApproximateNumberOfMessagesDelayed": 1.0,
        "ApproximateAgeOfOldestMessage": 120.0,
        "NumberOfMessagesSent": 3.0,
        "SentMessageSize": 3.0,
    }
    cast(HandClock, ctx.clock).move(NOON + timedelta(minutes=3))
    assert measured(ctx)["NumberOfMessagesSent"] == 0.0


def test_a_queue_that_rests_is_not_measured(ctx: Ctx) -> None:
    queues.create_queue(ctx, {"QueueName": "q"})
    assert set(measured(ctx).values()) == {0.0}
    cast(HandClock, ctx.clock).move(NOON + timedelta(hours=7))
    assert measured(ctx) == {}
