"""Notifications: what reaches a queue, and what the tick of life cycles removes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dewfall.context import Caller, Ctx, HandClock
from dewfall.engine.blobs import Blobs
from dewfall.engine.objects import Objects
from dewfall.engine.ports import Message
from dewfall.engine.store import SqliteStore
from dewfall.services.s3.buckets import create_bucket
from dewfall.services.s3.lifecycle import put_bucket_lifecycle_configuration, tick
from dewfall.services.s3.notifications import bridge_event, record_of
from dewfall.testing import Server

Refused = Callable[..., tuple[str, int]]

BODY = {
    "Event": "ObjectCreated:Put",
    "Bucket": "b",
    "Owner": "000000000000",
    "Key": "a b/é",
    "Size": 3,
    "ETag": "e",
    "VersionId": "",
    "Sequencer": "18EADAC881EB6618",
    "Time": "2026-01-02T03:04:05.678901+00:00",
    "Principal": "AWS:x",
    "Ip": "1.2.3.4",
    "RequestId": "R",
    "Targets": [],
    "EventBridge": True,
}


def test_a_queue_gets_the_test_message_and_the_record(dewfall: Server, s3: Any) -> None:
    sqs = dewfall.client("sqs")
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    events = {"QueueArn": "arn:aws:sqs:us-east-1:000000000000:q", "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket="data", NotificationConfiguration={"QueueConfigurations": [events]})
    s3.put_object(Bucket="data", Key="k", Body=b"abc")
    found: list[dict[str, Any]] = []
    while len(found) < 2:
        found += [json.loads(m["Body"]) for m in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages", [])]
    assert found[0]["Event"] == "s3:TestEvent"
    assert found[1]["Records"][0]["s3"]["object"]["key"] == "k"


def test_a_destination_that_is_not_there_is_refused(s3: Any, refused: Refused) -> None:
    events = {"QueueArn": "arn:aws:sqs:us-east-1:000000000000:none", "Events": ["s3:ObjectCreated:*"]}
    configuration = {"QueueConfigurations": [events]}
    put = s3.put_bucket_notification_configuration
    assert refused(put, Bucket="data", NotificationConfiguration=configuration) == ("InvalidArgument", 400)
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket="data")


def test_the_record_is_aws_shaped() -> None:
    record = record_of(Message(1, "s3.event", "000000000000", "eu-west-1", BODY), "c")
    assert (record["eventTime"], record["awsRegion"], record["eventName"]) == ("2026-01-02T03:04:05.678Z", "eu-west-1", "ObjectCreated:Put")
    assert record["s3"]["object"] == {"key": "a+b/%C3%A9", "size": 3, "eTag": "e", "sequencer": "18EADAC881EB6618"}


def test_the_bridge_event_is_aws_shaped() -> None:
    event = bridge_event(Message(1, "s3.event", "000000000000", "eu-west-1", BODY))
    assert (event["source"], event["detail-type"], event["detail"]["reason"]) == ("aws.s3", "Object Created", "PutObject")
    assert event["detail"]["object"] == {"key": "a b/é", "size": 3, "etag": "e", "sequencer": "18EADAC881EB6618"}


@pytest.fixture
def ctx(tmp_path: Path) -> Ctx:
    """The surroundings of a tick whose clock is moved by hand."""
    clock = HandClock(datetime(2026, 1, 1, 12, tzinfo=UTC))
    store = SqliteStore(tmp_path / "dewfall.db", clock)
    ports: Any = type("Ports", (), {"store": store, "objects": Objects(store, Blobs(tmp_path / "blobs"))})()
    return Ctx("000000000000", "us-east-1", Caller("000000000000", "", "x"), ports, lambda *_: {}, clock)


def test_what_is_due_expires(ctx: Ctx) -> None:
    create_bucket(ctx, {"Bucket": "data"})
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 2}}
    put_bucket_lifecycle_configuration(ctx, {"Bucket": "data", "LifecycleConfiguration": {"Rules": [rule]}})
    for key in ("tmp/x", "kept"):
        ctx.ports.objects.put(f"s3://data/{key}", b"")
    for days, left in ((1, ["kept", "tmp/x"]), (3, ["kept"])):
        assert isinstance(ctx.clock, HandClock)
        ctx.clock.move(datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=days))
        tick(ctx)
        assert [o.key for o in ctx.ports.objects.list("s3://data/")] == left
