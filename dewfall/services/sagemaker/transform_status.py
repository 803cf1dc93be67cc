"""A transform job's record in motion: its first document, its statuses, and the event that tells of each.

Why apart from the operations and the step: both move the same record, and AWS's members must come out the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Key, Record, Tx
from dewfall.services.common import tag_map

KIND = "transform-job"
REASON_LIMIT = 1024
FINAL = frozenset({"Completed", "Failed", "Stopped"})

# Members of the request that come back unchanged.
KEPT_MEMBERS = (
    "ModelName", "MaxConcurrentTransforms", "ModelClientConfig", "MaxPayloadInMB", "BatchStrategy", "Environment", "DataCaptureConfig",
    "TransformResources", "ExperimentConfig",
)  # fmt: skip
EVENT_MEMBERS = (
    "TransformJobName", "TransformJobArn", "TransformJobStatus", "FailureReason", "ModelName", "MaxConcurrentTransforms", "MaxPayloadInMB",
    "BatchStrategy", "Environment", "TransformInput", "TransformOutput", "TransformResources", "DataProcessing", "CreationTime",
    "TransformStartTime", "TransformEndTime",
)  # fmt: skip


def job_key(ctx: Ctx, name: str) -> Key:
    """A transform job's record."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def job_arn(ctx: Ctx, name: str) -> str:
    """A transform job's ARN."""
    return ctx.arn("sagemaker", f"transform-job/{name}")


def first_document(ctx: Ctx, req: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """What DescribeTransformJob answers right after the creation, with the defaults that AWS fills in.

    The model is kept as it is now (`_Model`), so that the job does not mind its deletion.
    """
    name = req["TransformJobName"]
    document: dict[str, Any] = {
        "TransformJobName": name,
        "TransformJobArn": job_arn(ctx, name),
        "TransformJobStatus": "InProgress",
        "TransformInput": {"CompressionType": "None", "SplitType": "None", **req["TransformInput"]},
        "TransformOutput": {"AssembleWith": "None", "KmsKeyId": "", **req["TransformOutput"]},
        "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None", **req.get("DataProcessing", {})},
        "CreationTime": ctx.now(),
        "_Model": model,
    }
    return document | {member: req[member] for member in KEPT_MEMBERS if req.get(member) is not None}


def end(document: dict[str, Any], status: str, at: datetime, reason: str = "") -> None:
    """End the document; a job that never reached an instance has no start."""
    document["TransformJobStatus"] = status
    document["TransformEndTime"] = at
    if reason:
        document["FailureReason"] = reason[:REASON_LIMIT]


def save(ctx: Ctx, tx: Tx, record: Record) -> Record:
    """Save the record after a change of its document, and tell EventBridge."""
    record.status = record.document["TransformJobStatus"]
    saved = tx.records.save(record)
    tell(ctx, tx, record.document)
    return saved


def tell(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> None:
    """Emit AWS's event of a changed job."""
    detail = {member: _event_value(document[member]) for member in EVENT_MEMBERS if member in document}
    event = {
        "version": "0",
        "id": new_uuid(),
        "detail-type": "SageMaker Transform Job State Change",
        "source": "aws.sagemaker",
        "account": ctx.account,
        "time": ctx.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": ctx.region,
        "resources": [document["TransformJobArn"]],
        "detail": {**detail, "Tags": tag_map(tx, ctx, document["TransformJobArn"])},
    }
    tx.outbox.put("aws.events", ctx.account, ctx.region, event)


def _event_value(value: Any) -> Any:
    return int(value.timestamp() * 1000) if isinstance(value, datetime) else value
