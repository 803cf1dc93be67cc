"""An inference component's document: what DescribeInferenceComponent answers, and the generations behind it, which only we see.

_Serving   what the copies run: model and container as they were when they were asked for
_Incoming  what is to take their place, copy by copy; `Moved` of them are allowed so far, since `Since`
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import validation
from dewfall.services.sagemaker.endpoint_variants import model_members
from dewfall.services.sagemaker.models import model_role, s3_uri

KIND = "inference-component"
IN_MOTION = ("Creating", "Updating", "Deleting")
HEALTH_SECONDS = 600
STATUSES = {"InService": "IN_SERVICE"}  # in events


def component_key(ctx: Ctx, name: str) -> Key:
    """A component's record."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def component_arn(ctx: Ctx, name: str) -> str:
    """A component's ARN."""
    return ctx.arn("sagemaker", f"inference-component/{name}")


def load_component(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A component's record; AWS's error when there is none."""
    record = tx.records.get(component_key(ctx, name))
    if record is None:
        raise validation(f'Could not find inference component "{component_arn(ctx, name)}".')
    return record


def components_of(ctx: Ctx, tx: Tx, endpoint: str) -> list[Record]:
    """All components of an endpoint."""
    return tx.records.list(ctx.account, ctx.region, "sagemaker", KIND, parent=endpoint)


def save(ctx: Ctx, tx: Tx, record: Record) -> Record:
    """Save the record after a change of its document, and tell EventBridge."""
    document = record.document
    document["LastModifiedTime"] = ctx.now()
    record.status = document["InferenceComponentStatus"]
    saved = tx.records.save(record)
    tell(ctx, tx, document)
    return saved


def tell(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> None:
    """Emit AWS's event of a changed component."""
    members = ("InferenceComponentName", "InferenceComponentArn", "EndpointName", "EndpointArn", "VariantName", "InferenceComponentStatus")
    detail = {member: document[member] for member in (*members, "FailureReason") if member in document}
    detail["InferenceComponentStatus"] = STATUSES.get(document["InferenceComponentStatus"], document["InferenceComponentStatus"].upper())
    event = {
        "version": "0",
        "id": new_uuid(),
        "detail-type": "SageMaker Inference Component State Change",
        "source": "aws.sagemaker",
        "account": ctx.account,
        "time": ctx.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": ctx.region,
        "resources": [document["InferenceComponentArn"]],
        "detail": detail,
    }
    tx.outbox.put("aws.events", ctx.account, ctx.region, event)


def new_generation(ctx: Ctx, tx: Tx, endpoint: dict[str, Any], variant: dict[str, Any], specification: dict[str, Any]) -> dict[str, Any]:
    """What copies run of a specification: a fleet's variant, of one container. Raises AwsError for what is missing or cannot be served."""
    startup = specification.get("StartupParameters", {})
    members = _container_members(ctx, tx, endpoint, specification)
    if "Containers" in members or members["Container"]["Mode"] == "MultiModel":
        raise validation("An inference component's model must have one container in SingleModel mode.")
    return {
        "Id": str(int(ctx.now().timestamp() * 1000)),
        "VariantName": variant["VariantName"],
        "InstanceType": variant["InstanceType"],
        "HealthSeconds": startup.get("ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_SECONDS),
        "RoutingConfig": variant["RoutingConfig"],
        "Needs": specification.get("ComputeResourceRequirements", {}),
        **members,
    }


def _container_members(ctx: Ctx, tx: Tx, endpoint: dict[str, Any], specification: dict[str, Any]) -> dict[str, Any]:
    from dewfall.engine.runtimes import find_runtime

    given = specification.get("Container", {})
    members: dict[str, Any] = {}
    if specification.get("ModelName"):
        members = model_members(ctx, tx, specification["ModelName"])
        if not given:
            return members
    container = {"Mode": "SingleModel", "Environment": {}, **members.get("Container", {}), **{k: v for k, v in given.items() if k != "ArtifactUrl"}}
    if given.get("ArtifactUrl"):
        uri = s3_uri(given["ArtifactUrl"])
        kind = "S3Prefix" if uri.endswith("/") else "S3Object"
        source = {"S3Uri": uri, "S3DataType": kind, "CompressionType": "None" if kind == "S3Prefix" else "Gzip"}
        container["ModelDataSource"] = {"S3DataSource": source}
    if not container.get("Image"):
        raise validation("Specification must have a ModelName, or a Container with an Image.")
    if not find_runtime(container["Image"], ctx.ports.settings).serve_command:
        raise validation(f"The image {container['Image']} cannot serve a model here.")
    role = members.get("Role") or model_role(ctx, {"ExecutionRoleArn": endpoint["_Fleet"].get("Role")})
    return {"Container": container, "ContainerLabel": "primary", "Role": role}


def shown_specification(ctx: Ctx, specification: dict[str, Any], generation: dict[str, Any]) -> dict[str, Any]:
    """A specification as Describe shows it: the container with its deployed image."""
    shown = {member: value for member, value in specification.items() if member != "Container"}
    if specification.get("Container"):
        image = generation["Container"]["Image"]
        deployed = {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": ctx.now()}
        given = {member: value for member, value in specification["Container"].items() if member != "Image"}
        shown["Container"] = {"DeployedImage": deployed, **given}
    return shown
