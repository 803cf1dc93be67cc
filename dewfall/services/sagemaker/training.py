"""Training jobs as users see them: create, describe, list, stop, update, delete.

The work itself is done by agents; training_step.py looks after them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dewfall.context import Ctx
from dewfall.engine import turns
from dewfall.engine.ports import AlreadyExists, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.rules import lifecycle
from dewfall.services.common import drop_tags, order, page, put_tags, select, transact, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.algorithms import with_algorithm, without_image
from dewfall.services.sagemaker.debug_rule_status import add_rules
from dewfall.services.sagemaker.training_checks import check_request
from dewfall.services.sagemaker.training_logs import definitions, drop_progress
from dewfall.services.sagemaker.training_status import KIND, enter, first_document, job_key, profiling_status, save, set_profiler, tell
from dewfall.services.sagemaker.trial_components import open_job_component
from dewfall.services.sagemaker.warm_pools import check_deletion, keep_for, status_now

SUMMARY = (
    "TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime", "TrainingJobStatus", "SecondaryStatus",
    "WarmPoolStatus",
)  # fmt: skip


@operation("sagemaker", "CreateTrainingJob")
def create_training_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"TrainingJobArn": start_training_job(ctx, req)}


def start_training_job(ctx: Ctx, req: dict[str, Any], *, tuning_job_arn: str = "", trial: dict[str, Any] | None = None) -> str:
    """Check and record a job and queue its work; its ARN. `tuning_job_arn`: the tuning job that asks for it, and its notes on this `trial`."""
    name = req["TrainingJobName"]
    with ctx.ports.store.reading() as tx:
        taken = tx.records.get(job_key(ctx, name))
    if taken:
        raise _name_taken(taken.document["TrainingJobArn"])
    req = with_algorithm(ctx, req)
    check_training_job(ctx, req)
    document = first_document(ctx, req, definitions(req["AlgorithmSpecification"]))
    if tuning_job_arn:
        document |= {"TuningJobArn": tuning_job_arn, "Trial": trial or {}}
    arn: str = document["TrainingJobArn"]
    record = Record(job_key(ctx, name), document, status=document["TrainingJobStatus"], parent=tuning_job_arn)
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(record)
            put_tags(tx, ctx, arn, req.get("Tags", ()))
            open_job_component(ctx, tx, "training", document)
            tx.queue.put(KIND, record.key, turns.WAITING)
            tell(ctx, tx, document)
    except AlreadyExists:
        raise _name_taken(arn) from None
    return arn


def check_training_job(ctx: Ctx, req: dict[str, Any]) -> None:
    """Raise the AwsError that answers a wrong request, all but its name looked at."""
    from dewfall.engine.runtimes import find_runtime

    check_request(ctx, req)
    image = req["AlgorithmSpecification"]["TrainingImage"]
    if not find_runtime(image, ctx.ports.settings).train_command and not req["AlgorithmSpecification"].get("ContainerEntrypoint"):
        raise validation(f"The image {image} cannot train: it only serves models.")


@operation("sagemaker", "DescribeTrainingJob")
def describe_training_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return without_image(status_now(ctx, load(ctx, tx, req["TrainingJobName"]).document))


@operation("sagemaker", "ListTrainingJobs")
def list_training_jobs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    records = [replace(record, document=status_now(ctx, record.document)) for record in records]
    if req.get("WarmPoolStatusEquals"):
        records = [record for record in records if record.document.get("WarmPoolStatus", {}).get("Status") == req["WarmPoolStatusEquals"]]
    if req.get("TrainingPlanArnEquals"):
        records = []  # there are no training plans, so no job has one
    # With MaxResults, AWS takes that many jobs first and leaves out those of another status then; a page may be empty.
    late = {"StatusEquals": req["StatusEquals"]} if req.get("StatusEquals") and req.get("MaxResults") else {}
    chosen = order(select(records, {member: value for member, value in req.items() if member not in late}), req)
    jobs, token = page(chosen, req, key=lambda record: record.key.name, default=10)
    jobs = select(jobs, late)
    return with_token({"TrainingJobSummaries": [summary(job) for job in jobs]}, token)


@operation("sagemaker", "StopTrainingJob")
def stop_training_job(ctx: Ctx, req: dict[str, Any]) -> None:
    change(ctx, req["TrainingJobName"], _stop)


@operation("sagemaker", "UpdateTrainingJob")
def update_training_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    def update(ctx: Ctx, tx: Tx, record: Record) -> None:
        if record.status not in ("InProgress", "Stopping") and set(req) - {"TrainingJobName", "ResourceConfig"}:
            raise validation(f"The request was rejected because the training job is in status {record.status}.")
        secondary = record.document["SecondaryStatus"]
        if req.get("RemoteDebugConfig") and secondary not in ("Downloading", "Training"):
            raise validation(f"RemoteDebugConfig can only be updated in secondary status Downloading or Training, not in {secondary}.")
        if req.get("ResourceConfig"):
            keep_for(ctx, tx, record, req["ResourceConfig"]["KeepAlivePeriodInSeconds"])
        _check_profile_path(record.document, req)
        set_profiler(record.document, req.get("ProfilerConfig"))
        if "RemoteDebugConfig" in req:
            record.document["RemoteDebugConfig"] = {**record.document.get("RemoteDebugConfig", {}), **req["RemoteDebugConfig"]}
        record.document["ProfilingStatus"] = profiling_status(record.document)
        add_rules(record.document, req, ctx.now())
        record.document["LastModifiedTime"] = ctx.now()
        tx.records.save(record)
        tx.queue.wake(KIND, record.key)  # rules are started and stopped by the job's step

    return {"TrainingJobArn": change(ctx, req["TrainingJobName"], update).document["TrainingJobArn"]}


@operation("sagemaker", "DeleteTrainingJob")
def delete_training_job(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(job_key(ctx, req["TrainingJobName"]))
        if record is None:
            raise AwsError("ResourceNotFound", "Requested resource not found.")
        if not lifecycle.may_delete(record.status):
            raise AwsError("ResourceInUse", f"The request was rejected because the training job is in status {record.status}.")
        check_deletion(ctx, record)
        tx.records.delete(record.key)
        tx.queue.remove(KIND, record.key)
        drop_progress(ctx, tx, record.key.name)
        drop_tags(tx, ctx, record.document["TrainingJobArn"])


def load(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A job's record; AWS's error when there is none."""
    record = tx.records.get(job_key(ctx, name))
    if record is None:
        raise validation("Requested resource not found.")
    return record


