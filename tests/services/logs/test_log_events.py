"""Log events: limits, tokens, searches, tails and metric filters."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dewfall.testing import Server

HOUR = 3_600_000


@pytest.fixture
def logs(dewfall: Server) -> Any:
    client = dewfall.client("logs")
    client.create_log_group(logGroupName="g")
    client.create_log_stream(logGroupName="g", logStreamName="s")
    return client


def now() -> int:
    return int(time.time() * 1000)


def put(logs: Any, *messages: str, at: int | None = None, stream: str = "s") -> Any:
    first = at or now() - 10_000
    events = [{"timestamp": first + n, "message": message} for n, message in enumerate(messages)]
    return logs.put_log_events(logGroupName="g", logStreamName=stream, logEvents=events)


def read(logs: Any, **arguments: Any) -> tuple[list[str], Any]:
    answer = logs.get_log_events(logGroupName="g", logStreamName="s", **arguments)
    return [event["message"] for event in answer["events"]], answer


def test_reading_from_head_until_the_token_repeats(logs: Any) -> None:
    put(logs, *"abcde")
    seen, token = [], None
    while True:
        page, answer = read(logs, limit=2, startFromHead=True, **({"nextToken": token} if token else {}))
        seen += page
        if answer["nextForwardToken"] == token:
            break
        token = answer["nextForwardToken"]
    assert seen == list("abcde")
    put(logs, "f", at=now())
    assert read(logs, nextToken=token)[0] == ["f"]


def test_reading_back_from_the_end(logs: Any) -> None:
    put(logs, *"abcde")
    last, answer = read(logs, limit=2)
    before, answer = read(logs, limit=2, nextToken=answer["nextBackwardToken"])
    first, answer = read(logs, limit=2, nextToken=answer["nextBackwardToken"])
    nothing, end = read(logs, limit=2, nextToken=answer["nextBackwardToken"])
    assert [last, before, first, nothing] == [["d", "e"], ["b", "c"], ["a"], []]
    assert end["nextBackwardToken"] == answer["nextBackwardToken"]
    assert read(logs, nextToken=end["nextForwardToken"])[0] == list("abcde")


def test_an_empty_stream_gives_tokens_that_later_work(logs: Any) -> None:
    events, answer = read(logs, startFromHead=True)
    put(logs, "a")
    assert events == []
    assert read(logs, nextToken=answer["nextForwardToken"])[0] == ["a"]


def test_times_bound_what_is_read(logs: Any) -> None:
    start = now() - 1000
    put(logs, *"abcd", at=start)
    assert read(logs, startTime=start + 1, endTime=start + 3)[0] == ["b", "c"]
    found = logs.filter_log_events(logGroupName="g", startTime=start + 1, endTime=start + 3)["events"]
    assert [event["message"] for event in found] == ["b", "c", "d"]


def test_events_too_old_or_too_new_are_rejected(logs: Any) -> None:
    at = now()
    times = [at - 15 * 24 * HOUR, at, at + 3 * HOUR]
    answer = logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=[{"timestamp": t, "message": "x"} for t in times])
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    assert len(read(logs)[0]) == 1


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1, 0], "Log events in a single PutLogEvents request must be in chronological order."),
        ([-25 * HOUR, 0], "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."),
    ],
)
def test_batches_that_are_refused(logs: Any, times: list[int], message: str) -> None:
    with pytest.raises(logs.exceptions.InvalidParameterException, match=message):
        logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=[{"timestamp": now() + t, "message": "x"} for t in times])


def test_a_search_pages_over_streams_with_a_pattern(logs: Any) -> None:
    logs.create_log_stream(logGroupName="g", logStreamName="t")
    start = now() - 1000
    put(logs, "ERROR 1", "fine", "ERROR 3", at=start)
    put(logs, "ERROR 2", at=start + 1, stream="t")
    pages = list(
        logs.get_paginator("filter_log_events").paginate(logGroupName="g", filterPattern="ERROR", startTime=start, PaginationConfig={"PageSize": 2})
    )
    assert [[(e["logStreamName"], e["message"]) for e in page["events"]] for page in pages] == [
        [("s", "ERROR 1"), ("t", "ERROR 2")],
        [("s", "ERROR 3")],
    ]
    assert len({e["eventId"] for page in pages for e in page["events"]}) == 3


def test_a_search_can_begin_at_the_end(logs: Any) -> None:
    put(logs, *"abc")
    found = logs.filter_log_events(logGroupName="g", startFromHead=False, startTime=now() - HOUR, limit=2)
    rest = logs.filter_log_events(logGroupName="g", nextToken=found["nextToken"])
    assert [event["message"] for event in found["events"] + rest["events"]] == ["c", "b", "a"]


def test_a_metric_filter_makes_points(dewfall: Server, logs: Any) -> None:
    transformation = {"metricName": "latency", "metricNamespace": "app", "metricValue": "$.ms", "dimensions": {"route": "$.route"}}
    logs.put_metric_filter(logGroupName="g", filterName="f", filterPattern="{ $.ms > 10 }", metricTransformations=[transformation])
    put(logs, '{"ms": 20, "route": "/a"}', '{"ms": 5, "route": "/a"}', '{"ms": 40, "route": "/a"}', "plain")
    found = dewfall.client("cloudwatch").get_metric_statistics(
        Namespace="app",
        MetricName="latency",
        Dimensions=[{"Name": "route", "Value": "/a"}],
        StartTime=datetime.now(UTC) - timedelta(minutes=10),
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    assert [(point["Sum"], point["SampleCount"]) for point in found] == [(60.0, 2.0)]
    (kept,) = logs.describe_metric_filters(logGroupName="g")["metricFilters"]
    assert (kept["filterName"], kept["applyOnTransformedLogs"]) == ("f", False)
    assert logs.describe_log_groups()["logGroups"][0]["metricFilterCount"] == 1


def test_a_pattern_can_be_tried(logs: Any) -> None:
    found = logs.test_metric_filter(filterPattern="[ip, code = 4*]", logEventMessages=["1.1.1.1 404", "1.1.1.1 200"])["matches"]
    assert found == [{"eventNumber": 1, "eventMessage": "1.1.1.1 404", "extractedValues": {"$ip": "1.1.1.1", "$code": "404"}}]


def test_a_live_tail_shows_what_arrives(dewfall: Server, logs: Any) -> None:
    client = dewfall.session.client("logs", endpoint_url=dewfall.url, config=_no_prefix())
    stream = client.start_live_tail(logGroupIdentifiers=[_arn(logs)])["responseStream"]
    events = iter(stream)
    assert "sessionStart" in next(events)
    put(logs, "hello")
    found: list[str] = []
    while not found:
        found = [result["message"] for result in next(events)["sessionUpdate"]["sessionResults"]]
    stream.close()
    client.close()
    assert found == ["hello"]


@pytest.mark.slow
def test_the_command_line_tails(dewfall: Server, logs: Any) -> None:
    put(logs, "hello", "world")
    environment = os.environ | dewfall.environment()
    command = [sys.executable, "-m", "awscli", "logs", "tail", "g", "--format", "short"]
    pytest.importorskip("awscli")
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert [line.split(" ", 1)[1] for line in result.stdout.splitlines()] == ["hello", "world"], result.stderr


def _no_prefix() -> Any:
    from botocore.config import Config

    return Config(inject_host_prefix=False)


def _arn(logs: Any) -> str:
    return str(logs.describe_log_groups()["logGroups"][0]["logGroupArn"])
