"""The tick of alarms: every alarm's points of now, judged by the rules; a new state is saved and told.

Points of the running period are not looked at: a sum that is not complete would trip alarms on small values.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Conflict, Record
from dewfall.errors import AwsError
from dewfall.rules import alarms as rules
from dewfall.rules.alarm_rules import alarms_in, compile_rule
from dewfall.rules.metric_stats import parse_stat
from dewfall.services.cloudwatch.alarm_states import alarm_key, change_state, release_actions
from dewfall.services.cloudwatch.queries import run_queries
from dewfall.services.cloudwatch.statistics import metric_key, statistic

log = logging.getLogger(__name__)

TREATED = {"breaching": "Breaching", "notBreaching": "NonBreaching", "ignore": "Ignore"}

Alarms = dict[str, dict[str, Any]]  # name or ARN → alarm


def tick(ctx: Ctx) -> list[str]:
    """Evaluate every alarm, composite ones last; what has changed."""
    with ctx.ports.store.reading() as tx:
        records = list(tx.records.scan("cloudwatch", "alarm"))
    records.sort(key=lambda record: record.document["AlarmType"] == "CompositeAlarm")
    decisions: list[str] = []
    alarms: dict[tuple[str, str], Alarms] = {}
    for record in records:
        known = alarms.setdefault((record.key.account, record.key.region), {})
        known[record.key.name] = known[record.document["AlarmArn"]] = record.document
    for record in records:
        mine = replace(ctx, account=record.key.account, region=record.key.region)
        known = alarms[record.key.account, record.key.region]
        try:
            decision = _evaluate(mine, record, known)
        except (AwsError, Conflict, ValueError) as error:
            log.warning("alarm not evaluated alarm=%s problem=%s", record.key.name, error)
            decision = None
        decisions += [decision] if decision else []
    return decisions


def _evaluate(ctx: Ctx, record: Record, alarms: Alarms) -> str | None:
    alarm = record.document
    old = alarm["StateValue"]
    if alarm.get("_HeldUntil", 0) > ctx.now().timestamp():
        return None
    state, reason, data = _composite(ctx, alarm, alarms) if alarm["AlarmType"] == "CompositeAlarm" else _metric(ctx, alarm)
    if state == old:
        if "_Held" in alarm:
            with ctx.ports.store.transaction() as tx:
                release_actions(ctx, tx, record)
        return None
    alarm.pop("_SetOver", None)
    with ctx.ports.store.transaction() as tx:
        if tx.records.get(alarm_key(ctx, record.key.name)) is not None:
            change_state(ctx, tx, record, state, reason, data)
    return f"{record.key.name}: {old} -> {state}"


def recent_values(ctx: Ctx, alarm: dict[str, Any]) -> list[float]:
    """What a metric alarm's last periods came to, oldest first; periods without data are left out."""
    period, count = _period(alarm), int(alarm["EvaluationPeriods"])
    end = int(ctx.now().timestamp()) // period * period
    points = _points(ctx, alarm, end - (count + rules.EXTRA) * period, end, period)
    return [points[time] for time in sorted(points)][-count:]


def _composite(ctx: Ctx, alarm: dict[str, Any], alarms: Alarms) -> tuple[str, str, str]:
    """The rule's answer; the reason names the alarm that changed last."""
    children = {name: alarms[name] for name in alarms_in(alarm["AlarmRule"]) if name in alarms}
    states = {name: child["StateValue"] for name, child in children.items()}
    if alarm.get("_SetOver") == states:
        return alarm["StateValue"], "", ""
    state = "ALARM" if compile_rule(alarm["AlarmRule"])(states) else "OK"
    told = [{"arn": child["AlarmArn"], "state": {"value": child["StateValue"], "timestamp": _moment(child)}} for child in children.values()]
    last = max(children.values(), key=lambda child: child["StateTransitionedTimestamp"], default=None)
    if last is None or alarm["StateReason"].startswith("Unchecked"):
        return state, f"{alarm['AlarmArn']} was created and its alarm rule evaluates to {state}", json.dumps({"triggeringAlarms": told})
    at = last["StateTransitionedTimestamp"].strftime("%A %d %B, %Y %H:%M:%S UTC")
    told = [entry for entry in told if entry["arn"] == last["AlarmArn"]]
    return state, f"{last['AlarmArn']} transitioned to {last['StateValue']} at {at}", json.dumps({"triggeringAlarms": told})


def _moment(alarm: dict[str, Any]) -> str:
    at: datetime = alarm["StateTransitionedTimestamp"]
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def _metric(ctx: Ctx, alarm: dict[str, Any]) -> tuple[str, str, str]:
    period, count = _period(alarm), int(alarm["EvaluationPeriods"])
    end = int(ctx.now().timestamp()) // period * period
    times = [end - n * period for n in range(count + rules.EXTRA, 0, -1)]
    points = _points(ctx, alarm, times[0], end, period)
    values = [points.get(time) for time in times]
    marks = [None if value is None else rules.breaches(value, alarm["ComparisonOperator"], alarm["Threshold"]) for value in values]
    to_alarm = int(alarm.get("DatapointsToAlarm") or count)
    verdict = rules.judge(marks, count, to_alarm, alarm.get("TreatMissingData", "missing"), alarm["StateValue"])
    evaluated = [(times[n], values[n]) for n in reversed(verdict.evaluated)]
    breaching = sum(bool(marks[n]) for n in verdict.evaluated)
    if verdict.state == alarm["StateValue"]:
        return verdict.state, "", ""
    reason = _reason(alarm, verdict, evaluated, breaching, count, to_alarm)
    return verdict.state, reason, _reason_data(ctx, alarm, evaluated, times, period)


