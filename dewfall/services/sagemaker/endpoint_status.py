"""An endpoint's document: what DescribeEndpoint answers, and the fleets behind it, which only we see.

    _Fleet     the replicas that serve: configuration and containers as they were when the deployment was asked for
    _Incoming  the fleet that is to take its place once it is ready; _Deployment says how far that has come

Why the containers are copied: on AWS, too, a deleted model or configuration does not change a running endpoint.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import validation
from dewfall.services.common import tag_map
from dewfall.services.sagemaker.endpoint_configs import load_config
from dewfall.services.sagemaker.endpoint_variants import model_members
from dewfall.services.sagemaker.serverless import fleet_members

KIND = "endpoint"
REASON_LIMIT = 1024
IN_MOTION = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
HEALTH_SECONDS = 600

STATE_CHANGE, DEPLOYMENT_CHANGE = "SageMaker Endpoint State Change", "SageMaker Endpoint Deployment State Change"
# What an event's detail has of the document.
EVENT_MEMBERS = ("EndpointName", "EndpointArn", "EndpointConfigName", "ProductionVariants", "FailureReason", "CreationTime", "LastModifiedTime")


def endpoint_key(ctx: Ctx, name: str) -> Key:
    """An endpoint's record."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def endpoint_arn(ctx: Ctx, name: str) -> str:
    """An endpoint's ARN."""
    return ctx.arn("sagemaker", f"endpoint/{name}")


def load_endpoint(ctx: Ctx, tx: Tx, name: str) -> Record:
    """An endpoint's record; AWS's error when there is none."""
    record = tx.records.get(endpoint_key(ctx, name))
    if record is None:
        raise validation(f'Could not find endpoint "{endpoint_arn(ctx, name)}".')
    return record


def new_fleet(ctx: Ctx, tx: Tx, config_name: str) -> dict[str, Any]:
    """The fleet that a configuration asks for. Raises AWS's errors for what is missing, and ours for what cannot be served."""
    config = load_config(ctx, tx, config_name).document
    variants = [_variant(ctx, tx, wanted) for wanted in config["ProductionVariants"]]
    fleet = {"Id": str(int(ctx.now().timestamp() * 1000)), "EndpointConfigName": config_name, "Variants": variants}
    if config.get("ShadowProductionVariants"):
        fleet["Shadows"] = [_variant(ctx, tx, wanted) for wanted in config["ShadowProductionVariants"]]
    if config.get("ExecutionRoleArn"):
        fleet["Role"] = config["ExecutionRoleArn"]
    if "DataCaptureConfig" in config:
        fleet["DataCapture"] = config["DataCaptureConfig"]
    if "MetricsConfig" in config:
        fleet["Metrics"] = config["MetricsConfig"]
    if "AsyncInferenceConfig" in config:
        fleet["Async"] = config["AsyncInferenceConfig"]
    if "ExplainerConfig" in config:
        fleet["Explainer"] = config["ExplainerConfig"]
        for variant in variants:
            variant["Explainer"] = config["ExplainerConfig"]
    return fleet


