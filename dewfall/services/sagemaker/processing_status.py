"""A processing job's record in motion: its first document, its end, and the event that tells of each change.

Why apart from the operations and the step: both move the same record, and AWS's members must come out the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.services.sagemaker.instance_preferences import selected
from dewfall.services.sagemaker.training_status import REASON_LIMIT, put_event

KIND = "processing-job"
FINAL = ("Completed", "Failed", "Stopped")
MAX_RUNTIME = 86400
EVENT_MEMBERS = (
    "ProcessingInputs", "ProcessingOutputConfig", "ProcessingJobName", "ProcessingResources", "StoppingCondition", "AppSpecification", "Environment",
    "NetworkConfig", "RoleArn", "ExperimentConfig", "ProcessingJobArn", "ProcessingJobStatus", "ExitMessage", "FailureReason",
    "ProcessingEndTime", "ProcessingStartTime", "LastModifiedTime", "CreationTime", "MonitoringScheduleArn", "AutoMLJobArn", "TrainingJobArn",
)  # fmt: skip
KEPT_MEMBERS = ("AppSpecification", "Environment", "NetworkConfig", "RoleArn", "ExperimentConfig", "ProcessingInputs", "ProcessingOutputConfig")


def job_key(ctx: Ctx, name: str) -> Key:
    """A processing job's record."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def watches(document: dict[str, Any]) -> bool:
    """Whether the job looks at a training job while that runs: then it waits for no slot and takes none."""
    return "TrainingJobArn" in document


def first_document(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """What DescribeProcessingJob answers right after the creation."""
    name, now = req["ProcessingJobName"], ctx.now()
    document = {member: req[member] for member in KEPT_MEMBERS if req.get(member) is not None}
    if "ProcessingInputs" in document:
        document["ProcessingInputs"] = [{"AppManaged": False, **given} for given in document["ProcessingInputs"]]
    if "ProcessingOutputConfig" in document:
        outputs = [{"AppManaged": False, **one} for one in document["ProcessingOutputConfig"]["Outputs"]]
        document["ProcessingOutputConfig"] = {**document["ProcessingOutputConfig"], "Outputs": outputs}
    cluster = req["ProcessingResources"]["ClusterConfig"]
    return {
        **document,
        "ProcessingJobName": name,
        "ProcessingJobArn": ctx.arn("sagemaker", f"processing-job/{name}"),
        "ProcessingResources": {**req["ProcessingResources"], "ClusterConfig": {**cluster, **selected(cluster)}},
        "StoppingCondition": req.get("StoppingCondition") or {"MaxRuntimeInSeconds": MAX_RUNTIME},
        "ProcessingJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }


def finish(document: dict[str, Any], status: str, at: datetime, reason: str = "") -> None:
    """End the document."""
    document |= {"ProcessingJobStatus": status, "ProcessingEndTime": at}
    if reason:
        document["FailureReason"] = reason[:REASON_LIMIT]


def save(ctx: Ctx, tx: Tx, record: Record) -> Record:
    """Save the record after a change of its document, and tell EventBridge."""
    record.document["LastModifiedTime"] = ctx.now()
    record.status = record.document["ProcessingJobStatus"]
    saved = tx.records.save(record)
    tell(ctx, tx, record.document)
    return saved


def tell(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> None:
    """Emit AWS's event of a changed job."""
    detail = {member: document[member] for member in EVENT_MEMBERS if member in document}
    put_event(ctx, tx, "SageMaker Processing Job State Change", document["ProcessingJobArn"], detail)
