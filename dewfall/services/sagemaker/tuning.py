"""Hyperparameter tuning jobs as users see them: create, describe, list, stop, delete, and their training jobs.

The trials are ordinary training jobs; tuning_step.py starts and judges them.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import drop_tags, order, page, put_tags, select, transact, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.tuning_checks import check_request
from dewfall.services.sagemaker.tuning_status import FINAL, KIND, Trial, first_document, job_key, results, save, summary, tell, trials_of
from dewfall.services.sagemaker.tuning_trials import former_trials

SUMMARY = (
    "HyperParameterTuningJobName", "HyperParameterTuningJobArn", "HyperParameterTuningJobStatus", "CreationTime", "HyperParameterTuningEndTime",
    "LastModifiedTime", "TrainingJobStatusCounters", "ObjectiveStatusCounters",
)  # fmt: skip


@operation("sagemaker", "CreateHyperParameterTuningJob")
def create_hyper_parameter_tuning_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        taken = tx.records.get(job_key(ctx, req["HyperParameterTuningJobName"]))
    if taken:
        raise _name_taken(taken.key.name)
    check_request(ctx, req)
    document = first_document(ctx, req)
    arn: str = document["HyperParameterTuningJobArn"]
    record = Record(job_key(ctx, req["HyperParameterTuningJobName"]), document, status=document["HyperParameterTuningJobStatus"])
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(record)
            put_tags(tx, ctx, arn, req.get("Tags", ()))
            tx.queue.put(KIND, record.key)
            tell(ctx, tx, document)
    except AlreadyExists:
        raise _name_taken(record.key.name) from None
    return {"HyperParameterTuningJobArn": arn}


@operation("sagemaker", "DescribeHyperParameterTuningJob")
def describe_hyper_parameter_tuning_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return shown_now(ctx, tx, load(ctx, tx, req["HyperParameterTuningJobName"]))


@operation("sagemaker", "ListHyperParameterTuningJobs")
def list_hyper_parameter_tuning_jobs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
        chosen = order(select(records, req), req, default="Name", direction="Ascending")
        jobs, token = page(chosen, req, key=lambda record: record.key.name, default=10)
        shown = [_summary(shown_now(ctx, tx, job)) for job in jobs]
    return with_token({"HyperParameterTuningJobSummaries": shown}, token)


@operation("sagemaker", "ListTrainingJobsForHyperParameterTuningJob")
def list_training_jobs_for_hyper_parameter_tuning_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        trials = trials_of(ctx, tx, load(ctx, tx, req["HyperParameterTuningJobName"]).document)
    if req.get("StatusEquals"):
        trials = [trial for trial in trials if trial.status == req["StatusEquals"]]
    chosen = _in_order(trials, req.get("SortBy", "Name"), down=req.get("SortOrder") == "Descending")
    shown, token = page(chosen, req, key=lambda trial: trial.name, default=10)
    return with_token({"TrainingJobSummaries": [summary(trial) for trial in shown]}, token)


@operation("sagemaker", "StopHyperParameterTuningJob")
def stop_hyper_parameter_tuning_job(ctx: Ctx, req: dict[str, Any]) -> None:
    transact(ctx, lambda tx: _stop(ctx, tx, load(ctx, tx, req["HyperParameterTuningJobName"])))


@operation("sagemaker", "DeleteHyperParameterTuningJob")
def delete_hyper_parameter_tuning_job(ctx: Ctx, req: dict[str, Any]) -> None:
    """The training jobs stay, as on AWS; so does a job that is not there."""
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(job_key(ctx, req["HyperParameterTuningJobName"]))
        if record is None:
            return
        if record.status not in FINAL:
            raise validation(f"The request was rejected because the hyperparameter tuning job is in status {record.status}.")
        tx.records.delete(record.key)
        tx.queue.remove(KIND, record.key)
        drop_tags(tx, ctx, record.document["HyperParameterTuningJobArn"])


def load(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A job's record; AWS's error when there is none."""
    record = tx.records.get(job_key(ctx, name))
    if record is None:
        raise AwsError("ResourceNotFound", f"Amazon SageMaker can't find a tuning job called {name}. Type another name.")
    return record


def shown_now(ctx: Ctx, tx: Tx, record: Record) -> dict[str, Any]:
    """The document with what its trials come to now; of a job that has ended, what they came to then."""
    document = record.document
    if record.status in FINAL:
        return document
    trials = trials_of(ctx, tx, document)
    changed = max([document["LastModifiedTime"], *(trial.document["LastModifiedTime"] for trial in trials)])
    return {**document, **results(document, trials, ctx.now(), former_trials(ctx, tx, document)), "LastModifiedTime": changed}


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    config = document["HyperParameterTuningJobConfig"]
    shown = {member: document[member] for member in SUMMARY if member in document}
    return {**shown, "Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}


def _in_order(trials: list[Trial], by: str, *, down: bool) -> list[Trial]:
    if by == "FinalObjectiveMetricValue":
        scored = [trial for trial in trials if trial.is_over and trial.value is not None]
        return sorted(scored, key=lambda trial: (trial.value or 0.0, trial.name), reverse=down)
    if by == "Status":
        return sorted(trials, key=lambda trial: (trial.status, trial.name), reverse=down)
    if by == "CreationTime":
        return sorted(trials, key=lambda trial: (trial.document["CreationTime"], trial.name), reverse=down)
    return sorted(trials, key=lambda trial: trial.name, reverse=down)


def _stop(ctx: Ctx, tx: Tx, record: Record) -> None:
    if record.status == "Stopping":
        return
    if record.status != "InProgress":
        raise validation(f"The request was rejected because the hyperparameter tuning job is in status {record.status}.")
    record.document["HyperParameterTuningJobStatus"] = "Stopping"
    save(ctx, tx, record)
    tx.queue.wake(KIND, record.key)


def _name_taken(name: str) -> AwsError:
    return AwsError("ResourceInUse", f"A hyperparameter tuning job with the name, {name}, already exists. Choose a different name.")
