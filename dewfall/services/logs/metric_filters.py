"""Metric filters: events that match a pattern become points of a CloudWatch metric.

They look at events in the order of arrival, from where they stopped last (kept with the group, in the transaction that adds the points),
so that events of jobs, which no PutLogEvents brings, count too: by the tick.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import LogEvent, LogGroup, Point
from dewfall.errors import AwsError
from dewfall.rules.log_filter import compile_filter, select_value
from dewfall.services.common import with_token
from dewfall.services.logs.places import find_group, invalid, page_of
from dewfall.services.registry import operation

LIMIT = 100  # filters of a group
BATCH = 5_000


@operation("logs", "PutMetricFilter")
def put_metric_filter(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    _check(req)
    with ctx.ports.store.transaction():
        measure_group(ctx, req["logGroupName"])
        group = find_group(ctx, req["logGroupName"])
        filters: dict[str, Any] = group.document.setdefault("metricFilters", {})
        if req["filterName"] not in filters and len(filters) >= LIMIT:
            raise AwsError("LimitExceededException", "Resource limit exceeded.", status=400)
        kept: dict[str, Any] = {name: req[name] for name in ("filterName", "filterPattern", "metricTransformations", "logGroupName")}
        kept["applyOnTransformedLogs"] = req.get("applyOnTransformedLogs", False)
        filters[req["filterName"]] = {**kept, "creationTime": int(ctx.now().timestamp() * 1000)}
        group.document["measured"] = ctx.ports.series.last_arrival()
        ctx.ports.series.save_log_group(group)
    return {}


@operation("logs", "DeleteMetricFilter")
def delete_metric_filter(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction():
        group = find_group(ctx, req["logGroupName"])
        if group.document.get("metricFilters", {}).pop(req["filterName"], None) is None:
            raise AwsError("ResourceNotFoundException", "The specified metric filter does not exist.", status=400)
        ctx.ports.series.save_log_group(group)
    return {}


@operation("logs", "DescribeMetricFilters")
def describe_metric_filters(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if req.get("logGroupName"):
        groups = [find_group(ctx, req["logGroupName"])]
    else:
        groups = ctx.ports.series.log_groups(ctx.account, ctx.region)
    if bool(req.get("metricName")) != bool(req.get("metricNamespace")):
        raise invalid("metricName and metricNamespace must be specified together.")
    found = [item for group in groups for item in group.document.get("metricFilters", {}).values() if _is_asked_for(item, req)]
    found.sort(key=lambda item: (item["filterName"], item["logGroupName"]))
    shown, token = page_of(found, req, lambda item: f"{item['filterName']}\n{item['logGroupName']}")
    return with_token({"metricFilters": shown}, token, "nextToken")


@operation("logs", "TestMetricFilter")
def test_metric_filter(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    wanted = _compile(req["filterPattern"])
    matches = []
    for number, message in enumerate(req["logEventMessages"], 1):
        extracted = wanted(message)
        if extracted is not None:
            matches.append({"eventNumber": number, "eventMessage": message, "extractedValues": extracted})
    return {"matches": matches}


def measure_group(ctx: Ctx, name: str) -> None:
    """Bring a group's metric filters up to the newest event; nothing where there are none."""
    with ctx.ports.store.transaction():
        group = ctx.ports.series.log_group(ctx.account, ctx.region, name)
        while group is not None and group.document.get("metricFilters"):
            events = ctx.ports.series.read_arrivals(group, group.document["measured"], BATCH)
            if not events:
                return
            for item in group.document["metricFilters"].values():
                _measure(ctx, group, item, events)
            group.document["measured"] = events[-1].id
            ctx.ports.series.save_log_group(group)


def tick(ctx: Ctx) -> None:
    """Measure what came by other ways than PutLogEvents."""
    for account, region, name in ctx.ports.series.measured_groups():
        measure_group(replace(ctx, account=account, region=region), name)


def _check(req: dict[str, Any]) -> None:
    _compile(req["filterPattern"])
    for transformation in req["metricTransformations"]:
        value = transformation["metricValue"]
        if not value.startswith("$") and _number(value) is None:
            raise invalid("Invalid metric transformation: metricValue must be a number or a selector")
        if transformation.get("dimensions") and "defaultValue" in transformation:
            raise invalid("Invalid metric transformation: dimensions and default value are mutually exclusive properties.")
        if len(transformation.get("dimensions", {})) > 3:
            raise invalid("Invalid metric transformation: at most 3 dimensions are allowed")


def _compile(pattern: str) -> Any:
    try:
        return compile_filter(pattern)
    except (ValueError, re.error):
        raise invalid("Invalid filter pattern") from None


def _is_asked_for(item: dict[str, Any], req: dict[str, Any]) -> bool:
    if not item["filterName"].startswith(req.get("filterNamePrefix", "")):
        return False
    wanted = (req.get("metricName"), req.get("metricNamespace"))
    return wanted == (None, None) or any((t["metricName"], t["metricNamespace"]) == wanted for t in item["metricTransformations"])


def _measure(ctx: Ctx, group: LogGroup, item: dict[str, Any], events: list[LogEvent]) -> None:
    """Points of one filter: of every match, and the default value for minutes that had events but no match."""
    wanted = _compile(item["filterPattern"])
    transformation = item["metricTransformations"][0]
    points: list[Point] = []
    matched: set[int] = set()
    for event in events:
        extracted = wanted(event.text)
        if extracted is not None:
            matched.add(_minute(event))
            points += _points(transformation, event, extracted)
    default = transformation.get("defaultValue")
    if default is not None:
        quiet = {_minute(event) for event in events} - matched
        points += [_point(transformation, minute, float(default), {}) for minute in sorted(quiet)]
    ctx.ports.series.append_points(group.account, group.region, transformation["metricNamespace"], points)


def _points(transformation: dict[str, Any], event: LogEvent, extracted: dict[str, str]) -> list[Point]:
    value = _number(select_value(transformation["metricValue"], event.text, extracted))
    dimensions = {name: select_value(selector, event.text, extracted) for name, selector in transformation.get("dimensions", {}).items()}
    if value is None or None in dimensions.values():
        return []
    return [_point(transformation, _minute(event), value, {name: str(found) for name, found in dimensions.items()})]


def _point(transformation: dict[str, Any], time: int, value: float, dimensions: dict[str, str]) -> Point:
    return Point(transformation["metricName"], dimensions, time, transformation.get("unit", "None"), 1.0, value, value, value)


def _minute(event: LogEvent) -> int:
    return event.time // 60_000 * 60


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is None or abs(number) < float("inf") else None
