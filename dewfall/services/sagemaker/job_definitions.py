"""Monitoring job definitions of all four kinds: what a schedule runs. Create, describe, list, delete.

Why one file: the kinds differ only in how their members are called.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.rules import monitoring
from dewfall.services.common import drop_tags, order, page, put_tags, select, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.endpoint_status import endpoint_key
from dewfall.services.sagemaker.training_checks import ROLE

# MonitoringType → record kind, which is the resource of the ARN, too
KINDS = {
    "DataQuality": "data-quality-job-definition",
    "ModelQuality": "model-quality-job-definition",
    "ModelBias": "model-bias-job-definition",
    "ModelExplainability": "model-explainability-job-definition",
}


def create(ctx: Ctx, req: dict[str, Any], monitors: str) -> dict[str, Any]:
    """Check and record a definition; its ARN."""
    _check(req, monitors)
    name = req["JobDefinitionName"]
    arn = definition_arn(ctx, monitors, name)
    document = {member: value for member, value in req.items() if member != "Tags"} | {"JobDefinitionArn": arn, "CreationTime": ctx.now()}
    document.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": 3600})
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(Record(definition_key(ctx, monitors, name), document))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
    except AlreadyExists:
        raise AwsError("ResourceInUse", f"Job Definition {name} already exists: {arn}") from None
    return {"JobDefinitionArn": arn}


def describe(ctx: Ctx, req: dict[str, Any], monitors: str) -> dict[str, Any]:
    """A definition."""
    with ctx.ports.store.reading() as tx:
        return load(ctx, tx, monitors, req["JobDefinitionName"]).document


def list_all(ctx: Ctx, req: dict[str, Any], monitors: str) -> dict[str, Any]:
    """Definitions, also of one endpoint."""
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KINDS[monitors])
    if req.get("EndpointName"):
        records = [record for record in records if endpoint_of(record.document, monitors) == req["EndpointName"]]
    shown, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    summaries = [
        {
            "MonitoringJobDefinitionName": record.key.name,
            "MonitoringJobDefinitionArn": record.document["JobDefinitionArn"],
            "CreationTime": record.document["CreationTime"],
            "EndpointName": endpoint_of(record.document, monitors),
        }
        for record in shown
    ]
    return with_token({"JobDefinitionSummaries": summaries}, token)


def delete(ctx: Ctx, req: dict[str, Any], monitors: str) -> None:
    """Forget a definition that no schedule uses."""
    name = req["JobDefinitionName"]
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, monitors, name)
        for schedule in tx.records.list(ctx.account, ctx.region, "sagemaker", "monitoring-schedule"):
            held = schedule.document["MonitoringScheduleConfig"]
            if (held.get("MonitoringJobDefinitionName"), held.get("MonitoringType")) == (name, monitors):
                raise AwsError("ResourceInUse", f"Job Definition {name} is in use by monitoring schedule {schedule.key.name}.")
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document["JobDefinitionArn"])


def load(ctx: Ctx, tx: Tx, monitors: str, name: str) -> Record:
    """A definition's record; AWS's error when there is none."""
    record = tx.records.get(definition_key(ctx, monitors, name))
    if record is None:
        raise AwsError("ResourceNotFound", f"Could not find job definition with name: {name}")
    return record


def definition_key(ctx: Ctx, monitors: str, name: str) -> Key:
    """Where a definition is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", KINDS[monitors], name)


def definition_arn(ctx: Ctx, monitors: str, name: str) -> str:
    """AWS's name of a definition."""
    return ctx.arn("sagemaker", f"{KINDS[monitors]}/{name.lower()}")


def endpoint_of(document: dict[str, Any], monitors: str) -> str:
    """The endpoint that a definition watches; "" for batch transform."""
    return str(document[f"{monitors}JobInput"].get("EndpointInput", {}).get("EndpointName", ""))


def check_endpoint(ctx: Ctx, tx: Tx, name: str) -> None:
    """The endpoint that a schedule is to watch is there; "" for batch transform. Raises AWS's error."""
    if name and tx.records.get(endpoint_key(ctx, name)) is None:
        raise validation(f"Endpoint '{name}' does not exist or is not valid")


def _check(req: dict[str, Any], monitors: str) -> None:
    if not ROLE.match(req["RoleArn"]):
        raise validation(f"Invalid role ARN: {req['RoleArn']}")
    check_input(req[f"{monitors}JobInput"])
    if monitors == "ModelQuality":
        _check_answers(req)
    if len(req[f"{monitors}JobOutputConfig"]["MonitoringOutputs"]) != 1:
        raise validation("Exactly one monitoring output must be specified.")