def _variant(ctx: Ctx, tx: Tx, wanted: dict[str, Any]) -> dict[str, Any]:
    return {
        "VariantName": wanted["VariantName"],
        "ModelName": wanted.get("ModelName"),
        "InstanceType": wanted.get("InstanceType"),
        "Count": wanted.get("InitialInstanceCount"),
        "Weight": float(wanted["InitialVariantWeight"]),
        "HealthSeconds": wanted.get("ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_SECONDS),
        "RoutingConfig": wanted.get("RoutingConfig"),
        "ManagedInstanceScaling": wanted.get("ManagedInstanceScaling"),
        **(model_members(ctx, tx, wanted["ModelName"]) if wanted.get("ModelName") else {"ContainerLabel": "primary"}),
        **(fleet_members(wanted) if "ServerlessConfig" in wanted else {}),
    }


def every_variant(fleet: dict[str, Any]) -> list[dict[str, Any]]:
    """Variants that have replicas: those of production, and the shadow."""
    return [*fleet["Variants"], *fleet.get("Shadows", ())]


def first_document(ctx: Ctx, name: str, fleet: dict[str, Any]) -> dict[str, Any]:
    """What DescribeEndpoint answers right after the creation."""
    now = ctx.now()
    return {
        "EndpointName": name,
        "EndpointArn": endpoint_arn(ctx, name),
        "EndpointConfigName": fleet["EndpointConfigName"],
        "EndpointStatus": "Creating",
        "CreationTime": now,
        "LastModifiedTime": now,
        "_Incoming": fleet,
    }


def show_variants(document: dict[str, Any], at: datetime) -> None:
    """ProductionVariants and ShadowProductionVariants of a fleet that has reached what it wants."""
    fleet = document["_Fleet"]
    document["ProductionVariants"] = [summary(variant, at) for variant in fleet["Variants"]]
    document.pop("ShadowProductionVariants", None)
    if fleet.get("Shadows"):
        document["ShadowProductionVariants"] = [summary(variant, at) for variant in fleet["Shadows"]]


def summary(variant: dict[str, Any], at: datetime) -> dict[str, Any]:
    """One entry of ProductionVariants."""
    containers = variant.get("Containers") or ([variant["Container"]] if "Container" in variant else [])
    images = [container["Image"] for container in containers]
    found = {
        "VariantName": variant["VariantName"],
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": at} for image in images],
        "CurrentWeight": variant["Weight"],
        "DesiredWeight": variant["Weight"],
        "CurrentInstanceCount": variant["Count"],
        "DesiredInstanceCount": variant["Count"],
    }
    if not images:
        del found["DeployedImages"]
    if variant.get("ManagedInstanceScaling"):
        found["ManagedInstanceScaling"] = variant["ManagedInstanceScaling"]
    if variant["RoutingConfig"]:
        found["RoutingConfig"] = variant["RoutingConfig"]
    return found


def pending_summary(fleet: dict[str, Any], at: datetime) -> dict[str, Any]:
    """PendingDeploymentSummary of a deployment that has begun."""
    variants = []
    for variant in every_variant(fleet):
        status = {"Status": "Creating", "StatusMessage": f"Launching {variant['Count']} instance(s).", "StartTime": at}
        entry = summary(variant, at) | {"CurrentWeight": 0.0, "CurrentInstanceCount": 0, "VariantStatus": [status]}
        if variant.get("InstanceType"):
            entry["InstanceType"] = variant["InstanceType"]
        variants.append(entry)
    count = len(fleet["Variants"])
    shadows = {"ShadowProductionVariants": variants[count:]} if variants[count:] else {}
    return {"EndpointConfigName": fleet["EndpointConfigName"], "ProductionVariants": variants[:count], "StartTime": at, **shadows}


def metrics_summary(document: dict[str, Any]) -> dict[str, Any]:
    """MetricsConfig in DescribeEndpoint; empty where the configuration has none."""
    config = (document.get("_Fleet") or document.get("_Incoming") or {}).get("Metrics")
    return {"MetricsConfig": config} if config else {}


def save(ctx: Ctx, tx: Tx, record: Record) -> Record:
    """Save the record after a change of its document, and tell EventBridge."""
    record.status = record.document["EndpointStatus"]
    record.document["LastModifiedTime"] = ctx.now()
    saved = tx.records.save(record)
    tell(ctx, tx, record.document)
    return saved


def save_stage(ctx: Ctx, tx: Tx, record: Record) -> Record:
    """Save the record of a deployment that has come to another stage; the endpoint's own status is as before."""
    record.document["LastModifiedTime"] = ctx.now()
    saved = tx.records.save(record)
    _emit(ctx, tx, record.document, DEPLOYMENT_CHANGE)
    return saved


def tell(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> None:
    """Emit AWS's event of a changed endpoint, and where something is under way, the one of its deployment."""
    _emit(ctx, tx, document, STATE_CHANGE)
    if "PendingDeploymentSummary" in document or any("VariantStatus" in entry for entry in document.get("ProductionVariants", ())):
        _emit(ctx, tx, document, DEPLOYMENT_CHANGE)


def _emit(ctx: Ctx, tx: Tx, document: dict[str, Any], kind: str) -> None:
    """Statuses are written otherwise in events: IN_SERVICE."""
    members = (*EVENT_MEMBERS, "PendingDeploymentSummary") if kind == DEPLOYMENT_CHANGE else EVENT_MEMBERS
    detail = {member: _event_value(document[member]) for member in members if member in document}
    detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", document["EndpointStatus"]).upper()
    event = {
        "version": "0",
        "id": new_uuid(),
        "detail-type": kind,
        "source": "aws.sagemaker",
        "account": ctx.account,
        "time": ctx.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": ctx.region,
        "resources": [document["EndpointArn"]],
        "detail": {**detail, "Tags": tag_map(tx, ctx, document["EndpointArn"])},
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
