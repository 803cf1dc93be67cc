"""PutMetricData: points checked as AWS checks them, and kept."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import Point
from dewfall.services.cloudwatch.faults import invalid_combination, invalid_value, missing
from dewfall.services.registry import operation

DATA = 1000
VALUES = 150
LARGEST = 2.0**360
NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # as AWS writes them
OLDEST = timedelta(days=14)
NEWEST = timedelta(hours=2)
METRIC_DAYS = 455


@operation("cloudwatch", "PutMetricData")
def put_metric_data(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    namespace = req["Namespace"]
    if namespace.startswith((":", "AWS/")):
        raise invalid_value(f"The value {namespace} for parameter Namespace is invalid.")
    data = [("MetricData", n, datum) for n, datum in enumerate(req.get("MetricData", ()), 1)]
    for m, entity in enumerate(req.get("EntityMetricData", ()), 1):
        data += [(f"EntityMetricData.member.{m}.MetricData", n, datum) for n, datum in enumerate(entity.get("MetricData", ()), 1)]
    if not data:
        raise missing("The parameter MetricData is required.")
    if len(data) > DATA:
        raise invalid_value(f"The collection MetricData must not have a size greater than {DATA}.")
    points = [_point(datum, f"{place}.member.{n}", ctx.now()) for place, n, datum in data]
    ctx.ports.series.append_points(ctx.account, ctx.region, namespace, points)
    return {}


def tick(ctx: Ctx) -> None:
    """Remove points that AWS would no longer keep."""
    ctx.ports.series.expire_metrics(int((ctx.now() - timedelta(days=METRIC_DAYS)).timestamp()))


def _point(datum: dict[str, Any], place: str, now: datetime) -> Point:
    resolution = datum.get("StorageResolution", 60)
    if resolution not in (1, 60):
        raise invalid_value(f"The parameter {place}.StorageResolution must be either 1 or 60.")
    at = datum.get("Timestamp", now)
    if at < now - OLDEST:
        raise invalid_value(f"The parameter {place}.Timestamp must specify a time within the past two weeks.")
    if at > now + NEWEST:
        raise invalid_value(f"The parameter {place}.Timestamp must specify a time no more than two hours in the future.")
    dimensions = {item["Name"]: item["Value"] for item in datum.get("Dimensions", ())}
    time = int(at.timestamp()) // resolution * resolution
    return Point(datum["MetricName"], dimensions, time, datum.get("Unit", "None"), *_numbers(datum, place))


def _numbers(datum: dict[str, Any], place: str) -> tuple[float, float, float, float, tuple[tuple[float, float], ...]]:
    """Samples, sum, minimum, maximum and the single values, whichever way they were given.

    AWS takes StatisticValues and Values together; here the statistic set counts then.
    """
    given = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) is not None]
    if "Value" in given and len(given) > 1:
        first, second = sorted(given, key=("Value", "StatisticValues", "Values").index)[:2]
        raise invalid_combination(f"The parameters {place}.{first} and {place}.{second} are mutually exclusive and you have specified both.")
    if not given:
        raise missing(f"The parameter {place}.Value is required.") if "Counts" not in datum else missing(f"The parameter {place}.Values is required.")
    if "Value" in given:
        value = _checked(datum["Value"], f"{place}.Value")
        return 1.0, value, value, value, ()
    if "StatisticValues" in given:
        return _statistic_set(datum["StatisticValues"], f"{place}.StatisticValues")
    values = [_checked(value, f"{place}.Values.member.{n}") for n, value in enumerate(datum["Values"], 1)]
    counts = [float(count) for count in datum.get("Counts", [1.0] * len(values))]
    if len(values) != len(counts):
        raise invalid_value(f"The parameters {place}.Values and {place}.Counts must be of the same size.")
    if len(values) > VALUES:
        raise invalid_value(f"The collection {place}.Values must not have a size greater than {VALUES}.")
    if not values or any(not math.isfinite(count) or count <= 0 for count in counts):
        raise invalid_value(f"The parameter {place}.Counts must hold positive numbers.")
    total = sum(value * count for value, count in zip(values, counts, strict=True))
    return sum(counts), total, min(values), max(values), tuple(zip(values, counts, strict=True))


def _statistic_set(given: dict[str, Any], place: str) -> tuple[float, float, float, float, tuple[tuple[float, float], ...]]:
    samples, total, low, high = (_checked(given[name], f"{place}.{name}") for name in ("SampleCount", "Sum", "Minimum", "Maximum"))
    if samples <= 0:
        raise invalid_value(f"The parameter {place}.SampleCount must be greater than 0.")
    if low > high:
        raise invalid_value(f"The parameter {place}.Maximum must be greater than or equal to the parameter {place}.Minimum.")
    return samples, total, low, high, ()


def _checked(value: float, place: str) -> float:
    number = float(value)
    if not math.isfinite(number) or abs(number) > LARGEST:
        said = NOT_FINITE.get(str(number), value)
        raise invalid_value(f"The value {said} for parameter {place} is invalid.")
    return number
