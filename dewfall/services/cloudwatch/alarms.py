"""Metric alarms: put, described, deleted, their actions switched on and off."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record, Tx
from dewfall.errors import AwsError
from dewfall.rules.alarm_rules import alarms_in
from dewfall.rules.alarms import WORDS
from dewfall.rules.metric_stats import parse_stat
from dewfall.services.cloudwatch.alarm_history import note
from dewfall.services.cloudwatch.alarm_states import alarm_key, shown, tell_configuration
from dewfall.services.cloudwatch.faults import invalid, invalid_value, page_of
from dewfall.services.cloudwatch.queries import check_queries
from dewfall.services.common import drop_tags, put_tags, with_token
from dewfall.services.registry import operation

TREATMENTS = ("breaching", "notBreaching", "ignore", "missing")
UNCHECKED = "Unchecked: Initial alarm creation"
SETTINGS = (
    *("AlarmName", "AlarmDescription", "MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Unit", "EvaluationPeriods"),
    *("DatapointsToAlarm", "Threshold", "ComparisonOperator", "TreatMissingData", "EvaluateLowSampleCountPercentile", "Metrics"),
)
HELD_BACK = ("_Held", "ActionsSuppressedBy", "ActionsSuppressedReason")
STATE = ("StateValue", "StateReason", "StateReasonData", "StateUpdatedTimestamp", "StateTransitionedTimestamp", "_HeldUntil", *HELD_BACK)
PARENT: tuple[str, ...] = ("AlarmName", "AlarmArn")
CHILD: tuple[str, ...] = (*PARENT, "StateValue", "StateUpdatedTimestamp")
NOT_BUILT = ("EvaluationWindow", "WarmUpConfiguration", "EvaluationCriteria", "EvaluationInterval", "ActionConfiguration")


@operation("cloudwatch", "PutMetricAlarm")
def put_metric_alarm(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    _check(req)
    document = {name: req[name] for name in SETTINGS if req.get(name) is not None}
    document["AlarmType"] = "MetricAlarm"
    if "Metrics" not in document:
        document.setdefault("Dimensions", req.get("Dimensions", []))
    save_alarm(ctx, document, req)
    return {}


def save_alarm(ctx: Ctx, document: dict[str, Any], req: dict[str, Any]) -> None:
    """Create or change an alarm; a changed one keeps its state until it is evaluated."""
    name, now = document["AlarmName"], ctx.now()
    document |= {"AlarmArn": ctx.arn("cloudwatch", f"alarm:{name}"), "AlarmConfigurationUpdatedTimestamp": now}
    document["ActionsEnabled"] = req.get("ActionsEnabled", True)
    document |= {actions: req.get(actions, []) for actions in ("OKActions", "AlarmActions", "InsufficientDataActions")}
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(alarm_key(ctx, name))
        if record is None:
            document |= {"StateValue": "INSUFFICIENT_DATA", "StateReason": UNCHECKED}
            document |= {"StateUpdatedTimestamp": now, "StateTransitionedTimestamp": now}
            tx.records.create(Record(alarm_key(ctx, name), document, status="INSUFFICIENT_DATA"))
            put_tags(tx, ctx, document["AlarmArn"], req.get("Tags", ()))
            note(ctx, tx, document, "ConfigurationUpdate", f'Alarm "{name}" created', {"type": "Create", "createdAlarm": shown(document)})
            tell_configuration(ctx, tx, document, "create")
            return
        if record.document["AlarmType"] != document["AlarmType"]:
            raise invalid(f"An alarm of another type with the name {name} exists already.")
        record.document = document | {member: record.document[member] for member in STATE if member in record.document}
        tx.records.save(record)
        note(ctx, tx, document, "ConfigurationUpdate", f'Alarm "{name}" updated', {"type": "Update", "updatedAlarm": shown(document)})
        tell_configuration(ctx, tx, record.document, "update")


@operation("cloudwatch", "DescribeAlarms")
def describe_alarms(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if req.get("AlarmNames") and req.get("AlarmNamePrefix"):
        raise invalid("AlarmNamePrefix and AlarmNames are mutually exclusive parameters.")
    for member in ("ChildrenOfAlarmName", "ParentsOfAlarmName"):
        if req.get(member):
            return relatives(ctx, req, member)
    with ctx.ports.store.reading() as tx:
        if req.get("AlarmNames"):
            found = [tx.records.get(alarm_key(ctx, name)) for name in dict.fromkeys(req["AlarmNames"])]
            records = [record for record in found if record is not None]
        else:
            records = tx.records.list(ctx.account, ctx.region, "cloudwatch", "alarm", prefix=req.get("AlarmNamePrefix", ""))
    kept = [record for record in records if _is_asked_for(record, req)]
    page, token = page_of(kept, req, lambda record: record.key.name, default=50)
    answer: dict[str, Any] = {"MetricAlarms": [], "CompositeAlarms": []}
    for record in page:
        answer[record.document["AlarmType"] + "s"].append(record.document)
    return with_token(answer, token)


def relatives(ctx: Ctx, req: dict[str, Any], member: str) -> dict[str, Any]:
    """The alarms that a composite alarm looks at, or the composite alarms that look at an alarm; few members of each, as on AWS."""
    if set(req) - {member, "MaxRecords", "NextToken"}:
        raise invalid(f"{member} cannot be specified together with other parameters than MaxRecords and NextToken.")
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "cloudwatch", "alarm")
        mine = tx.records.get(alarm_key(ctx, req[member]))
    if mine is None:
        raise AwsError("ResourceNotFound", f"Alarm {req[member]} does not exist", status=404)
    if member == "ParentsOfAlarmName":
        found, members = [record for record in records if _looks_at(record, mine)], PARENT
    else:
        found, members = [record for record in records if _looks_at(mine, record)], CHILD
    shown_page, token = page_of(found, req, lambda record: record.key.name, default=50)
    answer: dict[str, Any] = {"MetricAlarms": [], "CompositeAlarms": []}
    for record in shown_page:
        answer[record.document["AlarmType"] + "s"].append({name: record.document[name] for name in members})
    return with_token(answer, token)


@operation("cloudwatch", "DescribeAlarmsForMetric")
def describe_alarms_for_metric(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    wanted = {item["Name"]: item["Value"] for item in req.get("Dimensions", ())}
    with ctx.ports.store.reading() as tx:
        alarms = [record.document for record in tx.records.list(ctx.account, ctx.region, "cloudwatch", "alarm")]
    names = ("MetricName", "Namespace")
    optional = ("Statistic", "ExtendedStatistic", "Period", "Unit")
    kept = [
        alarm
        for alarm in alarms
        if all(alarm.get(name) == req[name] for name in names)
        and all(req.get(name) in (None, alarm.get(name)) for name in optional)
        and {item["Name"]: item["Value"] for item in alarm.get("Dimensions", ())} == wanted
    ]
    return {"MetricAlarms": kept}


@operation("cloudwatch", "DeleteAlarms")
def delete_alarms(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        going = {name: tx.records.get(alarm_key(ctx, name)) for name in req["AlarmNames"]}
        _check_parents(ctx, tx, [record for record in going.values() if record is not None])
        for name, record in going.items():
            if record is not None:
                tx.records.delete(record.key)
                drop_tags(tx, ctx, record.document["AlarmArn"])
                data = {"type": "Delete", "deletedAlarm": shown(record.document)}
                note(ctx, tx, record.document, "ConfigurationUpdate", f'Alarm "{name}" deleted', data)
                tell_configuration(ctx, tx, record.document, "delete")
    return {}


def _check_parents(ctx: Ctx, tx: Tx, going: list[Record]) -> None:
    """Refuse to delete what a composite alarm that stays looks at."""
    keys = {record.key for record in going}
    known = tx.records.list(ctx.account, ctx.region, "cloudwatch", "alarm")
    staying = [record for record in known if record.document["AlarmType"] == "CompositeAlarm" and record.key not in keys]
    for record in going:
        if any(_looks_at(parent, record) for parent in staying):
            raise invalid(f"Cannot delete {record.key.name} as there are composite alarm(s) depending on it.")


@operation("cloudwatch", "EnableAlarmActions")
def enable_alarm_actions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _switch_actions(ctx, tx, req["AlarmNames"], True)
    return {}


@operation("cloudwatch", "DisableAlarmActions")
def disable_alarm_actions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _switch_actions(ctx, tx, req["AlarmNames"], False)
    return {}


def _switch_actions(ctx: Ctx, tx: Tx, names: list[str], enabled: bool) -> None:
    for name in names:
        record = tx.records.get(alarm_key(ctx, name))
        if record is not None and record.document["ActionsEnabled"] != enabled:
            record.document |= {"ActionsEnabled": enabled, "AlarmConfigurationUpdatedTimestamp": ctx.now()}
            tx.records.save(record)
            data = {"type": "Update", "updatedAlarm": shown(record.document)}
            note(ctx, tx, record.document, "ConfigurationUpdate", f'Alarm "{name}" updated', data)
            tell_configuration(ctx, tx, record.document, "update")


def _looks_at(parent: Record, child: Record) -> bool:
    named = alarms_in(parent.document.get("AlarmRule", ""))
    return child.key.name in named or child.document["AlarmArn"] in named


def _is_asked_for(record: Record, req: dict[str, Any]) -> bool:
    alarm = record.document
    if alarm["AlarmType"] not in (req.get("AlarmTypes") or ["MetricAlarm"]):
        return False
    if req.get("StateValue") not in (None, alarm["StateValue"]):
        return False
    prefix = req.get("ActionPrefix")
    actions = [*alarm["OKActions"], *alarm["AlarmActions"], *alarm["InsufficientDataActions"]]
    return not prefix or any(action.startswith(prefix) for action in actions)


def _check(req: dict[str, Any]) -> None:
    operator = req.get("ComparisonOperator")
    unbuilt = [name for name in NOT_BUILT if req.get(name) is not None]
    if unbuilt or req.get("ThresholdMetricId") or (operator and operator not in WORDS):
        what = unbuilt[0] if unbuilt else "anomaly detection"
        raise AwsError("NotImplemented", f"Dewfall has not built {what} of cloudwatch:PutMetricAlarm yet.", status=501)
    for name in ("ComparisonOperator", "EvaluationPeriods", "Threshold"):
        if req.get(name) is None:
            raise invalid(f"The parameter {name} is required.")
    if req.get("TreatMissingData") not in (None, *TREATMENTS):
        raise invalid(
            f"Option {req['TreatMissingData']} is not supported. Supported options for parameter TreatMissingData are "
            "breaching, notBreaching, ignore, and missing."
        )
    if req.get("EvaluateLowSampleCountPercentile") not in (None, "evaluate", "ignore"):
        raise invalid(
            f"Option {req['EvaluateLowSampleCountPercentile']} is not supported. "
            "Supported options for parameter EvaluateLowSampleCountPercentile are evaluate and ignore."
        )
    if req.get("DatapointsToAlarm", 1) > req["EvaluationPeriods"]:
        raise invalid("DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
    if req.get("Metrics"):
        _check_metrics(req)
    else:
        _check_metric(req)


def _check_metrics(req: dict[str, Any]) -> None:
    if req.get("MetricName"):
        raise invalid("Metrics list must not be specified together with MetricName.")
    check_queries(req["Metrics"])
    if sum(query.get("ReturnData", True) for query in req["Metrics"]) != 1:
        raise invalid("Exactly one element of the metrics list should return data.")


def _check_metric(req: dict[str, Any]) -> None:
    for name in ("MetricName", "Namespace", "Period"):
        if not req.get(name):
            raise invalid(f"The parameter {name} is required.")
    if bool(req.get("Statistic")) == bool(req.get("ExtendedStatistic")):
        raise invalid("Must specify either Statistic or ExtendedStatistic")
    try:
        parse_stat(req.get("Statistic") or req["ExtendedStatistic"])
    except ValueError:
        raise invalid_value(f"The value {req.get('ExtendedStatistic')} for parameter ExtendedStatistic is not supported.") from None
    period = req["Period"]
    if period % 60 and period not in (10, 20, 30):
        raise invalid("Period must be 10, 20, 30 or a multiple of 60")
    longest = 604_800 if period >= 3600 else 86_400
    if period * req["EvaluationPeriods"] > longest:
        raise invalid(
            f"Metrics cannot be checked across more than {'a week' if period >= 3600 else 'a day'} (EvaluationPeriods * Period must be <= {longest})."
        )
