"""Lineage that nobody has to write down: what jobs took in and put out, and which models endpoints serve.

data, image ─ContributedTo→ trial component of the job ─Produced→ model, data ─ContributedTo→ deployment ─AssociatedWith→ endpoint
model data, image, approval ─ContributedTo→ model package ─AssociatedWith→ group; model package ─ContributedTo→ deployment
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.services.sagemaker import lineage
from dewfall.services.sagemaker.associations import put

DATA, MODEL, IMAGE, CHECKPOINT = "DataSet", "Model", "Image", "Checkpoint"


def track_job(ctx: Ctx, tx: Tx, component: str, kind: str, document: dict[str, Any]) -> None:
    """A completed job: artifacts of what it read and wrote around its trial component. `kind`: training, processing, transform."""
    for uri, what in _inputs(kind, document):
        put(ctx, tx, _artifact(ctx, tx, uri, what), component, "ContributedTo")
    for uri, what in _outputs(kind, document):
        put(ctx, tx, component, _artifact(ctx, tx, uri, what), "Produced")


def track_endpoint(ctx: Ctx, tx: Tx, endpoint: dict[str, Any], models: list[dict[str, Any]]) -> None:
    """An endpoint in service: its context, the deployment that led to it, and the models' data that it serves."""
    name, arn = endpoint["EndpointName"], endpoint["EndpointArn"]
    source = {"SourceUri": arn, "SourceType": "ARN"}
    context = lineage.ensure(ctx, tx, lineage.CONTEXT, {"ContextName": f"{name}-aws-endpoint", "Source": source, "ContextType": "Endpoint"})
    action = lineage.ensure(
        ctx, tx, lineage.ACTION, {"ActionName": f"{name}-aws-endpoint", "Source": source, "ActionType": "ModelDeployment", "Status": "Completed"}
    )
    put(ctx, tx, action, context, "AssociatedWith")
    for model in models:
        for container in model.get("Containers") or [model.get("PrimaryContainer") or {}]:
            for artifact in _of_container(ctx, tx, container):
                put(ctx, tx, artifact, action, "ContributedTo")


def _of_container(ctx: Ctx, tx: Tx, container: dict[str, Any]) -> list[str]:
    """The artifacts of a container: its image, its model's data, the model package that it was made of."""
    source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    held = (
        (container.get("Image"), IMAGE),
        (container.get("ModelDataUrl") or source.get("S3Uri"), MODEL),
        (container.get("ModelPackageName"), MODEL),
    )
    return [_artifact(ctx, tx, uri, kind) for uri, kind in held if uri]


def _artifact(ctx: Ctx, tx: Tx, uri: str, kind: str) -> str:
    return lineage.ensure(ctx, tx, lineage.ARTIFACT, {"Source": {"SourceUri": uri}, "ArtifactType": kind})


def _inputs(kind: str, document: dict[str, Any]) -> list[tuple[str, str]]:
    image = document.get("AlgorithmSpecification", {}).get("TrainingImage") or document.get("AppSpecification", {}).get("ImageUri")
    found = [(image, IMAGE)] if image else []
    if kind == "training":
        sources = [channel["DataSource"].get("S3DataSource") for channel in document.get("InputDataConfig", ())]
    elif kind == "processing":
        sources = [given.get("S3Input") for given in document.get("ProcessingInputs", ())]
    else:
        sources = [document["TransformInput"]["DataSource"].get("S3DataSource")]
    return found + [(source["S3Uri"], DATA) for source in sources if source]


def _outputs(kind: str, document: dict[str, Any]) -> list[tuple[str, str]]:
    if kind == "training":
        found = [(document["ModelArtifacts"]["S3ModelArtifacts"], MODEL)] if document.get("ModelArtifacts") else []
        checkpoints = document.get("CheckpointConfig", {}).get("S3Uri")
        return found + ([(checkpoints, CHECKPOINT)] if checkpoints else [])
    if kind == "processing":
        outputs = document.get("ProcessingOutputConfig", {}).get("Outputs", ())
        return [(one["S3Output"]["S3Uri"], DATA) for one in outputs if "S3Output" in one]
    return [(document["TransformOutput"]["S3OutputPath"], DATA)]


def track_package(ctx: Ctx, tx: Tx, group: dict[str, Any], package: dict[str, Any]) -> None:
    """A new version of a model package group: the package, what it holds, its first approval status, and the group's context."""
    source = {"SourceUri": group["ModelPackageGroupArn"], "SourceType": "ARN"}
    name = f"{group['ModelPackageGroupName']}-aws-model-group"
    context = lineage.ensure(ctx, tx, lineage.CONTEXT, {"ContextName": name, "Source": source, "ContextType": "ModelGroup"})
    artifact = _artifact(ctx, tx, package["ModelPackageArn"], MODEL)
    put(ctx, tx, artifact, context, "AssociatedWith")
    for container in package.get("InferenceSpecification", {}).get("Containers", ()):
        for held in _of_container(ctx, tx, container):
            put(ctx, tx, held, artifact, "ContributedTo")
    track_approval(ctx, tx, package)


def track_approval(ctx: Ctx, tx: Tx, package: dict[str, Any]) -> None:
    """A status that a version of a model package group was given: an action of its own each time."""
    status, arn = package["ModelApprovalStatus"], package["ModelPackageArn"]
    name = f"{package['ModelPackageGroupName']}-{package['ModelPackageVersion']}-{status}-{int(ctx.now().timestamp())}-aws-model-package"
    about = {"Source": {"SourceUri": arn, "SourceType": "ARN"}, "Properties": {"ModelApprovalStatus": status}}
    action = lineage.ensure(ctx, tx, lineage.ACTION, {"ActionName": name, "ActionType": "Approval", "Status": "Completed", **about})
    put(ctx, tx, action, _artifact(ctx, tx, arn, MODEL), "ContributedTo")