def _period(alarm: dict[str, Any]) -> int:
    if "Period" in alarm:
        return int(alarm["Period"])
    periods = [query["MetricStat"]["Period"] if "MetricStat" in query else query.get("Period") for query in alarm["Metrics"]]
    return max((int(period) for period in periods if period), default=60)


def _points(ctx: Ctx, alarm: dict[str, Any], start: int, end: int, period: int) -> dict[int, float]:
    if "Metrics" in alarm:
        found = run_queries(ctx, alarm["Metrics"], datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
        wanted = next(query["Id"] for query in alarm["Metrics"] if query.get("ReturnData", True))
        return found[wanted][0].points if found[wanted] else {}
    key = metric_key(ctx, alarm["Namespace"], alarm["MetricName"], alarm.get("Dimensions", ()))
    stat = parse_stat(alarm.get("Statistic") or alarm["ExtendedStatistic"])
    return statistic(ctx, key, stat, start, end, period, alarm.get("Unit"))


def _reason(
    alarm: dict[str, Any], verdict: rules.Verdict, evaluated: list[tuple[int, float | None]], breaching: int, count: int, to_alarm: int
) -> str:
    """AWS's sentence: a shorter one for alarms without DatapointsToAlarm."""
    plural = "datapoint was" if count == 1 else "datapoints were"
    if verdict.state == rules.INSUFFICIENT:
        return f"Insufficient Data: {count} {plural} unknown."
    if not evaluated:
        treated = TREATED.get(alarm.get("TreatMissingData", ""), "Missing")
        missing = "datapoint was" if verdict.filled == 1 else "datapoints were"
        periods = "period" if count == 1 else "periods"
        return f"Threshold Crossed: no datapoints were received for {count} {periods} and {verdict.filled} missing {missing} treated as [{treated}]."
    alarming = verdict.state == rules.ALARM
    crossed = breaching if alarming else len(evaluated) - breaching
    words = ("was " if crossed == 1 else "were ") + ("" if alarming else "not ") + rules.WORDS[alarm["ComparisonOperator"]]
    threshold = f"{words} the threshold ({float(alarm['Threshold'])})"
    if "DatapointsToAlarm" not in alarm:
        points = [point for point in evaluated if rules.breaches(point[1] or 0.0, alarm["ComparisonOperator"], alarm["Threshold"]) == alarming]
        return f"Threshold Crossed: {crossed} datapoint{'' if crossed == 1 else 's'} [{_list(points)}] {threshold}."
    needed = to_alarm if alarming else count - to_alarm + 1
    change = "OK -> ALARM" if alarming else "ALARM -> OK"
    minimum = f"(minimum {needed} datapoint{'' if needed == 1 else 's'} for {change} transition)"
    return f"Threshold Crossed: {crossed} out of the last {len(evaluated)} datapoints [{_list(evaluated)}] {threshold} {minimum}."


def _list(points: list[tuple[int, float | None]]) -> str:
    return ", ".join(f"{value} ({_short(time)})" for time, value in points)


def _reason_data(ctx: Ctx, alarm: dict[str, Any], evaluated: list[tuple[int, float | None]], times: list[int], period: int) -> str:
    """The points that were judged; where there are none, the times that had none."""
    data: dict[str, Any] = {"version": "1.0", "queryDate": _long(int(ctx.now().timestamp()))}
    if evaluated:
        data["startDate"] = _long(evaluated[-1][0])
    samples = _samples(ctx, alarm, times[0], times[-1] + period, period) if evaluated else {}
    points = [{"timestamp": _long(time), "sampleCount": samples.get(time), "value": value} for time, value in evaluated]
    points = points or [{"timestamp": _long(time)} for time in reversed(times[rules.EXTRA :])]
    data |= {name: alarm[member] for name, member in (("unit", "Unit"), ("statistic", "Statistic")) if member in alarm}
    values = [value for _, value in reversed(evaluated)]
    shown = [{name: value for name, value in point.items() if value is not None} for point in points]
    data |= {"period": period, "recentDatapoints": values, "threshold": float(alarm["Threshold"]), "evaluatedDatapoints": shown}
    return json.dumps(data)


def _samples(ctx: Ctx, alarm: dict[str, Any], start: int, end: int, period: int) -> dict[int, float]:
    if "Metrics" in alarm:
        return {}
    key = metric_key(ctx, alarm["Namespace"], alarm["MetricName"], alarm.get("Dimensions", ()))
    return statistic(ctx, key, parse_stat("SampleCount"), start, end, period, alarm.get("Unit"))


def _short(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%d/%m/%y %H:%M:%S")


def _long(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
