"""Models: an image, model data in S3 and an environment under a name. Create, describe, list, delete.

Why the data is looked for here: AWS refuses a model whose data is missing, and an endpoint that fails later would say less.
"""

from __future__ import annotations

import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, not_built, validation
from dewfall.services.common import drop_tags, order, page, put_tags, select, with_token
from dewfall.services.registry import operation
from dewfall.settings import DEFAULT_ROLE

KIND = "model"
ROLE = re.compile(r"^arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$")
HTTPS_URL = re.compile(r"^https://(?:([a-z0-9][a-z0-9.-]*)\.)?s3(?:[.-][a-z0-9.-]+)?\.amazonaws\.com(?:\.cn)?/(.+)$")
KEPT_MEMBERS = ("PrimaryContainer", "Containers", "InferenceExecutionConfig", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")


@operation("sagemaker", "CreateModel")
def create_model(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, arn = req["ModelName"], model_arn(ctx, req["ModelName"])
    if bool(req.get("PrimaryContainer")) == bool(req.get("Containers")):
        raise validation("Exactly one of PrimaryContainer or Containers must be specified.")
    role = req.get("ExecutionRoleArn")
    if role is not None and not ROLE.match(role):
        raise validation(f"Invalid role ARN: {role}")
    containers = [_filled(one) for container in req.get("Containers") or [req["PrimaryContainer"]] for one in _resolved(ctx, container)]
    _check_hostnames(containers)
    _check_execution(req, containers)
    for container in containers:
        check_model_data(ctx, container)
    document = {"ModelName": name, "ModelArn": arn, "CreationTime": ctx.now(), "EnableNetworkIsolation": False}
    document |= {member: req[member] for member in KEPT_MEMBERS if req.get(member) is not None}
    document.pop("PrimaryContainer", None)
    document |= {"Containers": containers} if req.get("Containers") or len(containers) > 1 else {"PrimaryContainer": containers[0]}
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(Record(model_key(ctx, name), document))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
    except AlreadyExists:
        raise validation(f'Cannot create already existing model "{arn}".') from None
    return {"ModelArn": arn}


@operation("sagemaker", "DescribeModel")
def describe_model(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load_model(ctx, tx, req["ModelName"]).document


@operation("sagemaker", "ListModels")
def list_models(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    shown, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    members = ("ModelName", "ModelArn", "CreationTime")
    return with_token({"Models": [{member: record.document[member] for member in members} for record in shown]}, token)


@operation("sagemaker", "DeleteModel")
def delete_model(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load_model(ctx, tx, req["ModelName"])
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document["ModelArn"])


def load_model(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A model's record; AWS's error when there is none."""
    record = tx.records.get(model_key(ctx, name))
    if record is None:
        raise validation(f'Could not find model "{model_arn(ctx, name)}".')
    return record


def model_key(ctx: Ctx, name: str) -> Key:
    """A model's record."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def model_arn(ctx: Ctx, name: str) -> str:
    """A model's ARN."""
    return ctx.arn("sagemaker", f"model/{name}")


def model_role(ctx: Ctx, document: dict[str, Any]) -> str:
    """The role that the model's containers work for."""
    return document.get("ExecutionRoleArn") or f"arn:{ctx.partition}:iam::{ctx.account}:role/{DEFAULT_ROLE}"


def s3_uri(url: str) -> str:
    """An s3:// URI; AWS also takes the https forms of an object's address, with the bucket in the path or in the host's name."""
    match = HTTPS_URL.match(url)
    if not match:
        return url
    return f"s3://{match[1]}/{match[2]}" if match[1] else f"s3://{match[2]}"


def check_model_data(ctx: Ctx, container: dict[str, Any]) -> None:
    """Raise AWS's error unless the container's model data is there. A multi-model prefix may still be empty."""
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if container["Mode"] == "MultiModel" or source is None:
        return
    uri = source["S3Uri"]
    if not uri.startswith("s3://"):
        raise validation(f"Invalid model data URL: {uri}. It must have the form s3://bucket/key.")
    if source["S3DataType"] == "S3Prefix" and source["CompressionType"] == "Gzip":
        raise validation("S3DataType S3Prefix requires CompressionType None.")
    if not _exists(ctx, uri, is_prefix=source["S3DataType"] == "S3Prefix"):
        raise validation(f"Could not find model data at {uri}.")


def _exists(ctx: Ctx, uri: str, *, is_prefix: bool) -> bool:
    try:
        if is_prefix:
            return next(iter(ctx.ports.objects.list(uri)), None) is not None
        return ctx.ports.objects.get(uri) is not None
    except AwsError:
        return False


def _resolved(ctx: Ctx, container: dict[str, Any]) -> list[dict[str, Any]]:
    """The container as it is given, or those of the model package that it names."""
    from dewfall.services.sagemaker.model_packages import package_containers

    if bool(container.get("Image")) == bool(container.get("ModelPackageName")):
        raise validation("Specify one of either Image and Model Data URL or ModelPackageName in container definition.")
    return package_containers(ctx, container) if container.get("ModelPackageName") else [container]


def _filled(container: dict[str, Any]) -> dict[str, Any]:
    """A container definition with the members that AWS fills in."""
    if container.get("AdditionalModelDataSources"):
        raise not_built("additional model data sources")
    filled = {"Mode": "SingleModel", "Environment": {}, **container}
    if container.get("ModelDataUrl") and container.get("ModelDataSource"):
        raise validation("ModelDataUrl and ModelDataSource cannot be specified together.")
    if container.get("ModelDataUrl"):
        uri = s3_uri(container["ModelDataUrl"])
        kind = {"S3DataType": "S3Prefix", "CompressionType": "None"} if filled["Mode"] == "MultiModel" else {}
        filled["ModelDataSource"] = {"S3DataSource": {"S3Uri": uri, "S3DataType": "S3Object", "CompressionType": "Gzip", **kind}}
    return filled


def _check_execution(req: dict[str, Any], containers: list[dict[str, Any]]) -> None:
    """Requests name their container by its hostname, or go through all of them."""
    mode = req.get("InferenceExecutionConfig", {}).get("Mode")
    if mode == "Direct" and not all(container.get("ContainerHostname") for container in containers):
        raise validation("ContainerHostname must be specified for every container when InferenceExecutionConfig Mode is Direct.")
    many = [container for container in containers if container["Mode"] == "MultiModel"]
    if len(many) > 1:
        raise validation("Only one container of an inference pipeline can be in MultiModel mode.")
    if many and len(containers) > 1 and mode == "Direct":
        raise validation("A container in MultiModel mode cannot be specified when InferenceExecutionConfig Mode is Direct.")
    for container in containers:
        if container.get("MultiModelConfig") and container["Mode"] != "MultiModel":
            raise validation("MultiModelConfig can only be specified for a container in MultiModel mode.")
        if container["Mode"] == "MultiModel" and not container.get("ModelDataSource"):
            raise validation("ModelDataUrl must be specified for a container in MultiModel mode.")


def _check_hostnames(containers: list[dict[str, Any]]) -> None:
    names = [container["ContainerHostname"] for container in containers if container.get("ContainerHostname")]
    if len(set(names)) != len(names):
        raise validation("ContainerHostname must be unique among the containers of a model.")
