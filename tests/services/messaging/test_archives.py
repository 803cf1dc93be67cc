"""EventBridge archives and replays: what a bus saw is kept, and comes once more under the replay's name."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server
from tests.services.messaging.queues import receive

BUS = "arn:aws:events:us-east-1:000000000000:event-bus/default"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
SPAN = {"EventStartTime": datetime(2021, 1, 1, tzinfo=UTC), "EventEndTime": datetime(2021, 1, 2, tzinfo=UTC)}


@pytest.fixture
def events(dewfall: Server) -> Any:
    return dewfall.client("events")


@pytest.fixture
def archive(events: Any) -> str:
    return str(events.create_archive(ArchiveName="a", EventSourceArn=BUS, EventPattern=json.dumps({"source": ["shop"]}))["ArchiveArn"])


def put(events: Any, source: str, hour: int) -> None:
    when = datetime(2021, 1, 1, hour, tzinfo=UTC)
    events.put_events(Entries=[{"Source": source, "DetailType": "sale", "Detail": json.dumps({"hour": hour}), "Time": when}])


def until(look: Any, wanted: Any) -> None:
    end = time.monotonic() + 180
    while (found := look()) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.01)


def test_an_archive_keeps_what_fits(events: Any, archive: str) -> None:
    put(events, "shop", 1)
    put(events, "other", 2)
    put(events, "shop", 3)
    until(lambda: events.describe_archive(ArchiveName="a")["EventCount"], 2)
    assert events.describe_archive(ArchiveName="a")["SizeBytes"] > 100
    rule = events.describe_rule(Name="Events-Archive-a")
    assert (rule["ManagedBy"], json.loads(rule["EventPattern"])["replay-name"]) == ("prod.vhs.events.aws.internal", [{"exists": False}])


def test_a_replay_brings_the_events_of_its_span_again(dewfall: Server, events: Any, archive: str) -> None:
    for hour in (3, 1):
        put(events, "shop", hour)
    events.put_events(Entries=[{"Source": "shop", "DetailType": "sale", "Detail": "{}"}])  # today
    until(lambda: events.describe_archive(ArchiveName="a")["EventCount"], 3)
    sqs = dewfall.client("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["shop"]}))
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": QUEUE}])
    started = events.start_replay(ReplayName="again", EventSourceArn=archive, Destination={"Arn": BUS}, **SPAN)
    assert started["State"] == "STARTING"
    until(lambda: events.describe_replay(ReplayName="again")["State"], "COMPLETED")
    got = [json.loads(message["Body"]) for message in receive(sqs, url, 2, MaxNumberOfMessages=10)]
    assert sorted(event["detail"]["hour"] for event in got) == [1, 3]
    assert {event["replay-name"] for event in got} == {"again"}
    assert events.describe_archive(ArchiveName="a")["EventCount"] == 3  # replayed events are not archived again


def refusal(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_what_is_refused(events: Any, archive: str) -> None:
    assert refusal(events.create_archive, ArchiveName="a", EventSourceArn=BUS) == "ResourceAlreadyExistsException"
    assert refusal(events.create_archive, ArchiveName="b", EventSourceArn=BUS, EventPattern="no") == "InvalidEventPatternException"
    assert refusal(events.create_archive, ArchiveName="b", EventSourceArn=BUS.replace("default", "none")) == "ResourceNotFoundException"
    assert refusal(events.describe_replay, ReplayName="none") == "ResourceNotFoundException"
    events.create_event_bus(Name="other")
    elsewhere = {"Arn": BUS.replace("default", "other")}
    assert refusal(events.start_replay, ReplayName="r", EventSourceArn=archive, Destination=elsewhere, **SPAN) == "ValidationException"
    assert refusal(events.disable_rule, Name="Events-Archive-a") == "ManagedRuleException"


def test_an_archive_goes_with_its_events(events: Any, archive: str) -> None:
    put(events, "shop", 1)
    until(lambda: events.describe_archive(ArchiveName="a")["EventCount"], 1)
    events.delete_archive(ArchiveName="a")
    assert events.list_rules()["Rules"] == []
    events.create_archive(ArchiveName="a", EventSourceArn=BUS)
    assert events.describe_archive(ArchiveName="a")["EventCount"] == 0
