"""Transform jobs as users see them: create, describe, list, stop.

The work itself is done by agents; transform_step.py looks after them.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine import turns
from dewfall.engine.ports import AlreadyExists, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import order, page, put_tags, select, transact, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.transform_checks import check_request
from dewfall.services.sagemaker.transform_status import KIND, first_document, job_arn, job_key, save, tell
from dewfall.services.sagemaker.trial_components import open_job_component

SUMMARY = ("TransformJobName", "TransformJobArn", "CreationTime", "TransformEndTime", "TransformJobStatus", "FailureReason")


@operation("sagemaker", "CreateTransformJob")
def create_transform_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["TransformJobName"]
    with ctx.ports.store.reading() as tx:
        if tx.records.get(job_key(ctx, name)):
            raise _name_taken(job_arn(ctx, name))
    document = first_document(ctx, req, check_request(ctx, req))
    record = Record(job_key(ctx, name), document, status="InProgress")
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(record)
            put_tags(tx, ctx, document["TransformJobArn"], req.get("Tags", ()))
            open_job_component(ctx, tx, "transform", {**document, "ResourceConfig": document["TransformResources"]})
            tx.queue.put(KIND, record.key, turns.WAITING)
            tell(ctx, tx, document)
    except AlreadyExists:
        raise _name_taken(document["TransformJobArn"]) from None
    return {"TransformJobArn": document["TransformJobArn"]}


@operation("sagemaker", "DescribeTransformJob")
def describe_transform_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load_job(ctx, tx, req["TransformJobName"]).document


@operation("sagemaker", "ListTransformJobs")
def list_transform_jobs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    shown, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    return with_token({"TransformJobSummaries": [_summary(record) for record in shown]}, token)


@operation("sagemaker", "StopTransformJob")
def stop_transform_job(ctx: Ctx, req: dict[str, Any]) -> None:

    def act(tx: Tx) -> None:
        record = load_job(ctx, tx, req["TransformJobName"])
        if record.status == "Stopping":
            return
        if record.status != "InProgress":
            raise validation(f"The request was rejected because the transform job is in status {record.status}.")
        record.document["TransformJobStatus"] = "Stopping"
        save(ctx, tx, record)
        tx.queue.wake(KIND, record.key)

    transact(ctx, act)


def load_job(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A job's record; AWS's error when there is none."""
    record = tx.records.get(job_key(ctx, name))
    if record is None:
        raise validation(f"Could not find transform job '{job_arn(ctx, name)}'.")
    return record


def _summary(record: Record) -> dict[str, Any]:
    shown = {member: record.document[member] for member in SUMMARY if member in record.document}
    return {**shown, "LastModifiedTime": record.modified}


def _name_taken(arn: str) -> AwsError:
    message = f"Transform job names must be unique within an AWS account and region, and a transform job with this name already exists ({arn})"
    return AwsError("ResourceInUse", message)
