"""A training job's record in motion: its first document, its transitions, its end, and the event that tells of each.

Why apart from the operations and the step: both move the same record, and AWS's members must come out the same.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Key, Record, Tx
from dewfall.rules import lifecycle
from dewfall.rules.spot import billable_seconds
from dewfall.services.common import tag_map
from dewfall.services.sagemaker.debug_rule_status import add_rules
from dewfall.services.sagemaker.instance_preferences import selected

KIND = "training-job"
TUNING = "hyper-parameter-tuning-job"  # kind of the records that are a trial's parent
REASON_LIMIT = 1024
PROFILING_INTERVAL = 500  # milliseconds, AWS's default
EVENT_MEMBERS = (
    "TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "SecondaryStatus", "FailureReason", "HyperParameters",
    "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "StoppingCondition",
    "CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime", "SecondaryStatusTransitions", "FinalMetricDataList",
    "ModelArtifacts", "VpcConfig", "CheckpointConfig", "EnableManagedSpotTraining", "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption", "TrainingTimeInSeconds", "BillableTimeInSeconds", "TuningJobArn",
)  # fmt: skip

# Members of the request that come back unchanged.
KEPT_MEMBERS = (
    "HyperParameters", "RoleArn", "VpcConfig", "CheckpointConfig", "DebugHookConfig", "TensorBoardOutputConfig", "ExperimentConfig",
    "Environment", "RetryStrategy", "RemoteDebugConfig", "InfraCheckConfig",
)  # fmt: skip


def job_key(ctx: Ctx, name: str) -> Key:
    """A training job's record."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def first_document(ctx: Ctx, req: dict[str, Any], metric_definitions: list[dict[str, str]]) -> dict[str, Any]:
    """What DescribeTrainingJob answers right after the creation, with the defaults that AWS fills in."""
    name, now = req["TrainingJobName"], ctx.now()
    algorithm = {"EnableSageMakerMetricsTimeSeries": False, **req["AlgorithmSpecification"]}
    if metric_definitions:
        algorithm["MetricDefinitions"] = metric_definitions
    document: dict[str, Any] = {
        "TrainingJobName": name,
        "TrainingJobArn": ctx.arn("sagemaker", f"training-job/{name}"),
        "ModelArtifacts": {"S3ModelArtifacts": artifact_uri(req, "model")},
        "AlgorithmSpecification": algorithm,
        "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP", **req["OutputDataConfig"]},
        "ResourceConfig": {"VolumeSizeInGB": 30, **req["ResourceConfig"], **selected(req["ResourceConfig"])},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400, **req.get("StoppingCondition", {})},
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        "ProfilingStatus": profiling_status(req),
        "CreationTime": now,
        "SecondaryStatusTransitions": [],
    }
    if req.get("InputDataConfig"):
        document["InputDataConfig"] = [{"CompressionType": "None", "RecordWrapperType": "None", **channel} for channel in req["InputDataConfig"]]
    for member in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        if member in req:
            document[member] = req[member]
    document |= {member: req[member] for member in KEPT_MEMBERS if req.get(member) is not None}
    set_profiler(document, req.get("ProfilerConfig"))
    add_rules(document, req, now)
    enter(document, "Starting", now)
    return document


def set_profiler(document: dict[str, Any], asked: dict[str, Any] | None) -> None:
    """ProfilerConfig with what the request asks for. One that only disables the profiler is not told, as on AWS."""
    given = {**document.pop("ProfilerConfig", {}), **(asked or {})}
    if given.keys() - {"DisableProfiler"}:
        document["ProfilerConfig"] = {"ProfilingIntervalInMilliseconds": PROFILING_INTERVAL, **given}


def profiling_status(document: dict[str, Any]) -> str:
    """What ProfilerConfig comes to."""
    config = document.get("ProfilerConfig") or {}
    return "Enabled" if config.get("S3OutputPath") and not config.get("DisableProfiler", False) else "Disabled"


def artifact_uri(document: dict[str, Any], what: str) -> str:
    """Where `model` or `output` of a job goes in S3."""
    base = document["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    folder = f"{base}/{document['TrainingJobName']}/output"
    if document["OutputDataConfig"].get("CompressionType") == "NONE":
        return f"{folder}/{what}/"
    return f"{folder}/{what}.tar.gz"


def enter(document: dict[str, Any], secondary: str, at: datetime, message: str = "") -> None:
    """Put the document into a secondary status; entering the present one again changes its message."""
    document["SecondaryStatusTransitions"] = lifecycle.enter(document["SecondaryStatusTransitions"], secondary, at, message)
    document["TrainingJobStatus"] = lifecycle.TRAINING[secondary].status
    document["SecondaryStatus"] = secondary
    document["LastModifiedTime"] = at


def fail(document: dict[str, Any], at: datetime, reason: str) -> None:
    """End the document as Failed."""
    document["FailureReason"] = reason[:REASON_LIMIT]
    close_times(document, at)
    enter(document, "Failed", at)


def close_times(document: dict[str, Any], at: datetime) -> None:
    """The end's members; a job that never reached an instance has none of them."""
    if "TrainingStartTime" not in document:
        return
    seconds = max(1, math.ceil(lifecycle.trained_seconds(document["SecondaryStatusTransitions"], at)))
    billable = billable_seconds(seconds, spot=document["EnableManagedSpotTraining"])
    document |= {"TrainingEndTime": at, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": billable}


def save(ctx: Ctx, tx: Tx, record: Record) -> Record:
    """Save the record after a change of its document, and tell EventBridge."""
    record.status = record.document["TrainingJobStatus"]
    saved = tx.records.save(record)
    tell(ctx, tx, record.document)
    return saved


def wake_tuning(ctx: Ctx, tx: Tx, record: Record) -> None:
    """A trial has ended, so its tuning job looks now."""
    if record.parent:
        name = record.parent.rpartition("/")[2]
        tx.queue.wake(TUNING, Key(ctx.account, ctx.region, "sagemaker", TUNING, name))


def tell(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> None:
    """Emit AWS's event of a changed job."""
    detail = {member: document[member] for member in EVENT_MEMBERS if member in document}
    detail["Tags"] = tag_map(tx, ctx, document["TrainingJobArn"])
    put_event(ctx, tx, "SageMaker Training Job State Change", document["TrainingJobArn"], detail)


def put_event(ctx: Ctx, tx: Tx, what: str, arn: str, detail: dict[str, Any]) -> None:
    """Emit an event of SageMaker's about one resource."""
    event = {
        "version": "0",
        "id": new_uuid(),
        "detail-type": what,
        "source": "aws.sagemaker",
        "account": ctx.account,
        "time": ctx.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": ctx.region,
        "resources": [arn],
        "detail": _event_value(detail),
    }
    tx.outbox.put("aws.events", ctx.account, ctx.region, event)


def _event_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    if isinstance(value, dict):
        return {name: _event_value(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_event_value(member) for member in value]
    return value
