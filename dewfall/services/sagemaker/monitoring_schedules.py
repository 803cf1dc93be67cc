"""Monitoring schedules: create, describe, list, update, start, stop, delete. monitoring_runs.py runs what is due."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.rules import monitoring
from dewfall.services.common import drop_tags, order, page, put_tags, select, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker import job_definitions

KIND = "monitoring-schedule"
EXECUTIONS = "monitoring-execution"
ALERTS = "monitoring-alert"
NEXT = "_Next"


@operation("sagemaker", "CreateMonitoringSchedule")
def create_monitoring_schedule(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["MonitoringScheduleName"]
    arn = ctx.arn("sagemaker", f"monitoring-schedule/{name.lower()}")
    config = req["MonitoringScheduleConfig"]
    now = ctx.now()
    try:
        with ctx.ports.store.transaction() as tx:
            document = _placed(ctx, tx, config) | {
                "MonitoringScheduleArn": arn,
                "MonitoringScheduleName": name,
                "MonitoringScheduleStatus": "Scheduled",
                "CreationTime": now,
                "LastModifiedTime": now,
            }
            tx.records.create(Record(schedule_key(ctx, name), document, status="Scheduled"))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
    except AlreadyExists:
        raise AwsError("ResourceInUse", f"Monitoring Schedule {name} already exists: {arn}") from None
    return {"MonitoringScheduleArn": arn}


@operation("sagemaker", "DescribeMonitoringSchedule")
def describe_monitoring_schedule(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        record = load(ctx, tx, req["MonitoringScheduleName"])
        runs = executions_of(ctx, tx, record.key.name, record.document["CreationTime"])
        last = max((run.document for run in runs), key=lambda one: one["ScheduledTime"], default=None)
    return record.document | ({"LastMonitoringExecutionSummary": last} if last else {})


@operation("sagemaker", "ListMonitoringSchedules")
def list_monitoring_schedules(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    wanted = [record for record in select(records, req) if _fits(record.document, req)]
    shown, token = page(order(wanted, req), req, key=lambda record: record.key.name, default=10)
    return with_token({"MonitoringScheduleSummaries": [_summary(record.document) for record in shown]}, token)


@operation("sagemaker", "UpdateMonitoringSchedule")
def update_monitoring_schedule(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, req["MonitoringScheduleName"])
        for member in ("EndpointName", NEXT, "MonitoringType"):
            record.document.pop(member, None)
        record.document |= _placed(ctx, tx, req["MonitoringScheduleConfig"])
        _saved(ctx, tx, record, record.status)
        return {"MonitoringScheduleArn": record.document["MonitoringScheduleArn"]}


@operation("sagemaker", "StartMonitoringSchedule")
def start_monitoring_schedule(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, req["MonitoringScheduleName"])
        if record.status == "Scheduled":
            raise validation(f"Monitoring schedule {record.key.name} is already started.")
        record.document[NEXT] = first_run(record.document["MonitoringScheduleConfig"], ctx)
        _saved(ctx, tx, record, "Scheduled")


@operation("sagemaker", "StopMonitoringSchedule")
def stop_monitoring_schedule(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, req["MonitoringScheduleName"])
        if record.status == "Stopped":
            raise validation(f"Monitoring schedule {record.key.name} is already stopped.")
        record.document[NEXT] = None
        _saved(ctx, tx, record, "Stopped")


@operation("sagemaker", "DeleteMonitoringSchedule")
def delete_monitoring_schedule(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, req["MonitoringScheduleName"])
        running = tx.records.list(ctx.account, ctx.region, "sagemaker", EXECUTIONS, parent=record.key.name, status="InProgress")
        if running:
            raise validation(f"Monitoring schedule {record.key.name} has an execution in progress and cannot be deleted.")
        for alert in tx.records.list(ctx.account, ctx.region, "sagemaker", ALERTS, parent=record.key.name):
            tx.records.delete(alert.key)
        tx.records.delete(record.key)  # its executions stay, as on AWS
        drop_tags(tx, ctx, record.document["MonitoringScheduleArn"])


@operation("sagemaker", "ListMonitoringExecutions")
def list_monitoring_executions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", EXECUTIONS)
    wanted = [record for record in select(records, req) if _fits(record.document, req) and _is_scheduled_within(record.document, req)]
    by = {"CreationTime": "CreationTime", "Status": "MonitoringExecutionStatus"}.get(req.get("SortBy", ""), "ScheduledTime")
    wanted.sort(key=lambda record: (record.document[by], record.key.name), reverse=req.get("SortOrder", "Descending") == "Descending")
    shown, token = page(wanted, req, key=lambda record: record.key.name, default=10)
    return with_token({"MonitoringExecutionSummaries": [record.document for record in shown]}, token)


def load(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A schedule's record; AWS's error when there is none."""
    record = tx.records.get(schedule_key(ctx, name))
    if record is None:
        raise AwsError("ResourceNotFound", f"Could not find monitoring schedule with name: {name}")
    return record


