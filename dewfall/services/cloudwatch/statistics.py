"""GetMetricStatistics, and a metric's statistic over time for everyone who needs one (queries, alarms)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import Bucket, MetricKey
from dewfall.rules.metric_stats import PLAIN, Stat, parse_stat, plain_value, spread_value
from dewfall.services.cloudwatch.faults import invalid_combination, invalid_value
from dewfall.services.registry import operation

DATAPOINTS = 1440
SHORT_PERIODS = (1, 5, 10, 20, 30)

# The order in which CloudWatch prefers units where a metric has points of several and the request names none.
UNITS = (
    *("Megabits", "Terabits", "Gigabits", "Count", "Bytes", "Gigabytes", "Gigabytes/Second", "Kilobytes", "Kilobits/Second", "Terabytes"),
    *("Terabits/Second", "Bytes/Second", "Percent", "Megabytes", "Megabits/Second", "Milliseconds", "Microseconds", "Kilobytes/Second"),
    *("Gigabits/Second", "Megabytes/Second", "Bits", "Bits/Second", "Count/Second", "Seconds", "Kilobits", "Terabytes/Second", "None"),
)


@operation("cloudwatch", "GetMetricStatistics")
def get_metric_statistics(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    start, end = _span(req)
    extended = {text: _stat(text, n) for n, text in enumerate(req.get("ExtendedStatistics", ()), 1)}
    key = metric_key(ctx, req["Namespace"], req["MetricName"], req.get("Dimensions", ()))
    buckets = ctx.ports.series.buckets(key, start, end, req["Period"], spread=bool(extended))
    wanted = [bucket for bucket in buckets if req.get("Unit") in (None, bucket.unit)]
    datapoints = [_datapoint(bucket, req.get("Statistics", ()), extended) for bucket in wanted]
    return {"Label": req["MetricName"], "Datapoints": datapoints}


def metric_key(ctx: Ctx, namespace: str, name: str, dimensions: Iterable[dict[str, str]]) -> MetricKey:
    """A metric as a request names it."""
    return MetricKey(ctx.account, ctx.region, namespace, name, {item["Name"]: item["Value"] for item in dimensions})


def statistic(ctx: Ctx, key: MetricKey, stat: Stat, start: int, end: int, period: int, unit: str | None = None) -> dict[int, float]:
    """One statistic of a metric, period by period: seconds since the epoch → value; points of other units are left out."""
    return statistic_and_units(ctx, key, stat, (start, end, period), unit)[0]


def statistic_and_units(
    ctx: Ctx, key: MetricKey, stat: Stat, span: tuple[int, int, int], unit: str | None = None
) -> tuple[dict[int, float], list[str]]:
    """The statistic over a span (start, end, period), and the units of the points there are.

    Without a unit the first one in CloudWatch's order is taken: it neither converts units nor adds them up.
    """
    buckets = ctx.ports.series.buckets(key, *span, spread=stat.needs_values)
    units = sorted({bucket.unit for bucket in buckets if unit in (None, bucket.unit)}, key=UNITS.index)
    found: dict[int, float] = {}
    for bucket in buckets:
        value = bucket_value(bucket, stat) if bucket.unit in units[:1] else None
        if value is not None:
            found[bucket.start] = value
    return found, units


def bucket_value(bucket: Bucket, stat: Stat) -> float | None:
    """A statistic of one period."""
    if stat.kind in PLAIN:
        return plain_value(stat.kind, bucket.samples, bucket.total, bucket.low, bucket.high)
    return spread_value(stat, bucket.spread)


def start_of(moment: datetime, period: int) -> int:
    """Where CloudWatch begins to count periods: the whole minute, or the whole period where that is shorter."""
    grain = period if period in SHORT_PERIODS else 60
    return int(moment.timestamp()) // grain * grain


def end_of(moment: datetime) -> int:
    """The first whole second that no longer counts."""
    return -int(-moment.timestamp() // 1)


def _span(req: dict[str, Any]) -> tuple[int, int]:
    period = req["Period"]
    if not req.get("Statistics") and not req.get("ExtendedStatistics"):
        raise invalid_combination("Must specify either Statistics or ExtendedStatistics")
    if req["StartTime"].replace(microsecond=0) >= req["EndTime"].replace(microsecond=0):  # CloudWatch counts whole seconds
        raise invalid_value("The parameter StartTime must be less than the parameter EndTime.")
    if period % 60 and period not in SHORT_PERIODS:
        raise invalid_value("The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.")
    start, end = start_of(req["StartTime"], period), end_of(req["EndTime"])
    count = int((req["EndTime"] - req["StartTime"]).total_seconds() // period)
    if count > DATAPOINTS:
        raise invalid_combination(
            f"You have requested up to {count:,} datapoints, which exceeds the limit of {DATAPOINTS:,}. "
            "You may reduce the datapoints requested by increasing Period, or decreasing the time range."
        )
    return start, end


def _stat(text: str, number: int) -> Stat:
    try:
        return parse_stat(text)
    except ValueError:
        raise invalid_value(f"The value {text} for parameter ExtendedStatistics.member.{number} is not supported.") from None


def _datapoint(bucket: Bucket, plain: Iterable[str], extended: dict[str, Stat]) -> dict[str, Any]:
    datapoint: dict[str, Any] = {"Timestamp": datetime.fromtimestamp(bucket.start, UTC), "Unit": bucket.unit}
    datapoint |= {name: plain_value(name, bucket.samples, bucket.total, bucket.low, bucket.high) for name in plain}
    values = {text: spread_value(stat, bucket.spread) for text, stat in extended.items()}
    if values:
        datapoint["ExtendedStatistics"] = {text: value for text, value in values.items() if value is not None}
    return datapoint
