"""Log events: put, and read by stream with AWS's tokens.

GetLogEvents' tokens are places in a stream: `f/` reads on behind one, `b/` back before one. At the end of the stream the same token comes
back, and used again later it gives what has arrived meanwhile; clients that follow a job's log rely on both.
"""

from __future__ import annotations

import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import DAY, EVENT_OVERHEAD, FOREVER, LogEvent
from dewfall.services.logs.metric_filters import measure_group
from dewfall.services.logs.places import find_group, find_stream, group_name, invalid
from dewfall.services.logs.streams import sequence_token
from dewfall.services.registry import operation

BATCH_BYTES = 1_048_576
ANSWER_BYTES = 1_048_576
OLDEST = 14 * DAY
NEWEST = 2 * 3_600_000
LIMIT = 10_000
_TOKEN = re.compile(r"([fb])/(\d{20})(\d{36})/s")


@operation("logs", "PutLogEvents")
def put_log_events(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    group = find_group(ctx, req["logGroupName"])
    stream = find_stream(ctx, group, req["logStreamName"])
    events = [(int(event["timestamp"]), str(event["message"])) for event in req["logEvents"]]
    _check_batch(events)
    now = int(ctx.now().timestamp() * 1000)
    rejected, accepted = _sort_out(events, now, group.retention)
    if accepted and accepted[-1][0] - accepted[0][0] > DAY:
        raise invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
    with ctx.ports.store.transaction():
        find_stream(ctx, group, stream.name)
        ctx.ports.series.append_logs(ctx.account, ctx.region, group.name, stream.name, accepted)
        measure_group(ctx, group.name)
        grown = find_stream(ctx, group, stream.name)
    answer: dict[str, Any] = {"nextSequenceToken": sequence_token(grown)}
    return {**answer, "rejectedLogEventsInfo": rejected} if rejected else answer


@operation("logs", "GetLogEvents")
def get_log_events(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    group = find_group(ctx, group_name(req))
    stream = find_stream(ctx, group, req["logStreamName"])
    limit = req.get("limit") or LIMIT
    span = {"start": req.get("startTime", 0), "end": req.get("endTime", FOREVER)}
    token = req.get("nextToken")
    if token:
        direction, place = _read_token(token)
    else:
        direction, place = ("f", (-1, 0)) if req.get("startFromHead") else ("b", (FOREVER, 0))
    if direction == "f":
        events = fitting(ctx.ports.series.read_stream(stream, limit, after=place, **span))
    else:
        events = fitting(ctx.ports.series.read_stream(stream, limit, before=place, **span)[::-1])[::-1]
    forward, backward = _tokens(events, direction, place)
    return {"events": [shown(event) for event in events], "nextForwardToken": forward, "nextBackwardToken": backward}


# ---------------------------------------------------------------- putting


def _check_batch(events: list[tuple[int, str]]) -> None:
    size = 0
    for n, (time, message) in enumerate(events):
        if n and time < events[n - 1][0]:
            raise invalid("Log events in a single PutLogEvents request must be in chronological order.")
        bytes_of = len(message.encode("utf-8", "replace")) + EVENT_OVERHEAD
        if bytes_of > BATCH_BYTES:
            raise invalid(f"Log event too large: {bytes_of} bytes exceeds limit of {BATCH_BYTES}")
        size += bytes_of
    if size > BATCH_BYTES:
        raise invalid(f"Upload too large: {size} bytes exceeds limit of {BATCH_BYTES}")


def _sort_out(events: list[tuple[int, str]], now: int, retention: int) -> tuple[dict[str, int], list[tuple[int, str]]]:
    """What is rejected, and the events that are not: neither too old, nor expired, nor too new."""
    rejected: dict[str, int] = {}
    old = sum(time < now - OLDEST for time, _ in events)
    expired = sum(time < now - retention * DAY for time, _ in events) if retention else 0
    new = sum(time > now + NEWEST for time, _ in events)
    if expired > old:
        rejected["expiredLogEventEndIndex"] = expired
    elif old:
        rejected["tooOldLogEventEndIndex"] = old
    if new:
        rejected["tooNewLogEventStartIndex"] = len(events) - new
    return rejected, events[max(old, expired) : len(events) - new]


# ---------------------------------------------------------------- reading a stream


def fitting(events: list[LogEvent]) -> list[LogEvent]:
    """As many of the first events as fit in an answer of 1 MB; at least one."""
    size = 0
    for n, event in enumerate(events):
        size += len(event.text.encode()) + EVENT_OVERHEAD
        if size > ANSWER_BYTES and n:
            return events[:n]
    return events


def _tokens(events: list[LogEvent], direction: str, place: tuple[int, int]) -> tuple[str, str]:
    """Forward and backward token of a page; of an empty one, the place that was asked for."""
    if events:
        return _token("f", events[-1].place), _token("b", events[0].place)
    time, event = place
    if time >= FOREVER or time < 0:
        return _token("f", (0, 0)), _token("b", (0, 0))
    if direction == "f":
        return _token("f", place), _token("b", (time, event + 1))
    return _token("f", (time, max(0, event - 1))), _token("b", place)


def _token(direction: str, place: tuple[int, int]) -> str:
    return f"{direction}/{event_id(place)}/s"


def _read_token(token: str) -> tuple[str, tuple[int, int]]:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise invalid("The specified nextToken is invalid.")
    return match[1], (int(match[2]), int(match[3]))


def event_id(place: tuple[int, int]) -> str:
    return f"{place[0]:020d}{place[1]:036d}"


def shown(event: LogEvent) -> dict[str, Any]:
    return {"timestamp": event.time, "message": event.text, "ingestionTime": event.ingested}
