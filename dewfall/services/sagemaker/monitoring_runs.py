"""The tick of monitoring: starts the runs that are due, and follows their processing jobs to an execution's status.

A run that was missed while no server ran is caught up with once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Conflict, Key, Record
from dewfall.errors import AwsError
from dewfall.rules import monitoring
from dewfall.services.sagemaker import monitoring_alerts, monitoring_jobs
from dewfall.services.sagemaker.monitoring_jobs import NothingToDo
from dewfall.services.sagemaker.monitoring_schedules import EXECUTIONS, KIND, NEXT
from dewfall.services.sagemaker.processing import start_processing_job

log = logging.getLogger(__name__)
DELAY = timedelta(seconds=5)  # after the hour, so that the last captured requests have arrived
VIOLATED = "CompletedWithViolations"


def tick(ctx: Ctx) -> list[str]:
    """Start what is due, follow what runs; what was done."""
    with ctx.ports.store.reading() as tx:
        schedules = list(tx.records.scan("sagemaker", KIND, status="Scheduled"))
        running = list(tx.records.scan("sagemaker", EXECUTIONS, status="InProgress"))
    return [*_each(ctx, schedules, _start), *_each(ctx, running, _follow)]


def _each(ctx: Ctx, records: list[Record], act: Any) -> Iterator[str]:
    for record in records:
        mine = replace(ctx, account=record.key.account, region=record.key.region)
        try:
            text = act(mine, record)
        except Conflict:
            continue  # somebody changed it meanwhile: the next tick sees it anew
        if text:
            yield text


def _start(ctx: Ctx, record: Record) -> str:
    """One schedule's due run, with the record of its execution."""
    document, now = record.document, ctx.now()
    due: datetime | None = document.get(NEXT)
    expression = document["MonitoringScheduleConfig"].get("ScheduleConfig", {}).get("ScheduleExpression", monitoring.NOW)
    if due is None or now < due + (DELAY if expression != monitoring.NOW else timedelta(0)):
        return ""
    at = due if expression == monitoring.NOW else monitoring.last_due(expression, due, now - DELAY)
    execution = _execution(ctx, document, at)
    try:
        plan = monitoring_jobs.make_plan(ctx, document, at)
        arn = start_processing_job(ctx, monitoring_jobs.job_request(ctx, plan), MonitoringScheduleArn=document["MonitoringScheduleArn"])
        execution |= {"MonitoringExecutionStatus": "InProgress", "ProcessingJobArn": arn}
    except NothingToDo as reason:
        execution["FailureReason"] = str(reason)
    except AwsError as error:
        if error.code == "ResourceInUse":  # a killed server had started it and could not say so
            name = monitoring_jobs.job_name(plan)
            execution |= {"MonitoringExecutionStatus": "InProgress", "ProcessingJobArn": ctx.arn("sagemaker", f"processing-job/{name}")}
        else:
            execution["FailureReason"] = f"{error.code}: {error.message}"
    return _record(ctx, record, execution, at, expression)


def _record(ctx: Ctx, record: Record, execution: dict[str, Any], at: datetime, expression: str) -> str:
    name = record.key.name
    created = record.document["CreationTime"]  # a deleted schedule of the same name may have run in the same hour
    key = Key(ctx.account, ctx.region, "sagemaker", EXECUTIONS, f"{name}/{at.isoformat()}/{created.isoformat()}")
    with ctx.ports.store.transaction() as tx:
        record.document[NEXT] = None if expression == monitoring.NOW else monitoring.next_run(expression, max(at, ctx.now() - DELAY))
        tx.records.save(record)
        if tx.records.get(key) is not None:  # this hour has its run
            return ""
        tx.records.create(Record(key, execution, status=execution["MonitoringExecutionStatus"], parent=name))
        if execution["MonitoringExecutionStatus"] == "Failed":
            monitoring_alerts.note(ctx, tx, name)
    return f"{name}: {execution['MonitoringExecutionStatus']} {execution.get('FailureReason', '')}".strip()


def _execution(ctx: Ctx, document: dict[str, Any], at: datetime) -> dict[str, Any]:
    held = document["MonitoringScheduleConfig"].get("MonitoringJobDefinitionName")
    found = {
        "MonitoringScheduleName": document["MonitoringScheduleName"],
        "ScheduledTime": at,
        "CreationTime": ctx.now(),
        "LastModifiedTime": ctx.now(),
        "MonitoringExecutionStatus": "Failed",
        "MonitoringType": document["MonitoringType"],
    }
    found |= {"EndpointName": document["EndpointName"]} if document.get("EndpointName") else {}
    return found | ({"MonitoringJobDefinitionName": held} if held else {})


def _follow(ctx: Ctx, record: Record) -> str:
    """A run's job as far as it is; its end ends the execution."""
    document = record.document
    name = document["ProcessingJobArn"].rsplit("/", 1)[1]
    try:
        job = ctx.call("sagemaker", "DescribeProcessingJob", {"ProcessingJobName": name})
    except AwsError as error:
        job = {"ProcessingJobStatus": "Failed", "FailureReason": error.message}
    status = job["ProcessingJobStatus"]
    if status in ("InProgress", "Stopping"):
        return ""
    message = job.get("ExitMessage", "")
    violated = status == "Completed" and message.startswith(VIOLATED)
    document |= {"MonitoringExecutionStatus": VIOLATED if violated else status, "LastModifiedTime": ctx.now()}
    reason = job.get("FailureReason") if status == "Failed" else message if violated else ""
    if reason:
        document["FailureReason"] = reason
    record.status = document["MonitoringExecutionStatus"]
    with ctx.ports.store.transaction() as tx:
        tx.records.save(record)
        monitoring_alerts.note(ctx, tx, document["MonitoringScheduleName"])
    log.info("monitoring run ended schedule=%s status=%s", document["MonitoringScheduleName"], record.status)
    return f"{document['MonitoringScheduleName']}: {record.status}"
