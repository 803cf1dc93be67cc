"""Inference experiments (ShadowMode): a shadow variant beside a production variant for a while, then promote, retain or remove.

What is done to the endpoint is done by inference_experiment_step.py; here are the operations and what they refuse.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import drop_tags, order, page, put_tags, select, transact, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.endpoint_scaling import check_removed

KIND = "inference-experiment"
FINAL = ("Completed", "Cancelled")
DURATION, LONGEST = timedelta(days=7), timedelta(days=30)
KEPT = ("Description", "RoleArn", "ModelVariants", "DataStorageConfig", "ShadowModeConfig", "KmsKey")
SUMMARY = ("Name", "Type", "Schedule", "Status", "StatusReason", "Description", "CreationTime", "CompletionTime", "LastModifiedTime", "RoleArn")


@operation("sagemaker", "CreateInferenceExperiment")
def create_inference_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, now = req["Name"], ctx.now()
    check_variants(req["ModelVariants"], req["ShadowModeConfig"])
    _check_endpoint(ctx, req)
    schedule = {"StartTime": now, **req.get("Schedule", {})}
    schedule.setdefault("EndTime", schedule["StartTime"] + DURATION)
    check_schedule(schedule, ctx)
    arn = ctx.arn("sagemaker", f"inference-experiment/{name}")
    document = {"Name": name, "Arn": arn, "Type": req["Type"], "Schedule": schedule, "Status": "Creating", "CreationTime": now}
    document |= {"LastModifiedTime": now, "EndpointMetadata": {"EndpointName": req["EndpointName"]}}
    document |= {member: req[member] for member in KEPT if req.get(member) is not None}
    set_statuses(document, "Creating")
    try:
        with ctx.ports.store.transaction() as tx:
            if tx.records.get(experiment_key(ctx, name)) is not None:
                raise AlreadyExists
            _check_free(ctx, tx, req["EndpointName"])
            record = tx.records.create(Record(experiment_key(ctx, name), document, status="Creating"))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
            tx.queue.put(KIND, record.key)
    except AlreadyExists:
        raise AwsError("ResourceInUse", f"Inference experiment {arn} already exists.", status=400) from None
    return {"InferenceExperimentArn": arn}


@operation("sagemaker", "DescribeInferenceExperiment")
def describe_inference_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = load_experiment(ctx, tx, req["Name"]).document
    metadata = dict(document["EndpointMetadata"])
    try:
        found = ctx.call("sagemaker", "DescribeEndpoint", {"EndpointName": metadata["EndpointName"]})
        metadata |= {name: found[name] for name in ("EndpointConfigName", "EndpointStatus", "FailureReason") if name in found}
    except AwsError:
        pass  # the endpoint is gone; the experiment's own words remain
    return {**document, "EndpointMetadata": metadata}


@operation("sagemaker", "ListInferenceExperiments")
def list_inference_experiments(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    shown, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    kept = [{name: record.document[name] for name in SUMMARY if name in record.document} for record in shown]
    return with_token({"InferenceExperiments": kept}, token)


@operation("sagemaker", "UpdateInferenceExperiment")
def update_inference_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """A running experiment gets the changed variants by a deployment; of its schedule only the end can change."""

    def update(record: Record) -> None:
        document, running = record.document, record.status == "Running"
        _check_status(record, ("Created", "Running"), "updated")
        wanted = {name: req[name] for name in ("Description", "ModelVariants", "DataStorageConfig", "ShadowModeConfig") if req.get(name) is not None}
        check_variants(wanted.get("ModelVariants", document["ModelVariants"]), wanted.get("ShadowModeConfig", document["ShadowModeConfig"]))
        schedule = {**document["Schedule"], **req.get("Schedule", {})}
        if running and schedule["StartTime"] != document["Schedule"]["StartTime"]:
            raise validation("The start time of an inference experiment that is running cannot be changed.")
        if req.get("Schedule"):
            check_schedule(schedule, ctx, begun=running)
        document |= wanted | {"Schedule": schedule}
        if running and set(wanted) - {"Description"}:
            document.pop("_Config", None)
            document["Status"] = "Updating"
        set_statuses(document, "Updating" if document["Status"] == "Updating" else ("InService" if running else "Creating"))

    return {"InferenceExperimentArn": _change(ctx, req["Name"], update)}


@operation("sagemaker", "StartInferenceExperiment")
def start_inference_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    def start(record: Record) -> None:
        _check_status(record, ("Created",), "started")
        record.document["Schedule"] = record.document["Schedule"] | {"StartTime": ctx.now()}
        record.document["Status"] = "Starting"

    return {"InferenceExperimentArn": _change(ctx, req["Name"], start)}


@operation("sagemaker", "StopInferenceExperiment")
def stop_inference_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    def stop(record: Record) -> None:
        document = record.document
        _check_status(record, ("Created", "Running"), "stopped")
        check_actions(document, req["ModelVariantActions"], req.get("DesiredModelVariants", ()))
        removed = {name for name, action in req["ModelVariantActions"].items() if action == "Remove" and record.status == "Running"}
        with ctx.ports.store.reading() as tx:
            check_removed(ctx, tx, document["EndpointMetadata"]["EndpointName"], removed)
        wanted = req.get("DesiredState", "Cancelled")
        if req.get("Reason"):
            document["StatusReason"] = req["Reason"]
        begin_stop(document, req["ModelVariantActions"], req.get("DesiredModelVariants", ()), wanted)
        if record.status == "Created":  # nothing was done to the endpoint, so nothing is to be undone
            document |= {"Status": "Cancelled", "CompletionTime": ctx.now()}
            set_statuses(document, "Deleted")

    return {"InferenceExperimentArn": _change(ctx, req["Name"], stop)}


@operation("sagemaker", "DeleteInferenceExperiment")
def delete_inference_experiment(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = load_experiment(ctx, tx, req["Name"])
        _check_status(record, FINAL, "deleted")
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document["Arn"])
    return {"InferenceExperimentArn": record.document["Arn"]}


# ---------------------------------------------------------------- for the step too


def experiment_key(ctx: Ctx, name: str) -> Key:
    """An experiment's record."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def load_experiment(ctx: Ctx, tx: Tx, name: str) -> Record:
    """An experiment's record; AWS's error when there is none."""
    record = tx.records.get(experiment_key(ctx, name))
    if record is None:
        raise AwsError("ResourceNotFound", f"Inference experiment {name} does not exist.", status=400)
    return record


