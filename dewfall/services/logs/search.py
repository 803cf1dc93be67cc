"""FilterLogEvents: a group's events over all streams, those that a pattern lets through."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import EVENT_OVERHEAD, FOREVER, LogEvent, LogGroup, LogStream
from dewfall.rules.log_filter import LogFilter, compile_filter
from dewfall.services.logs.events import ANSWER_BYTES, LIMIT, event_id, shown
from dewfall.services.logs.places import find_group, group_name, invalid, not_found
from dewfall.services.registry import operation

SCAN = 2_000  # events read at once
SCANNED = 100_000  # events looked at for one answer, which may then be empty but for its token

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for: streams by id, a filter, times [start, end), and how many."""

    group: LogGroup
    streams: dict[int, LogStream]
    wanted: LogFilter
    start: int
    end: int
    newest_first: bool
    limit: int


@operation("logs", "FilterLogEvents")
def filter_log_events(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if req.get("logStreamNames") and req.get("logStreamNamePrefix"):
        raise invalid("The parameters logStreamNamePrefix and logStreamNames cannot be used together.")
    start, end = req.get("startTime", 0), req.get("endTime", FOREVER - 1)
    if start > end:
        raise invalid("startTime must be less than or equal to endTime.")
    group = find_group(ctx, group_name(req))
    place, newest_first = _read_token(req["nextToken"]) if req.get("nextToken") else (None, req.get("startFromHead") is False)
    streams, limit = _streams(ctx, group, req), req.get("limit") or LIMIT
    search = Search(group, streams, log_filter(req.get("filterPattern", "")), start, end + 1, newest_first, limit)
    events, place = _find(ctx, search, place)
    found = [{"logStreamName": streams[event.stream].name, "eventId": event_id(event.place), **shown(event)} for event in events]
    answer: dict[str, Any] = {"events": found, "searchedLogStreams": []}
    return {**answer, "nextToken": _write_token(place, newest_first)} if place else answer


def log_filter(pattern: str) -> LogFilter:
    """A pattern's filter, or AWS's refusal."""
    try:
        return compile_filter(pattern)
    except (ValueError, re.error):
        raise invalid("Invalid filter pattern") from None


def _streams(ctx: Ctx, group: LogGroup, req: dict[str, Any]) -> dict[int, LogStream]:
    streams = ctx.ports.series.log_streams(group, req.get("logStreamNamePrefix", ""))
    names = req.get("logStreamNames")
    if names:
        streams = [stream for stream in streams if stream.name in names]
        if not streams:
            raise not_found("log stream")
    return {stream.id: stream for stream in streams}


def _find(ctx: Ctx, search: Search, place: Place | None) -> tuple[list[LogEvent], Place | None]:
    """The next events that match, and the place to go on from; None at the end."""
    found: list[LogEvent] = []
    size = looked = 0
    while looked < SCANNED:
        batch = _read(ctx, search, place)
        for event in batch:
            if event.stream in search.streams and search.wanted(event.text) is not None:
                size += len(event.text.encode()) + EVENT_OVERHEAD
                if found and size > ANSWER_BYTES:
                    return found, place
                found.append(event)
            place = event.place
            if len(found) == search.limit:
                return found, place if _read(ctx, search, place, 1) else None
        if len(batch) < SCAN:
            return found, None
        looked += len(batch)
    return found, place


def _read(ctx: Ctx, search: Search, place: Place | None, limit: int = SCAN) -> list[LogEvent]:
    """Events behind a place; those of one stream by its own index."""
    start, end = search.start, search.end
    if len(search.streams) != 1:
        return ctx.ports.series.read_group(search.group, limit, place=place, newest=search.newest_first, start=start, end=end)
    (stream,) = search.streams.values()
    if search.newest_first:
        return ctx.ports.series.read_stream(stream, limit, before=place or (FOREVER, 0), start=start, end=end)[::-1]
    return ctx.ports.series.read_stream(stream, limit, after=place or (-1, 0), start=start, end=end)


def _write_token(place: Place, newest_first: bool) -> str:
    return base64.urlsafe_b64encode(json.dumps([*place, newest_first]).encode()).decode()


def _read_token(token: str) -> tuple[Place, bool]:
    try:
        time, event, newest_first = json.loads(base64.urlsafe_b64decode(token.encode()))
        return (int(time), int(event)), bool(newest_first)
    except (binascii.Error, ValueError, TypeError):
        raise invalid("The specified nextToken is invalid.") from None