def schedule_key(ctx: Ctx, name: str) -> Key:
    """Where a schedule is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def executions_of(ctx: Ctx, tx: Tx, name: str, since: datetime) -> list[Record]:
    """A schedule's executions, but for those of a deleted one that had its name before; `since` is its creation."""
    records = tx.records.list(ctx.account, ctx.region, "sagemaker", EXECUTIONS, parent=name)
    return [record for record in records if record.document["CreationTime"] >= since]


def first_run(config: dict[str, Any], ctx: Ctx) -> Any:
    """When a schedule that begins now runs first; one without an expression runs once, now."""
    expression = config.get("ScheduleConfig", {}).get("ScheduleExpression", monitoring.NOW)
    return ctx.now() if expression == monitoring.NOW else monitoring.next_run(expression, ctx.now())


def _placed(ctx: Ctx, tx: Tx, config: dict[str, Any]) -> dict[str, Any]:
    """What follows from a configuration: its kind, its endpoint, its next run. Raises AwsError where it does not fit together."""
    if bool(config.get("MonitoringJobDefinition")) == bool(config.get("MonitoringJobDefinitionName")):
        raise validation("Exactly one of MonitoringJobDefinition or MonitoringJobDefinitionName must be specified.")
    schedule = config.get("ScheduleConfig", {})
    try:
        monitoring.check(schedule.get("ScheduleExpression", monitoring.NOW))
        for member in ("DataAnalysisStartTime", "DataAnalysisEndTime"):
            if schedule.get(member):
                monitoring.duration(schedule[member])
            elif schedule.get("ScheduleExpression") == monitoring.NOW:
                raise ValueError(f"{member} is required with the schedule expression NOW")
    except ValueError as error:
        raise validation(f"Invalid schedule: {error}.") from None
    if config.get("MonitoringJobDefinition"):
        monitors = config.get("MonitoringType") or "DataQuality"
        if monitors != "DataQuality":
            raise validation(f"MonitoringType {monitors} requires MonitoringJobDefinitionName: a MonitoringJobDefinition monitors data quality.")
        (given,) = config["MonitoringJobDefinition"]["MonitoringInputs"]
        job_definitions.check_input(given)
        endpoint = given.get("EndpointInput", {}).get("EndpointName")
    else:
        if not config.get("MonitoringType"):
            raise validation("MonitoringType is required with MonitoringJobDefinitionName.")
        monitors = config["MonitoringType"]
        definition = job_definitions.load(ctx, tx, monitors, config["MonitoringJobDefinitionName"])
        endpoint = job_definitions.endpoint_of(definition.document, monitors)
    job_definitions.check_endpoint(ctx, tx, endpoint or "")
    found = {"MonitoringScheduleConfig": config, "MonitoringType": monitors, NEXT: first_run(config, ctx)}
    return found | ({"EndpointName": endpoint} if endpoint else {})


def _saved(ctx: Ctx, tx: Tx, record: Record, status: str) -> None:
    record.document |= {"MonitoringScheduleStatus": status, "LastModifiedTime": ctx.now()}
    record.status = status
    tx.records.save(record)


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    held = document["MonitoringScheduleConfig"].get("MonitoringJobDefinitionName")
    return document | ({"MonitoringJobDefinitionName": held} if held else {})


def _fits(document: dict[str, Any], req: dict[str, Any]) -> bool:
    held = document.get("MonitoringJobDefinitionName") or document.get("MonitoringScheduleConfig", {}).get("MonitoringJobDefinitionName")
    asked = {
        "MonitoringScheduleName": document["MonitoringScheduleName"],
        "EndpointName": document.get("EndpointName"),
        "MonitoringJobDefinitionName": held,
        "MonitoringTypeEquals": document.get("MonitoringType"),
    }
    return all(req.get(member) in (None, value) for member, value in asked.items())


def _is_scheduled_within(document: dict[str, Any], req: dict[str, Any]) -> bool:
    after, before = req.get("ScheduledTimeAfter"), req.get("ScheduledTimeBefore")
    at = document["ScheduledTime"]
    return (after is None or at >= after) and (before is None or at <= before)
