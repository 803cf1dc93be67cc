"""GetMetricData: several metrics and expressions over them in one answer, in pages."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.rules.metric_math import Points, evaluate, names
from dewfall.rules.metric_stats import parse_stat
from dewfall.services.cloudwatch.faults import invalid
from dewfall.services.cloudwatch.statistics import SHORT_PERIODS, end_of, metric_key, start_of, statistic_and_units
from dewfall.services.registry import operation

QUERIES = 500
DATAPOINTS = 100_800
_ID = re.compile(r"[a-z]\w*")
_NOT_BUILT = re.compile(r"\b(SEARCH|ANOMALY_DETECTION_BAND|INSIGHT_RULE_METRIC|DB_PERF_INSIGHTS|SERVICE_QUOTA|LAMBDA|SELECT)\b", re.IGNORECASE)

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Series:
    """A query's points under their label, and what is to be said about them."""

    label: str
    points: Points
    messages: list[dict[str, str]] = field(default_factory=list)


@operation("cloudwatch", "GetMetricData")
def get_metric_data(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    start, end = req["StartTime"].replace(microsecond=0), req["EndTime"].replace(microsecond=0)  # CloudWatch counts whole seconds
    if start == end:
        raise invalid("The parameter StartTime must not equal parameter EndTime.")
    if start > end:
        raise invalid("The parameter EndTime must be greater than StartTime.")
    queries = req["MetricDataQueries"]
    check_queries(queries)
    down = req.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    found = run_queries(ctx, queries, req["StartTime"], req["EndTime"])
    results: list[Result] = []
    for query in queries:
        if query.get("ReturnData", True):
            for series in found[query["Id"]]:
                times = sorted(series.points, reverse=down)
                values = [series.points[time] for time in times]
                results.append({"Id": query["Id"], "Label": series.label, "Times": times, "Values": values, "Messages": series.messages})
    limit = min(req.get("MaxDatapoints", DATAPOINTS), DATAPOINTS)
    shown, token = _page(results, limit, _read_token(req.get("NextToken")))
    answer: dict[str, Any] = {"MetricDataResults": shown, "Messages": []}
    return {**answer, "NextToken": token} if token else answer


def check_queries(queries: list[dict[str, Any]]) -> None:
    """Refuse queries that AWS refuses."""
    if not queries:
        raise invalid("The parameter MetricDataQueries is required.")
    if len(queries) > QUERIES:
        raise invalid(f"The collection MetricDataQueries must not have a size greater than {QUERIES}.")
    ids = [query["Id"] for query in queries]
    for n, query in enumerate(queries, 1):
        place = f"MetricDataQueries.member.{n}"
        if not _ID.fullmatch(query["Id"]):
            raise invalid(f"The value {query['Id']} for parameter {place}.Id is not valid: it must begin with a lower-case letter.")
        if ids.count(query["Id"]) > 1:
            raise invalid(f"The values for parameter Id in MetricDataQueries must be unique: {query['Id']}")
        if not query.get("MetricStat") and not query.get("Expression"):
            raise invalid(f"The parameter {place}.MetricStat is required.\n")
        if query.get("MetricStat") and query.get("Expression"):
            raise invalid(f"Exactly one of the parameters {place}.MetricStat and {place}.Expression must be specified.")
        if query.get("MetricStat"):
            _check_stat(query["MetricStat"], place)
        elif _NOT_BUILT.search(query["Expression"]):
            raise AwsError("NotImplemented", f"Dewfall has not built this metric math function yet: {query['Expression']}", status=501)


def run_queries(ctx: Ctx, queries: list[dict[str, Any]], start: datetime, end: datetime) -> dict[str, list[Series]]:
    """Every query's series, by the query's id."""
    stats = [query for query in queries if query.get("MetricStat")]
    periods = {query["Id"]: int(query["MetricStat"]["Period"]) for query in stats}
    found = {query["Id"]: [_series(ctx, query, _label(query, stats), start, end)] for query in stats}
    series = {name: several[0].points for name, several in found.items()}
    waiting = [query for query in queries if query.get("Expression")]
    while waiting:
        ready = [query for query in waiting if names(query["Expression"]) <= set(series)]
        if not ready:
            unknown = sorted(names(waiting[0]["Expression"]) - set(series))
            raise invalid(f"Error in expression '{waiting[0]['Id']}': Unknown identifier {', '.join(unknown)}")
        for query in ready:
            several = _evaluate(query, {k: v for k, v in series.items() if k in periods}, series, periods)
            found[query["Id"]] = [Series(query.get("Label") or query["Id"], points) for points in several]
            if len(several) == 1:
                series[query["Id"]] = several[0]
            waiting.remove(query)
    return found


def _label(query: dict[str, Any], stats: list[dict[str, Any]]) -> str:
    """The label CloudWatch makes: the metric's name, with the statistic and the period where those of the queries differ."""
    if query.get("Label"):
        return str(query["Label"])
    parts = [query["MetricStat"]["Metric"]["MetricName"]]
    parts += [str(query["MetricStat"][part]) for part in ("Stat", "Period") if len({other["MetricStat"][part] for other in stats}) > 1]
    return " ".join(parts)


def _check_stat(stat: dict[str, Any], place: str) -> None:
    period = stat["Period"]
    if period % 60 and period not in SHORT_PERIODS:
        raise invalid(f"The value {period} for parameter {place}.MetricStat.Period must be 1, 5, 10, 20, 30 or a multiple of 60.")
    try:
        parse_stat(stat["Stat"])
    except ValueError:
        raise invalid(f"The value {stat['Stat']} for parameter {place}.MetricStat.Stat is not supported.") from None


def _series(ctx: Ctx, query: dict[str, Any], label: str, start: datetime, end: datetime) -> Series:
    stat = query["MetricStat"]
    metric, period = stat["Metric"], int(stat["Period"])
    key = metric_key(ctx, metric.get("Namespace", ""), metric.get("MetricName", ""), metric.get("Dimensions", ()))
    span = (start_of(start, period), end_of(end), period)
    points, units = statistic_and_units(ctx, key, parse_stat(stat["Stat"]), span, stat.get("Unit"))
    several = {"Code": "MultipleUnits", "Value": f"Multiple units returned: '[{', '.join(units)}]'"}
    return Series(label, points, [several] if len(units) > 1 else [])


def _evaluate(query: dict[str, Any], metrics: dict[str, Points], series: dict[str, Points], periods: dict[str, int]) -> list[Points]:
    """METRICS() means the metrics alone; other expressions are seen by name."""
    seen = metrics | {name: series[name] for name in names(query["Expression"])}
    try:
        return evaluate(query["Expression"], seen, periods)
    except ValueError as error:
        raise invalid(f"Error in expression '{query['Id']}': {error}") from None


def _page(results: list[Result], limit: int, place: tuple[int, int]) -> tuple[list[Result], str | None]:
    """As many points as a page holds, from (result, point) on, and the token of the rest."""
    first, offset = place
    shown: list[Result] = []
    left = limit
    for n in range(first, len(results)):
        result = results[n]
        begin = offset if n == first else 0
        times = result["Times"][begin : begin + left]
        complete = begin + len(times) == len(result["Times"])
        moments = [datetime.fromtimestamp(time, UTC) for time in times]
        values = result["Values"][begin : begin + left]
        status = "Complete" if complete else "PartialData"
        shown.append({"Id": result["Id"], "Label": result["Label"], "Timestamps": moments, "Values": values, "StatusCode": status})
        shown[-1] |= {"Messages": result["Messages"]} if result["Messages"] else {}
        left -= len(times)
        if not complete:
            return shown, base64.urlsafe_b64encode(json.dumps([n, begin + len(times)]).encode()).decode()
    return shown, None


def _read_token(token: str | None) -> tuple[int, int]:
    if not token:
        return 0, 0
    try:
        first, offset = json.loads(base64.urlsafe_b64decode(token.encode()))
        return int(first), int(offset)
    except (binascii.Error, ValueError, TypeError):
        raise AwsError("InvalidNextToken", "The next token specified is invalid.", status=400) from None
