"""The step of an inference experiment: brings its endpoint to the configuration that its state asks for, and waits for its times.

    Creating ─ Created ─(start time)─ Starting ─ Running ─(end time, or Stop)─ Stopping ─ Completed | Cancelled
                                                  └ Updating ┘                     └ each by an UpdateEndpoint of its own

Why by UpdateEndpoint: starting, changing and ending a test are deployments like any other, without a failed request.
"""

from __future__ import annotations

import logging
from typing import Any

from dewfall.context import Ctx, new_id
from dewfall.engine.ports import Record, Task
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.services.sagemaker.endpoint_configs import KEPT_MEMBERS
from dewfall.services.sagemaker.endpoint_status import IN_MOTION
from dewfall.services.sagemaker.inference_experiment_report import write_report
from dewfall.services.sagemaker.inference_experiments import FINAL, begin_stop, experiment_key, save_experiment, set_statuses, source_and_shadow

log = logging.getLogger(__name__)

POLL = 0.5  # seconds between looks at an endpoint that is being updated
LOOK_RUNNING = 5.0  # between looks whether the endpoint is still the experiment's
LONGEST_WAIT = 30.0
SETTLE_SECONDS = 1.0
REASON_LIMIT = 1024
CHANGED = "The endpoint was updated by somebody else."


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at an experiment. A Conflict (somebody changed it meanwhile) makes the worker look again."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(experiment_key(ctx, task.key.name))
    if record is None or record.status in FINAL:
        return Done()
    schedule, now = record.document["Schedule"], ctx.now()
    if record.status in ("Creating", "Created"):
        if now >= schedule["StartTime"]:
            return _enter(ctx, record, "Starting")
        if record.status == "Creating":
            return _enter(ctx, record, "Created")
        return Again(min((schedule["StartTime"] - now).total_seconds(), LONGEST_WAIT))
    if record.status == "Running":
        if (problem := _lost(ctx, record.document)) is not None:
            return _end(ctx, record, "Cancelled", problem)
        if now < schedule["EndTime"]:
            return Again(min((schedule["EndTime"] - now).total_seconds(), LOOK_RUNNING))
        source, shadow = source_and_shadow(record.document)
        begin_stop(record.document, {source: "Retain", shadow: "Remove"}, (), "Completed")
        return _enter(ctx, record, "Stopping")
    try:
        return _deploy(ctx, record)
    except AwsError as error:
        return _end(ctx, record, "Cancelled", error.message)


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step kept raising: an unexpected error cancels the experiment."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(experiment_key(ctx, task.key.name))
    if record is not None and record.status not in FINAL:
        _end(ctx, record, "Cancelled", f"InternalServerError: {message}")


def _enter(ctx: Ctx, record: Record, status: str) -> Outcome:
    record.document["Status"] = status
    with ctx.ports.store.transaction() as tx:
        save_experiment(ctx, tx, record)
    return Again(0.0)


def _lost(ctx: Ctx, document: dict[str, Any]) -> str | None:
    """Why the test does not go on: its endpoint was deleted, or given another configuration, by somebody else."""
    try:
        found = ctx.call("sagemaker", "DescribeEndpoint", {"EndpointName": document["EndpointMetadata"]["EndpointName"]}, as_role=document["RoleArn"])
    except AwsError as error:
        return error.message if "Could not find endpoint" in error.message else None
    return None if found["EndpointConfigName"] == document["_Config"] else CHANGED


def _deploy(ctx: Ctx, record: Record) -> Outcome:
    """Bring the endpoint to the configuration of this state, then enter the next one."""
    document = record.document
    role, name = document["RoleArn"], document["EndpointMetadata"]["EndpointName"]
    found = ctx.call("sagemaker", "DescribeEndpoint", {"EndpointName": name}, as_role=role)
    if "_Before" not in document:
        document["_Before"] = _config_of(ctx, found["EndpointConfigName"])
    wanted = _wanted(document)
    if wanted is None:
        return _arrived(ctx, record)
    if "_Config" not in document:
        document["_Config"] = f"{record.key.name[:40].strip('-')}-{new_id(8)}"
        document.pop("_Asked", None)
        with ctx.ports.store.transaction() as tx:
            save_experiment(ctx, tx, record)
    if found["EndpointStatus"] in IN_MOTION:
        return Again(POLL)
    if found["EndpointConfigName"] == document["_Config"]:
        return _arrived(ctx, record)
    if document.get("_Asked"):
        return _end(ctx, record, "Cancelled", found.get("FailureReason", CHANGED))
    _create_config(ctx, role, {"EndpointConfigName": document["_Config"], **wanted})
    ctx.call("sagemaker", "UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": document["_Config"]}, as_role=role)
    document["_Asked"] = True
    with ctx.ports.store.transaction() as tx:
        save_experiment(ctx, tx, record)
    return Again(POLL)


