"""StartLiveTail: an event stream of what arrives, once a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.series import LogEvent, LogGroup
from dewfall.errors import AwsError
from dewfall.rules.log_filter import LogFilter
from dewfall.services.logs.events import shown
from dewfall.services.logs.places import find_group, group_arn, invalid, name_in
from dewfall.services.logs.search import log_filter
from dewfall.services.registry import operation

EVERY = 1.0  # seconds between updates
SECONDS = 3 * 3600
UPDATE = 500  # events of one update; beyond, a sample


@operation("logs", "StartLiveTail")
def start_live_tail(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if len(req["logGroupIdentifiers"]) > 1 and (req.get("logStreamNames") or req.get("logStreamNamePrefixes")):
        raise invalid("Log stream names or prefixes can be specified for a single log group only.")
    if req.get("logStreamNames") and req.get("logStreamNamePrefixes"):
        raise invalid("logStreamNames and logStreamNamePrefixes are mutually exclusive parameters.")
    groups = [find_group(ctx, name_in(identifier)) for identifier in req["logGroupIdentifiers"]]
    wanted = log_filter(req.get("logEventFilterPattern", ""))
    return {"responseStream": _session(ctx, req, groups, wanted, ctx.ports.series.last_arrival())}


def _session(ctx: Ctx, req: dict[str, Any], groups: list[LogGroup], wanted: LogFilter, after: int) -> Iterator[dict[str, Any]]:
    names = ("logGroupIdentifiers", "logStreamNames", "logStreamNamePrefixes", "logEventFilterPattern")
    start = {name: req[name] for name in names if name in req}
    yield {"sessionStart": {"requestId": ctx.request_id, "sessionId": new_uuid(), "logStreamNames": [], "logStreamNamePrefixes": [], **start}}
    begun = ctx.now()
    pause = threading.Event()
    seen = dict.fromkeys((group.id for group in groups), after)
    while (ctx.now() - begun).total_seconds() < SECONDS:
        results: list[dict[str, Any]] = []
        for group in groups:
            events = ctx.ports.series.read_arrivals(group, seen[group.id], 10 * UPDATE)
            if events:
                seen[group.id] = events[-1].id
                results += _results(ctx, req, group, [event for event in events if wanted(event.text) is not None])
        yield {"sessionUpdate": {"sessionMetadata": {"sampled": len(results) > UPDATE}, "sessionResults": results[:UPDATE]}}
        pause.wait(EVERY)
    raise AwsError("SessionTimeoutException", "The live tail session has reached its limit of three hours.", status=400)


def _results(ctx: Ctx, req: dict[str, Any], group: LogGroup, events: list[LogEvent]) -> list[dict[str, Any]]:
    if not events:
        return []
    streams = {stream.id: stream.name for stream in ctx.ports.series.log_streams(group)}
    identifier = f"{ctx.account}:{group_arn(ctx, group.name).rsplit(':', 1)[-1]}"
    found = []
    for event in events:
        name = streams.get(event.stream, "")
        if _is_followed(name, req):
            found.append({"logStreamName": name, "logGroupIdentifier": identifier, **shown(event)})
    return found


def _is_followed(name: str, req: dict[str, Any]) -> bool:
    if req.get("logStreamNames"):
        return name in req["logStreamNames"]
    prefixes = req.get("logStreamNamePrefixes")
    return not prefixes or name.startswith(tuple(prefixes))
