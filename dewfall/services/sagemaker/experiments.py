"""Experiments and their trials: named groups of trial components.

Why two nouns in one file: a trial is hardly more than a name inside an experiment. Trial components have their own file.
Names of all three are not case-sensitive: the record's key is in lower case, and documents keep the name as its maker wrote it.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import drop_tags, order, page, put_tags, with_token
from dewfall.services.registry import operation

EXPERIMENT, TRIAL, COMPONENT = "experiment", "trial", "trial-component"
ARNS = {EXPERIMENT: "experiment", TRIAL: "experiment-trial", COMPONENT: "experiment-trial-component"}
WORDS = {EXPERIMENT: "Experiment", TRIAL: "Trial", COMPONENT: "Trial Component"}

# ---------------------------------------------------------------- experiments


@operation("sagemaker", "CreateExperiment")
def create_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    document = {"ExperimentName": req["ExperimentName"], "DisplayName": req["ExperimentName"], **_without_tags(req)}
    with ctx.ports.store.transaction() as tx:
        return {"ExperimentArn": create(ctx, tx, EXPERIMENT, document, req.get("Tags", ()))}


@operation("sagemaker", "DescribeExperiment")
def describe_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load(ctx, tx, EXPERIMENT, req["ExperimentName"]).document


@operation("sagemaker", "ListExperiments")
def list_experiments(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", EXPERIMENT)
    shown, token = listed(records, req)
    return with_token({"ExperimentSummaries": [_summary(r.document, "ExperimentSource") for r in shown]}, token)


@operation("sagemaker", "UpdateExperiment")
def update_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"ExperimentArn": update(ctx, EXPERIMENT, req["ExperimentName"], req).document["ExperimentArn"]}


@operation("sagemaker", "DeleteExperiment")
def delete_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["ExperimentName"]
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, EXPERIMENT, name)
        if tx.records.list(ctx.account, ctx.region, "sagemaker", TRIAL, parent=record.key.name, limit=1):
            raise validation(f"Experiment '{name}' cannot be deleted because it has trials associated with it.")
        delete(ctx, tx, record)
    return {"ExperimentArn": record.document["ExperimentArn"]}


# ---------------------------------------------------------------- trials


@operation("sagemaker", "CreateTrial")
def create_trial(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    document = {"DisplayName": req["TrialName"], **_without_tags(req)}
    with ctx.ports.store.transaction() as tx:
        experiment = load(ctx, tx, EXPERIMENT, req["ExperimentName"])
        document["ExperimentName"] = experiment.document["ExperimentName"]
        return {"TrialArn": create(ctx, tx, TRIAL, document, req.get("Tags", ()), parent=experiment.key.name)}


@operation("sagemaker", "DescribeTrial")
def describe_trial(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load(ctx, tx, TRIAL, req["TrialName"]).document


@operation("sagemaker", "ListTrials")
def list_trials(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        experiment = load(ctx, tx, EXPERIMENT, req["ExperimentName"]).key.name if req.get("ExperimentName") else None
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", TRIAL, parent=experiment)
        if req.get("TrialComponentName"):
            parents = load(ctx, tx, COMPONENT, req["TrialComponentName"]).document.get("Parents", [])
            names = {parent["TrialName"].lower() for parent in parents}
            records = [record for record in records if record.key.name.lower() in names]
    shown, token = listed(records, req)
    return with_token({"TrialSummaries": [_summary(r.document, "TrialSource") for r in shown]}, token)


@operation("sagemaker", "UpdateTrial")
def update_trial(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"TrialArn": update(ctx, TRIAL, req["TrialName"], req).document["TrialArn"]}


@operation("sagemaker", "DeleteTrial")
def delete_trial(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["TrialName"]
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, TRIAL, name)
        if components_of(ctx, tx, name):
            raise validation(f"Trial '{name}' cannot be deleted because it has trial components associated with it.")
        delete(ctx, tx, record)
    return {"TrialArn": record.document["TrialArn"]}


# ---------------------------------------------------------------- what the three nouns share


def key_of(ctx: Ctx, kind: str, name: str) -> Key:
    """An experiment's, trial's or component's record."""
    return Key(ctx.account, ctx.region, "sagemaker", kind, name.lower())


def find(ctx: Ctx, tx: Tx, kind: str, name: str) -> Record | None:
    """The record, whichever case its name is written in; None where there is none."""
    found = tx.records.get(key_of(ctx, kind, name))
    if found is None and name != name.lower():  # an older data folder has it under the name as written
        return tx.records.get(Key(ctx.account, ctx.region, "sagemaker", kind, name))
    return found


def load(ctx: Ctx, tx: Tx, kind: str, name: str) -> Record:
    """The record, or AWS's error."""
    record = find(ctx, tx, kind, name)
    if record is None:
        raise AwsError("ResourceNotFound", f"{WORDS[kind]} '{name}' does not exist.")
    return record


def create(ctx: Ctx, tx: Tx, kind: str, document: dict[str, Any], tags: Any = (), *, parent: str = "") -> str:
    """Record a new document and its tags; its ARN, lower-cased as AWS's are."""
    noun = WORDS[kind].replace(" ", "")
    name, now = document[f"{noun}Name"], ctx.now()
    arn = ctx.arn("sagemaker", f"{ARNS[kind]}/{name.lower()}")
    made = {"CreationTime": now, "CreatedBy": {}, "LastModifiedTime": now, "LastModifiedBy": {}}  # only Studio users have names here
    try:
        if find(ctx, tx, kind, name) is not None:
            raise AlreadyExists(name)
        tx.records.create(Record(key_of(ctx, kind, name), {**document, f"{noun}Arn": arn, **made}, parent=parent))
    except AlreadyExists:
        word = WORDS[kind]
        raise validation(f"{word} names must be unique within an AWS account and region. {word} with name ({name}) already exists.") from None
    put_tags(tx, ctx, arn, tags)
    return arn


def update(ctx: Ctx, kind: str, name: str, changes: dict[str, Any]) -> Record:
    """Merge members into a document, which keeps its name as its maker wrote it."""
    own = f"{WORDS[kind].replace(' ', '')}Name"
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, kind, name)
        record.document |= {member: value for member, value in changes.items() if value is not None and member != own}
        record.document["LastModifiedTime"] = ctx.now()
        return tx.records.save(record)


def delete(ctx: Ctx, tx: Tx, record: Record) -> None:
    """Remove a record with its tags."""
    tx.records.delete(record.key)
    drop_tags(tx, ctx, record.document[WORDS[record.key.kind].replace(" ", "") + "Arn"])


def listed(records: list[Record], req: dict[str, Any]) -> tuple[list[Record], str | None]:
    """One page of the records that a List request asks for."""
    after, before = req.get("CreatedAfter"), req.get("CreatedBefore")
    chosen = [r for r in records if r.created and (after is None or r.created >= after) and (before is None or r.created <= before)]
    return page(order(chosen, req), req, key=lambda record: record.key.name, default=10)


def components_of(ctx: Ctx, tx: Tx, trial: str) -> list[Record]:
    """Trial components that are associated with a trial."""
    components = tx.records.list(ctx.account, ctx.region, "sagemaker", COMPONENT)
    return [c for c in components if any(parent["TrialName"].lower() == trial.lower() for parent in c.document.get("Parents", ()))]


def _summary(document: dict[str, Any], source_member: str) -> dict[str, Any]:
    return {**document, source_member: document["Source"]} if "Source" in document else document


def _without_tags(req: dict[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in req.items() if member != "Tags"}