def _arrived(ctx: Ctx, record: Record) -> Outcome:
    document = record.document
    if record.status != "Stopping":
        set_statuses(document, "InService")
        document["_Since"] = document.get("_Since", ctx.now())
        return _enter(ctx, record, "Running")
    if "_Settled" not in document:  # the endpoint's last look at the shadow's counters comes after its record's change
        document["_Settled"] = True
        with ctx.ports.store.transaction() as tx:
            save_experiment(ctx, tx, record)
        return Again(SETTLE_SECONDS)
    removed = {name for name, action in document["_Stop"]["Actions"].items() if action == "Remove"}
    set_statuses(document, "InService", **dict.fromkeys(removed, "Deleted"))
    return _end(ctx, record, document["_Stop"]["State"], "")


def _end(ctx: Ctx, record: Record, status: str, reason: str) -> Outcome:
    document = record.document
    document |= {"Status": status, "CompletionTime": ctx.now()}
    _tell_what_is_there(ctx, document)
    if reason:
        document["StatusReason"] = reason[:REASON_LIMIT]
    try:
        write_report(ctx, document)
    except (AwsError, OSError) as error:
        log.warning("report not written experiment=%s problem=%s", record.key.name, error)
    with ctx.ports.store.transaction() as tx:
        save_experiment(ctx, tx, record)
    return Done()


def _tell_what_is_there(ctx: Ctx, document: dict[str, Any]) -> None:
    """At the end a variant is in service, or it is not there."""
    try:
        found = ctx.call("sagemaker", "DescribeEndpoint", {"EndpointName": document["EndpointMetadata"]["EndpointName"]})
    except AwsError:
        found = {}
    there = [entry["VariantName"] for member in ("ProductionVariants", "ShadowProductionVariants") for entry in found.get(member, ())]
    set_statuses(document, "Deleted", **dict.fromkeys(there, "InService"))


# ---------------------------------------------------------------- configurations


def _wanted(document: dict[str, Any]) -> dict[str, Any] | None:
    """The endpoint configuration that the present state asks for; None where the endpoint stays as it is."""
    source, shadow = source_and_shadow(document)
    share = document["ShadowModeConfig"]["ShadowModelVariants"][0]["SamplingPercentage"] / 100
    if document["Status"] != "Stopping":
        shadows = [_variant(document, shadow, share)]
        return {**_others(document, capture=True), "ProductionVariants": [_variant(document, source, 1.0)], "ShadowProductionVariants": shadows}
    actions = document["_Stop"]["Actions"]
    kept = {source: actions.get(source, "Retain"), shadow: actions.get(shadow, "Retain")}
    if set(kept.values()) == {"Retain"} and not document["_Stop"]["Variants"]:
        return None
    serving = [name for name in (source, shadow) if kept[name] == "Promote" or (name == source and kept[name] == "Retain")]
    wanted = {**_others(document, capture=False), "ProductionVariants": [_variant(document, name, 1.0) for name in serving]}
    if kept[shadow] == "Retain":
        wanted["ShadowProductionVariants"] = [_variant(document, shadow, share)]
    return wanted


def _variant(document: dict[str, Any], name: str, weight: float) -> dict[str, Any]:
    """A variant as the experiment, or the end of it, wants it; settings that no experiment names stay as they were."""
    desired = document.get("_Stop", {}).get("Variants", ())
    every = {variant["VariantName"]: variant for variant in [*document["ModelVariants"], *desired]}
    former: dict[str, Any] = next((one for one in document["_Before"].get("ProductionVariants", ()) if one["VariantName"] == name), {})
    infrastructure = every[name]["InfrastructureConfig"]["RealTimeInferenceConfig"]
    return {
        **former,
        "VariantName": name,
        "ModelName": every[name]["ModelName"],
        "InstanceType": infrastructure["InstanceType"],
        "InitialInstanceCount": infrastructure["InstanceCount"],
        "InitialVariantWeight": weight,
    }


def _others(document: dict[str, Any], *, capture: bool) -> dict[str, Any]:
    """What else the endpoint's configuration says; while the test runs, the experiment's data capture."""
    members = {member: document["_Before"][member] for member in KEPT_MEMBERS if document["_Before"].get(member)}
    if document.get("KmsKey"):
        members["KmsKeyId"] = document["KmsKey"]
    storage = document.get("DataStorageConfig")
    if capture and storage:
        config = {"EnableCapture": True, "InitialSamplingPercentage": 100, "DestinationS3Uri": storage["Destination"]}
        config["CaptureOptions"] = [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]
        given = {"KmsKeyId": storage.get("KmsKey"), "CaptureContentTypeHeader": storage.get("ContentType")}
        members["DataCaptureConfig"] = config | {name: value for name, value in given.items() if value}
    return members


def _config_of(ctx: Ctx, name: str) -> dict[str, Any]:
    """The endpoint's configuration before the test; users may have deleted it."""
    try:
        return ctx.call("sagemaker", "DescribeEndpointConfig", {"EndpointConfigName": name})
    except AwsError:
        return {}


def _create_config(ctx: Ctx, role: str, wanted: dict[str, Any]) -> None:
    try:
        ctx.call("sagemaker", "CreateEndpointConfig", wanted, as_role=role)
    except AwsError as error:
        if "already existing" not in error.message:
            raise
