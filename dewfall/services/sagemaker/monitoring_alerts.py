"""Alerts of monitoring schedules: each has one, in alert while enough of its last runs had violations."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import page, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker import monitoring_schedules

KIND, HISTORY = monitoring_schedules.ALERTS, "monitoring-alert-history"


@operation("sagemaker", "ListMonitoringAlerts")
def list_monitoring_alerts(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        schedule = monitoring_schedules.load(ctx, tx, req["MonitoringScheduleName"])
        alert = _alert(ctx, tx, schedule)
    shown, token = page([alert], req, key=lambda record: record.key.name)
    return with_token({"MonitoringAlertSummaries": [record.document for record in shown]}, token)


@operation("sagemaker", "UpdateMonitoringAlert")
def update_monitoring_alert(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if req["DatapointsToAlert"] > req["EvaluationPeriod"]:
        raise validation("DatapointsToAlert must not be greater than EvaluationPeriod.")
    with ctx.ports.store.transaction() as tx:
        schedule = monitoring_schedules.load(ctx, tx, req["MonitoringScheduleName"])
        alert = _alert(ctx, tx, schedule)
        if alert.document["MonitoringAlertName"] != req["MonitoringAlertName"]:
            raise AwsError("ResourceNotFound", f"Could not find monitoring alert with name: {req['MonitoringAlertName']}")
        alert.document |= {member: req[member] for member in ("DatapointsToAlert", "EvaluationPeriod")} | {"LastModifiedTime": ctx.now()}
        _put(tx, alert)
        _judge(ctx, tx, alert, schedule.key.name)
        arn = schedule.document["MonitoringScheduleArn"]
    return {"MonitoringScheduleArn": arn, "MonitoringAlertName": req["MonitoringAlertName"]}


@operation("sagemaker", "ListMonitoringAlertHistory")
def list_monitoring_alert_history(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", HISTORY)
    wanted = [record.document for record in records if _fits(record.document, req)]
    by = "AlertStatus" if req.get("SortBy") == "Status" else "CreationTime"
    wanted.sort(key=lambda entry: entry[by], reverse=req.get("SortOrder", "Descending") == "Descending")
    shown, token = page(wanted, req, key=lambda entry: entry["CreationTime"].isoformat())
    return with_token({"MonitoringAlertHistory": shown}, token)


def note(ctx: Ctx, tx: Tx, schedule: str) -> None:
    """A run has ended: the alert looks at the last ones."""
    record = tx.records.get(monitoring_schedules.schedule_key(ctx, schedule))
    if record is not None:
        alert = _alert(ctx, tx, record)
        _put(tx, alert)
        _judge(ctx, tx, alert, schedule)


def _judge(ctx: Ctx, tx: Tx, alert: Record, schedule: str) -> None:
    runs = monitoring_schedules.executions_of(ctx, tx, schedule, alert.document["CreationTime"])
    runs.sort(key=lambda run: run.document["ScheduledTime"])
    last = runs[-alert.document["EvaluationPeriod"] :]
    count = sum(run.document["MonitoringExecutionStatus"] == "CompletedWithViolations" for run in last)
    status = "InAlert" if count >= alert.document["DatapointsToAlert"] else "OK"
    if status == alert.document["AlertStatus"]:
        return
    now = ctx.now()
    current = tx.records.get(alert.key)
    assert current is not None
    current.document |= {"AlertStatus": status, "LastModifiedTime": now}
    current.status = status
    tx.records.save(current)
    name = alert.document["MonitoringAlertName"]
    entry = {"MonitoringScheduleName": schedule, "MonitoringAlertName": name, "CreationTime": now, "AlertStatus": status}
    tx.records.create(Record(Key(ctx.account, ctx.region, "sagemaker", HISTORY, f"{name}/{now.isoformat()}"), entry, status=status, parent=schedule))


def _alert(ctx: Ctx, tx: Tx, schedule: Record) -> Record:
    """A schedule's alert; as it begins, where nobody has touched it."""
    name = f"{schedule.key.name}-alert"
    key = Key(ctx.account, ctx.region, "sagemaker", KIND, name)
    found = tx.records.get(key)
    if found is not None and found.parent == schedule.key.name:
        return found
    document = {
        "MonitoringAlertName": name,
        "CreationTime": schedule.document["CreationTime"],
        "LastModifiedTime": schedule.document["LastModifiedTime"],
        "AlertStatus": "OK",
        "DatapointsToAlert": 1,
        "EvaluationPeriod": 1,
        "Actions": {"ModelDashboardIndicator": {"Enabled": True}},
    }
    return Record(key, document, status="OK", parent=schedule.key.name)


def _put(tx: Tx, alert: Record) -> None:
    if alert.version:
        tx.records.save(alert)
    else:
        tx.records.create(alert)


def _fits(entry: dict[str, Any], req: dict[str, Any]) -> bool:
    after, before = req.get("CreationTimeAfter"), req.get("CreationTimeBefore")
    at = entry["CreationTime"]
    named = all(req.get(member) in (None, entry[member]) for member in ("MonitoringScheduleName", "MonitoringAlertName"))
    return named and req.get("StatusEquals") in (None, entry["AlertStatus"]) and (after is None or at >= after) and (before is None or at <= before)