def save_experiment(ctx: Ctx, tx: Tx, record: Record) -> Record:
    """Save it after a change of its document."""
    record.status = record.document["Status"]
    record.document["LastModifiedTime"] = ctx.now()
    return tx.records.save(record)


def source_and_shadow(document: dict[str, Any]) -> tuple[str, str]:
    """Names of the production variant and of its shadow."""
    mode = document["ShadowModeConfig"]
    return mode["SourceModelVariantName"], mode["ShadowModelVariants"][0]["ShadowModelVariantName"]


def set_statuses(document: dict[str, Any], *statuses: str, **named: str) -> None:
    """Give every model variant a status, or those that are named theirs."""
    document["ModelVariants"] = [
        {**variant, "Status": named.get(variant["VariantName"], statuses[0] if statuses else variant.get("Status", "Creating"))}
        for variant in document["ModelVariants"]
    ]


def begin_stop(document: dict[str, Any], actions: dict[str, str], desired: Any, state: str) -> None:
    """From now on the experiment comes to its end."""
    document.pop("_Config", None)
    document |= {"Status": "Stopping", "_Stop": {"Actions": dict(actions), "Variants": list(desired), "State": state}}
    set_statuses(document, **{name: "Deleting" if action == "Remove" else "Updating" for name, action in actions.items()})


