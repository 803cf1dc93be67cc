"""Endpoint configurations: which models an endpoint serves, on how many instances, with what share of the traffic.

Why so much is refused here: a configuration that asks for what Dewfall does not execute must not become an endpoint that pretends.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import not_built, validation
from dewfall.services.common import drop_tags, order, page, put_tags, select, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.async_configs import check_async, check_async_model
from dewfall.services.sagemaker.explainers import UNSUPPORTED, check_explained_model, check_explainer
from dewfall.services.sagemaker.models import load_model
from dewfall.services.sagemaker.serverless import check_serverless, check_serverless_model

KIND = "endpoint-config"
KEPT_MEMBERS = (
    "KmsKeyId",
    "ExecutionRoleArn",
    "VpcConfig",
    "EnableNetworkIsolation",
    "DataCaptureConfig",
    "MetricsConfig",
    "AsyncInferenceConfig",
    "ExplainerConfig",
)

# Members that would change what the endpoint does, and are not built: member → what to say.
NOT_BUILT = {
    "CrossRegionTrafficConfig": "traffic across regions",
}
VARIANT_NOT_BUILT = {
    "InstancePools": "instance pools",
    "CapacityReservationConfig": "capacity reservations",
    "AcceleratorPartitionLayouts": "accelerator partitions",
    "CoreDumpConfig": "core dumps of replicas",
}
METRICS_NOT_BUILT = {
    "EnableEnhancedMetrics": "enhanced metrics (MetricsConfig)",
    "EnableDetailedObservability": "detailed observability (MetricsConfig)",
}


@operation("sagemaker", "CreateEndpointConfig")
def create_endpoint_config(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, arn = req["EndpointConfigName"], config_arn(ctx, req["EndpointConfigName"])
    _check_built(req)
    check_async(req)
    check_explainer(req)
    check_serverless(req)
    variants = [{"InitialVariantWeight": 1.0, **variant} for variant in req["ProductionVariants"]]
    shadows = [{"InitialVariantWeight": 1.0, **variant} for variant in req.get("ShadowProductionVariants", ())]
    _check_variants(ctx, variants, shadows, explained=bool(req.get("ExplainerConfig")), is_async="AsyncInferenceConfig" in req)
    document = {
        "EndpointConfigName": name,
        "EndpointConfigArn": arn,
        "ProductionVariants": variants,
        "CreationTime": ctx.now(),
        "EnableNetworkIsolation": False,
    }
    if shadows:
        document["ShadowProductionVariants"] = shadows
    document |= {member: req[member] for member in KEPT_MEMBERS if req.get(member) is not None}
    if "DataCaptureConfig" in document:
        document["DataCaptureConfig"] = {"EnableCapture": True, **document["DataCaptureConfig"]}
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(Record(config_key(ctx, name), document))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
    except AlreadyExists:
        raise validation(f'Cannot create already existing endpoint configuration "{arn}".') from None
    return {"EndpointConfigArn": arn}


@operation("sagemaker", "DescribeEndpointConfig")
def describe_endpoint_config(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load_config(ctx, tx, req["EndpointConfigName"]).document


@operation("sagemaker", "ListEndpointConfigs")
def list_endpoint_configs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    shown, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
    return with_token({"EndpointConfigs": [{member: record.document[member] for member in members} for record in shown]}, token)


@operation("sagemaker", "DeleteEndpointConfig")
def delete_endpoint_config(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load_config(ctx, tx, req["EndpointConfigName"])
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document["EndpointConfigArn"])


def load_config(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A configuration's record; AWS's error when there is none."""
    record = tx.records.get(config_key(ctx, name))
    if record is None:
        raise validation(f'Could not find endpoint configuration "{config_arn(ctx, name)}".')
    return record


def config_key(ctx: Ctx, name: str) -> Key:
    """A configuration's record."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def config_arn(ctx: Ctx, name: str) -> str:
    """A configuration's ARN."""
    return ctx.arn("sagemaker", f"endpoint-config/{name}")


def _check_built(req: dict[str, Any]) -> None:
    for member, what in NOT_BUILT.items():
        if req.get(member):
            raise not_built(what)
    for variant in [*req["ProductionVariants"], *req.get("ShadowProductionVariants", ())]:
        for member, what in VARIANT_NOT_BUILT.items():
            if variant.get(member):
                raise not_built(what)
        if variant.get("ModelName") and variant.get("ManagedInstanceScaling"):
            raise validation("ManagedInstanceScaling is only supported for inference component endpoints.")
    for member, what in METRICS_NOT_BUILT.items():
        if req.get("MetricsConfig", {}).get(member):
            raise not_built(what)
    _check_components(req)


def _check_components(req: dict[str, Any]) -> None:
    """Variants without a model are for inference components: all of them or none, and the role is the configuration's."""
    without = [variant for variant in req["ProductionVariants"] if not variant.get("ModelName")]
    if without and len(without) < len(req["ProductionVariants"]):
        raise validation("Either all production variants must have a ModelName, or none of them.")
    if without and not req.get("ExecutionRoleArn"):
        raise validation("ExecutionRoleArn must be specified when production variants have no ModelName.")
    if not all(variant.get("ModelName") for variant in req.get("ShadowProductionVariants", ())):
        raise validation("ModelName is required for shadow production variants.")
    for variant in without:
        if variant.get("ServerlessConfig"):
            raise validation(f"ModelName is required for serverless production variant {variant['VariantName']}.")
        scaling = variant.get("ManagedInstanceScaling", {})
        if scaling.get("MinInstanceCount", 0) > scaling.get("MaxInstanceCount", scaling.get("MinInstanceCount", 0)):
            raise validation("MinInstanceCount must not be greater than MaxInstanceCount in ManagedInstanceScaling.")


def _check_variants(ctx: Ctx, variants: list[dict[str, Any]], shadows: list[dict[str, Any]], *, explained: bool, is_async: bool) -> None:
    if shadows and (len(variants) > 1 or len(shadows) > 1):
        raise validation("Only one variant can be specified for ProductionVariants and one for ShadowProductionVariants if shadow variants are used.")
    names = [variant["VariantName"] for variant in [*variants, *shadows]]
    if len(set(names)) != len(names):
        raise validation("Variant names must be unique within an endpoint configuration.")
    for variant in [*variants, *shadows]:
        if variant.get("ServerlessConfig"):
            with ctx.ports.store.reading() as tx:
                check_serverless_model(load_model(ctx, tx, variant["ModelName"]).document)
            continue
        if not variant.get("InstanceType") or not variant.get("InitialInstanceCount"):
            raise validation(f"InstanceType and InitialInstanceCount are required for production variant {variant['VariantName']}.")
        if not variant.get("ModelName"):
            continue
        with ctx.ports.store.reading() as tx:
            model = load_model(ctx, tx, variant["ModelName"]).document
        if is_async:
            check_async_model(model)
        if explained:
            check_explained_model(model)
        containers = model.get("Containers") or [model["PrimaryContainer"]]
        if shadows and (len(containers) > 1 or containers[0]["Mode"] == "MultiModel"):
            raise validation(UNSUPPORTED)
    if all(variant["InitialVariantWeight"] == 0 for variant in variants):
        raise validation("At least one production variant must have an InitialVariantWeight greater than 0.")
