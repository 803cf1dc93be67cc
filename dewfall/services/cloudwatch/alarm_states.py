"""States of alarms: how one changes, and everything that follows from it: history, event, actions."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.rules import suppression
from dewfall.rules.alarm_rules import alarms_in
from dewfall.services.cloudwatch.alarm_history import note
from dewfall.services.registry import operation

ACTIONS = {"OK": "OKActions", "ALARM": "AlarmActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
# Member → its name in the event of a changed configuration.
CONFIGURED = {
    "AlarmName": "alarmName",
    "AlarmDescription": "description",
    "ActionsEnabled": "actionsEnabled",
    "OKActions": "okActions",
    "AlarmActions": "alarmActions",
    "InsufficientDataActions": "insufficientDataActions",
    "EvaluationPeriods": "evaluationPeriods",
    "DatapointsToAlarm": "datapointsToAlarm",
    "Threshold": "threshold",
    "ComparisonOperator": "comparisonOperator",
    "TreatMissingData": "treatMissingData",
}
SUPPRESSOR = {
    "ActionsSuppressor": "actionsSuppressor",
    "ActionsSuppressorWaitPeriod": "actionsSuppressorWaitPeriod",
    "ActionsSuppressorExtensionPeriod": "actionsSuppressorExtensionPeriod",
}
HELD = 60.0  # seconds that a state set by hand stays before the alarm is evaluated again


@operation("cloudwatch", "SetAlarmState")
def set_alarm_state(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    data = req.get("StateReasonData", "")
    try:
        json.loads(data or "{}")
    except ValueError:
        raise AwsError("InvalidFormatFault", "StateReasonData is not valid JSON.", status=400) from None
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(alarm_key(ctx, req["AlarmName"]))
        if record is None:
            raise AwsError("ResourceNotFound", f"Alarm {req['AlarmName']} does not exist", status=404)
        if record.document["AlarmType"] == "CompositeAlarm":
            record.document["_SetOver"] = children_states(ctx, tx, record.document)
        else:
            record.document["_HeldUntil"] = ctx.now().timestamp() + HELD
        change_state(ctx, tx, record, req["StateValue"], req["StateReason"], data)
    return {}


def alarm_key(ctx: Ctx, name: str) -> Key:
    """An alarm's record; metric and composite alarms share their names."""
    return Key(ctx.account, ctx.region, "cloudwatch", "alarm", name)


def children_states(ctx: Ctx, tx: Tx, composite: dict[str, Any]) -> dict[str, str]:
    """The states of the alarms that a composite alarm looks at, by their names in the rule. One that was set by hand stays as it was set
    until one of them changes, as on AWS."""
    named = {name: tx.records.get(alarm_key(ctx, name.rpartition(":alarm:")[2])) for name in alarms_in(composite["AlarmRule"])}
    return {name: record.document["StateValue"] for name, record in named.items() if record is not None}


def change_state(ctx: Ctx, tx: Tx, record: Record, state: str, reason: str, data: str) -> None:
    """Put an alarm into a state; where it is a new one, tell everybody whom it concerns."""
    document = record.document
    old = _state(document)
    document |= {"StateValue": state, "StateReason": reason[:1023], "StateUpdatedTimestamp": ctx.now()}
    document.pop("StateReasonData", None)
    if data:
        document["StateReasonData"] = data
    changed = old["value"] != state
    if changed:
        document["StateTransitionedTimestamp"] = ctx.now()
    record.status = state
    if changed:
        hold_actions(ctx, tx, document, old["value"])
    tx.records.save(record)
    if not changed:
        return
    new = _state(document)
    summary = f"Alarm updated from {old['value']} to {state}"
    note(ctx, tx, document, "StateUpdate", summary, {"oldState": _history_state(old), "newState": _history_state(new)})
    event = _event(ctx, document, old, new)
    tx.outbox.put("aws.events", ctx.account, ctx.region, event)
    if "_Held" not in document:
        act(ctx, tx, document, old["value"], event["detail"])


def act(ctx: Ctx, tx: Tx, document: dict[str, Any], old: str, detail: dict[str, Any]) -> None:
    """Have an alarm's actions carried out for the state that it is in."""
    if document["ActionsEnabled"]:
        for arn in document.get(ACTIONS[document["StateValue"]], ()):
            body = {"Action": arn, "AlarmName": document["AlarmName"], "OldStateValue": old, "Alarm": shown(document)}
            tx.outbox.put("cloudwatch.action", ctx.account, ctx.region, {**body, "Event": detail})


def hold_actions(ctx: Ctx, tx: Tx, document: dict[str, Any], old: str) -> None:
    """A composite alarm has changed its state: its suppressor may hold its actions back, which `release_actions` then looks after."""
    was_held = document.pop("_Held", None)
    _tell_suppression(document, "")
    if not document.get("ActionsSuppressor"):
        return
    by = _suppressed_by(ctx, tx, document, "")
    if document["StateValue"] != "ALARM" and by != suppression.ALARM:
        by = suppression.WAITING if was_held else ""  # an alarm that nobody was told of is not called off either
    if by:
        document["_Held"] = {"Old": old, "For": document["StateValue"]}
        _tell_suppression(document, by)