# ---------------------------------------------------------------- checks


def check_variants(variants: list[dict[str, Any]], mode: dict[str, Any]) -> None:
    """The production variant and its shadow must both be told of, and be two."""
    names = [variant["VariantName"] for variant in variants]
    shadow = mode["ShadowModelVariants"][0]["ShadowModelVariantName"]
    for name in (mode["SourceModelVariantName"], shadow):
        if names.count(name) != 1:
            raise validation(f"The variant {name} of ShadowModeConfig must be specified exactly once in ModelVariants.")
    if shadow == mode["SourceModelVariantName"]:
        raise validation("The source model variant and the shadow model variant must be different.")
    for variant in variants:
        if variant["InfrastructureConfig"]["RealTimeInferenceConfig"]["InstanceCount"] < 1:
            raise validation("InstanceCount must be at least 1.")


def check_schedule(schedule: dict[str, Any], ctx: Ctx, *, begun: bool = False) -> None:
    """The end lies behind the start and ahead of now; no experiment takes longer than 30 days."""
    start, end = schedule["StartTime"], schedule["EndTime"]
    if end <= start or end <= ctx.now():
        raise validation("The end time of the schedule must be after its start time and in the future.")
    if end - start > LONGEST:
        raise validation(f"An inference experiment can run for at most {LONGEST.days} days.")
    if not begun and start < ctx.now() - timedelta(minutes=5):
        raise validation("The start time of the schedule must not be in the past.")


def check_actions(document: dict[str, Any], actions: dict[str, str], desired: Any) -> None:
    """Each action names a variant of the experiment, only the shadow is promoted, and something is left that serves."""
    source, shadow = source_and_shadow(document)
    for name in [*actions, *(variant["VariantName"] for variant in desired)]:
        if name not in (source, shadow):
            raise validation(f"The variant {name} is not part of the inference experiment {document['Name']}.")
    if actions.get(source) == "Promote":
        raise validation(f"The variant {source} is a production variant already and cannot be promoted.")
    if actions.get(source) == "Remove" and actions.get(shadow) != "Promote":
        raise validation("The production variant can only be removed if the shadow variant is promoted.")


def _check_endpoint(ctx: Ctx, req: dict[str, Any]) -> None:
    found = ctx.call("sagemaker", "DescribeEndpoint", {"EndpointName": req["EndpointName"]})
    if found["EndpointStatus"] != "InService":
        raise validation(f'Endpoint "{found["EndpointArn"]}" must be InService to run an inference experiment.')
    names = [variant["VariantName"] for variant in found["ProductionVariants"]]
    source = req["ShadowModeConfig"]["SourceModelVariantName"]
    if names != [source]:
        raise validation(f'The variant {source} must be the only production variant of the endpoint "{found["EndpointArn"]}".')
    for variant in req["ModelVariants"]:
        ctx.call("sagemaker", "DescribeModel", {"ModelName": variant["ModelName"]})


def _check_free(ctx: Ctx, tx: Tx, endpoint: str) -> None:
    for record in tx.records.list(ctx.account, ctx.region, "sagemaker", KIND):
        if record.status not in FINAL and record.document["EndpointMetadata"]["EndpointName"] == endpoint:
            raise AwsError("ResourceInUse", f"The endpoint {endpoint} already has the inference experiment {record.key.name}.", status=400)


def _check_status(record: Record, allowed: tuple[str, ...], what: str) -> None:
    if record.status not in allowed:
        message = f"Inference experiment {record.key.name} with status {record.status} cannot be {what}."
        raise AwsError("ConflictException", message, status=409)


def _change(ctx: Ctx, name: str, how: Any) -> str:

    def act(tx: Tx) -> str:
        record = load_experiment(ctx, tx, name)
        how(record)
        save_experiment(ctx, tx, record)
        tx.queue.put(KIND, record.key)
        arn: str = record.document["Arn"]
        return arn

    return transact(ctx, act)
