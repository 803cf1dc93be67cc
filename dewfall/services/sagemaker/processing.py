"""Processing jobs as users see them: create, describe, list, stop, delete.

The work itself is done by agents; processing_step.py looks after them.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine import turns
from dewfall.engine.ports import AlreadyExists, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import drop_tags, order, page, put_tags, select, transact, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.processing_checks import check_request
from dewfall.services.sagemaker.processing_spec import log_target
from dewfall.services.sagemaker.processing_status import FINAL, KIND, first_document, job_key, save, tell, watches
from dewfall.services.sagemaker.trial_components import open_job_component

SUMMARY = (
    "ProcessingJobName", "ProcessingJobArn", "CreationTime", "ProcessingEndTime", "LastModifiedTime", "ProcessingJobStatus", "FailureReason",
    "ExitMessage",
)  # fmt: skip


@operation("sagemaker", "CreateProcessingJob")
def create_processing_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"ProcessingJobArn": start_processing_job(ctx, req)}


def start_processing_job(ctx: Ctx, req: dict[str, Any], **members: Any) -> str:
    """Check and record a job and queue its work; its ARN. `members` go into its document (MonitoringScheduleArn, AutoMLJobArn …)."""
    with ctx.ports.store.reading() as tx:
        taken = tx.records.get(job_key(ctx, req["ProcessingJobName"]))
    if taken:
        raise _name_taken(taken.document["ProcessingJobArn"])
    check_request(ctx, req)
    document = first_document(ctx, req) | members
    arn: str = document["ProcessingJobArn"]
    record = Record(job_key(ctx, req["ProcessingJobName"]), document, status=document["ProcessingJobStatus"])
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(record)
            put_tags(tx, ctx, arn, req.get("Tags", ()))
            open_job_component(ctx, tx, "processing", document)
            tx.queue.put(KIND, record.key, {} if watches(document) else turns.WAITING)
            tell(ctx, tx, document)
    except AlreadyExists:
        raise _name_taken(arn) from None
    return arn


@operation("sagemaker", "DescribeProcessingJob")
def describe_processing_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load(ctx, tx, req["ProcessingJobName"]).document


@operation("sagemaker", "ListProcessingJobs")
def list_processing_jobs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    jobs, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    shown = [{member: job.document[member] for member in SUMMARY if member in job.document} for job in jobs]
    return with_token({"ProcessingJobSummaries": shown}, token)


@operation("sagemaker", "StopProcessingJob")
def stop_processing_job(ctx: Ctx, req: dict[str, Any]) -> None:
    transact(ctx, lambda tx: _stop(ctx, tx, load(ctx, tx, req["ProcessingJobName"])))


@operation("sagemaker", "DeleteProcessingJob")
def delete_processing_job(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(job_key(ctx, req["ProcessingJobName"]))
        if record is None:
            raise AwsError("ResourceNotFound", "Requested resource not found.")
        if record.status not in FINAL:
            raise AwsError("ResourceInUse", f"The request was rejected because the processing job is in status {record.status}.")
        tx.records.delete(record.key)
        tx.queue.remove(KIND, record.key)
        tx.records.delete(log_target(ctx, record.document).progress)
        drop_tags(tx, ctx, record.document["ProcessingJobArn"])


def load(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A job's record; AWS's error when there is none."""
    record = tx.records.get(job_key(ctx, name))
    if record is None:
        raise validation(f"Could not find requested job with name: {name}")
    return record


def _stop(ctx: Ctx, tx: Tx, record: Record) -> None:
    if record.status == "Stopping":
        return
    if record.status != "InProgress":
        raise validation(f"The request was rejected because the processing job is in status {record.status}.")
    record.document["ProcessingJobStatus"] = "Stopping"
    save(ctx, tx, record)
    tx.queue.wake(KIND, record.key)


def _name_taken(arn: str) -> AwsError:
    message = f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})"
    return AwsError("ResourceInUse", message)