def release_actions(ctx: Ctx, tx: Tx, record: Record) -> bool:
    """Look again at actions that are held back: take them when nothing holds them any more; whether the record has changed."""
    document = record.document
    held, before = document["_Held"], document.get("ActionsSuppressedBy", "")
    by = _suppressed_by(ctx, tx, document, before) if document["StateValue"] == "ALARM" else ""
    if by == before:
        return False
    _tell_suppression(document, by)
    if not by:
        del document["_Held"]
        if document["StateValue"] == "ALARM":
            old = {"value": held["Old"], "reason": "", "timestamp": _time(document["StateTransitionedTimestamp"])}
            act(ctx, tx, document, held["Old"], _event(ctx, document, old, _state(document))["detail"])
    tx.records.save(record)
    return True


def _suppressed_by(ctx: Ctx, tx: Tx, document: dict[str, Any], before: str) -> str:
    found = tx.records.get(alarm_key(ctx, document["ActionsSuppressor"].rpartition(":alarm:")[2]))
    if found is None:
        return ""
    alarming, since = found.document["StateValue"] == "ALARM", found.document["StateTransitionedTimestamp"].timestamp()
    periods = document["ActionsSuppressorWaitPeriod"], document["ActionsSuppressorExtensionPeriod"]
    suppressor = suppression.Suppressor(alarming, since, *periods)
    return suppression.suppressed_by(suppressor, document["StateTransitionedTimestamp"].timestamp(), before, ctx.now().timestamp())


def _tell_suppression(document: dict[str, Any], by: str) -> None:
    for member in ("ActionsSuppressedBy", "ActionsSuppressedReason"):
        document.pop(member, None)
    if by:
        document["ActionsSuppressedBy"] = by
        document["ActionsSuppressedReason"] = suppression.REASONS[by].format(document["ActionsSuppressor"])


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """An alarm without what is only ours, its times as text."""
    return {name: _time(value) if isinstance(value, datetime) else value for name, value in document.items() if not name.startswith("_")}


def _state(document: dict[str, Any]) -> dict[str, Any]:
    state = {"value": document["StateValue"], "reason": document["StateReason"], "timestamp": _time(document["StateUpdatedTimestamp"])}
    if document.get("ActionsSuppressedBy"):
        state |= {"actionsSuppressedBy": document["ActionsSuppressedBy"], "actionsSuppressedReason": document["ActionsSuppressedReason"]}
    return {**state, "reasonData": document["StateReasonData"]} if "StateReasonData" in document else state


def _history_state(state: dict[str, Any]) -> dict[str, Any]:
    kept = {"stateValue": state["value"], "stateReason": state["reason"]}
    return {**kept, "stateReasonData": json.loads(state["reasonData"])} if "reasonData" in state else kept


def tell_configuration(ctx: Ctx, tx: Tx, document: dict[str, Any], operation: str) -> None:
    """Emit the event of an alarm that was created, updated or deleted."""
    own = {event: document[member] for member, event in CONFIGURED.items() if member in document}
    own["timestamp"] = _time(document["AlarmConfigurationUpdatedTimestamp"])
    state = {"value": document["StateValue"], "timestamp": _time(document["StateUpdatedTimestamp"])}
    configuration = {**_configuration(document), **own}
    detail = {"alarmName": document["AlarmName"], "operation": operation, "state": state, "configuration": configuration}
    tx.outbox.put("aws.events", ctx.account, ctx.region, _envelope(ctx, document, "CloudWatch Alarm Configuration Change", detail))


def _event(ctx: Ctx, document: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    detail = {"alarmName": document["AlarmName"], "state": new, "previousState": old, "configuration": _configuration(document)}
    return _envelope(ctx, document, "CloudWatch Alarm State Change", detail)


def _envelope(ctx: Ctx, document: dict[str, Any], kind: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": new_uuid(),
        "detail-type": kind,
        "source": "aws.cloudwatch",
        "account": ctx.account,
        "time": ctx.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": ctx.region,
        "resources": [document["AlarmArn"]],
        "detail": detail,
    }


def _configuration(document: dict[str, Any]) -> dict[str, Any]:
    configuration: dict[str, Any] = {"description": document["AlarmDescription"]} if "AlarmDescription" in document else {}
    if "AlarmRule" in document:
        suppressor = {event: document[member] for member, event in SUPPRESSOR.items() if member in document}
        return {**configuration, "alarmRule": document["AlarmRule"], **suppressor}
    if "Metrics" in document:
        return {**configuration, "metrics": [_query(query) for query in document["Metrics"]]}
    dimensions = {item["Name"]: item["Value"] for item in document.get("Dimensions", ())}
    metric = {"namespace": document["Namespace"], "name": document["MetricName"], "dimensions": dimensions}
    stat = {"metric": metric, "period": document["Period"], "stat": document.get("Statistic") or document.get("ExtendedStatistic")}
    return {**configuration, "metrics": [{"id": new_uuid(), "metricStat": stat, "returnData": True}]}


def _query(query: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {"id": query["Id"], "returnData": query.get("ReturnData", True)}
    if "Expression" in query:
        return {**kept, "expression": query["Expression"]}
    stat = query["MetricStat"]
    dimensions = {item["Name"]: item["Value"] for item in stat["Metric"].get("Dimensions", ())}
    metric = {"namespace": stat["Metric"]["Namespace"], "name": stat["Metric"]["MetricName"], "dimensions": dimensions}
    return {**kept, "metricStat": {"metric": metric, "period": stat["Period"], "stat": stat["Stat"]}}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