def change(ctx: Ctx, name: str, how: Any) -> Record:
    """Load, change and save a job in one transaction, again when somebody else saved it in between."""

    def act(tx: Tx) -> Record:
        record = load(ctx, tx, name)
        how(ctx, tx, record)
        return record

    return transact(ctx, act)


def summary(record: Record) -> dict[str, Any]:
    """A job in a list."""
    return {member: record.document[member] for member in SUMMARY if member in record.document}


def _stop(ctx: Ctx, tx: Tx, record: Record) -> None:
    if record.status == "Stopping":
        return
    if not lifecycle.may_stop(record.status):
        raise validation(f"The request was rejected because the training job is in status {record.status}.")
    enter(record.document, "Stopping", ctx.now())
    save(ctx, tx, record)
    tx.queue.wake(KIND, record.key)


def _check_profile_path(document: dict[str, Any], req: dict[str, Any]) -> None:
    """Where the profile goes stays as it is: what has been measured, and who looks at it, are there."""
    known, wanted = (one.get("ProfilerConfig", {}).get("S3OutputPath", "") for one in (document, req))
    if known and wanted and known.rstrip("/") != wanted.rstrip("/"):
        raise validation("S3OutputPath in ProfilerConfig cannot be changed once the profiler has been enabled.")


def _name_taken(arn: str) -> AwsError:
    message = f"Training job names must be unique within an AWS account and region, and a training job with this name already exists ({arn})"
    return AwsError("ResourceInUse", message)