def _check_answers(req: dict[str, Any]) -> None:
    """An endpoint's answers are found by an attribute, where the kind of problem is told. Raises AWS's error."""
    source = req["ModelQualityJobInput"].get("EndpointInput")
    enough = {
        "Regression": ("InferenceAttribute",),
        "MulticlassClassification": ("InferenceAttribute",),
        "BinaryClassification": ("InferenceAttribute", "ProbabilityAttribute"),
    }.get(req["ModelQualityAppSpecification"].get("ProblemType", ""), ())
    if source and enough and not any(source.get(member) for member in enough):
        missing = "CreateModelQualityJobDefinitionInput.ModelQualityJobInputs.EndpointInput.InferenceAttribute"
        raise validation(f"InvalidParameter: 1 validation error(s) found.\n- missing required field, {missing}.\n")


def check_input(given: dict[str, Any]) -> None:
    """One source, with offsets that are durations. Raises AWS's error."""
    if bool(given.get("EndpointInput")) == bool(given.get("BatchTransformInput")):
        raise validation("Exactly one of EndpointInput or BatchTransformInput must be specified.")
    source = given.get("EndpointInput") or given["BatchTransformInput"]
    for member in ("StartTimeOffset", "EndTimeOffset"):
        try:
            monitoring.duration(source.get(member) or "PT0H")
        except ValueError:
            raise validation(f"The {member} '{source[member]}' is not an ISO 8601 duration, such as -PT1H or -P1D.") from None


@operation("sagemaker", "CreateDataQualityJobDefinition")
def create_data_quality_job_definition(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return create(ctx, req, "DataQuality")


@operation("sagemaker", "DescribeDataQualityJobDefinition")
def describe_data_quality_job_definition(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return describe(ctx, req, "DataQuality")


@operation("sagemaker", "ListDataQualityJobDefinitions")
def list_data_quality_job_definitions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return list_all(ctx, req, "DataQuality")


@operation("sagemaker", "DeleteDataQualityJobDefinition")
def delete_data_quality_job_definition(ctx: Ctx, req: dict[str, Any]) -> None:
    delete(ctx, req, "DataQuality")


@operation("sagemaker", "CreateModelQualityJobDefinition")
def create_model_quality_job_definition(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return create(ctx, req, "ModelQuality")


@operation("sagemaker", "DescribeModelQualityJobDefinition")
def describe_model_quality_job_definition(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return describe(ctx, req, "ModelQuality")


@operation("sagemaker", "ListModelQualityJobDefinitions")
def list_model_quality_job_definitions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return list_all(ctx, req, "ModelQuality")


@operation("sagemaker", "DeleteModelQualityJobDefinition")
def delete_model_quality_job_definition(ctx: Ctx, req: dict[str, Any]) -> None:
    delete(ctx, req, "ModelQuality")


@operation("sagemaker", "CreateModelBiasJobDefinition")
def create_model_bias_job_definition(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return create(ctx, req, "ModelBias")


@operation("sagemaker", "DescribeModelBiasJobDefinition")
def describe_model_bias_job_definition(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return describe(ctx, req, "ModelBias")


@operation("sagemaker", "ListModelBiasJobDefinitions")
def list_model_bias_job_definitions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return list_all(ctx, req, "ModelBias")


@operation("sagemaker", "DeleteModelBiasJobDefinition")
def delete_model_bias_job_definition(ctx: Ctx, req: dict[str, Any]) -> None:
    delete(ctx, req, "ModelBias")


@operation("sagemaker", "CreateModelExplainabilityJobDefinition")
def create_model_explainability_job_definition(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return create(ctx, req, "ModelExplainability")


@operation("sagemaker", "DescribeModelExplainabilityJobDefinition")
def describe_model_explainability_job_definition(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return describe(ctx, req, "ModelExplainability")


@operation("sagemaker", "ListModelExplainabilityJobDefinitions")
def list_model_explainability_job_definitions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return list_all(ctx, req, "ModelExplainability")


@operation("sagemaker", "DeleteModelExplainabilityJobDefinition")
def delete_model_explainability_job_definition(ctx: Ctx, req: dict[str, Any]) -> None:
    delete(ctx, req, "ModelExplainability")
