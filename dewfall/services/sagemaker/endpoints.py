"""Endpoints as users see them: create, describe, list, update, change weights and capacities, delete.

The replicas are started and watched by endpoint_step.py; requests to them go through engine/serving.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Record, Tx
from dewfall.errors import validation
from dewfall.services.common import order, page, put_tags, select, transact, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker import endpoint_logs, serverless
from dewfall.services.sagemaker.async_configs import async_summary, check_async_stays
from dewfall.services.sagemaker.data_capture import capture_summary, retain_capture
from dewfall.services.sagemaker.endpoint_deployment import begin, check_alarms, check_deployment
from dewfall.services.sagemaker.endpoint_scaling import check_scaled, deregister
from dewfall.services.sagemaker.endpoint_status import (
    IN_MOTION,
    KIND,
    endpoint_arn,
    endpoint_key,
    every_variant,
    first_document,
    load_endpoint,
    metrics_summary,
    new_fleet,
    pending_summary,
    save,
    tell,
)
from dewfall.services.sagemaker.explainers import explainer_summary
from dewfall.services.sagemaker.inference_component_status import components_of
from dewfall.services.sagemaker.quotas import check_instances

SUMMARY = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
RETAINABLE = {"DesiredInstanceCount": "Count", "DesiredWeight": "Weight"}


@operation("sagemaker", "CreateEndpoint")
def create_endpoint(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, arn = req["EndpointName"], endpoint_arn(ctx, req["EndpointName"])
    with ctx.ports.store.reading() as tx:
        if tx.records.get(endpoint_key(ctx, name)):
            raise validation(f'Cannot create already existing endpoint "{arn}".')
        fleet = new_fleet(ctx, tx, req["EndpointConfigName"])
    check_deployment(req.get("DeploymentConfig"), fleet)
    _check_size(ctx, fleet)
    document = first_document(ctx, name, fleet)
    if req.get("DeploymentConfig"):
        document["LastDeploymentConfig"] = req["DeploymentConfig"]
    record = Record(endpoint_key(ctx, name), document, status="Creating")
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(record)
            put_tags(tx, ctx, arn, req.get("Tags", ()))
            tx.queue.put(KIND, record.key)
            tell(ctx, tx, document)
            endpoint_logs.open_streams(ctx, name, fleet)
    except AlreadyExists:
        raise validation(f'Cannot create already existing endpoint "{arn}".') from None
    return {"EndpointArn": arn}


@operation("sagemaker", "DescribeEndpoint")
def describe_endpoint(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = load_endpoint(ctx, tx, req["EndpointName"]).document
    if document["EndpointStatus"] == "Creating":
        document = {**document, "PendingDeploymentSummary": pending_summary(document["_Incoming"], document["CreationTime"])}
    configs = {**capture_summary(document), **async_summary(document), **explainer_summary(document), **metrics_summary(document)}
    return {**serverless.shown(document), **configs}


@operation("sagemaker", "ListEndpoints")
def list_endpoints(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    shown, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    return with_token({"Endpoints": [{member: record.document[member] for member in SUMMARY} for record in shown]}, token)


@operation("sagemaker", "UpdateEndpoint")
def update_endpoint(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """The new fleet takes the traffic over when it is ready, in the steps of the DeploymentConfig; if it never is, the old one serves on."""
    check_alarms(ctx, req.get("DeploymentConfig"))

    def update(ctx: Ctx, tx: Tx, record: Record) -> None:
        document = record.document
        fleet = new_fleet(ctx, tx, req["EndpointConfigName"])
        if any(variant["ModelName"] for variant in fleet["Variants"]) and components_of(ctx, tx, req["EndpointName"]):
            arn = document["EndpointArn"]
            raise validation(f'Cannot update endpoint "{arn}" to a configuration with models while it has inference components.')
        check_async_stays(req["EndpointName"], document["_Fleet"], fleet)
        check_scaled(ctx, tx, req["EndpointName"], document["_Fleet"], fleet)
        if req.get("RetainAllVariantProperties"):
            _retain(fleet, document["_Fleet"], req.get("ExcludeRetainedVariantProperties", ()))
            retain_capture(fleet, document["_Fleet"], req.get("ExcludeRetainedVariantProperties", ()))
        kept = document.get("LastDeploymentConfig") if req.get("RetainDeploymentConfig") else None
        config = req.get("DeploymentConfig") or kept
        check_deployment(config, fleet)
        _check_size(ctx, fleet, document["_Fleet"])
        document["_Incoming"], document["_Deployment"] = fleet, begin(ctx, config)
        document["EndpointStatus"] = "Updating"
        document["PendingDeploymentSummary"] = pending_summary(fleet, ctx.now())
        document.pop("FailureReason", None)
        document.pop("LastDeploymentConfig", None)
        if config:
            document["LastDeploymentConfig"] = config
        endpoint_logs.open_streams(ctx, record.key.name, fleet)

    return {"EndpointArn": change(ctx, req["EndpointName"], update)}


@operation("sagemaker", "UpdateEndpointWeightsAndCapacities")
def update_endpoint_weights_and_capacities(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    def update(ctx: Ctx, tx: Tx, record: Record) -> None:
        document = record.document
        variants = {variant["VariantName"]: variant for variant in every_variant(document["_Fleet"])}
        shown = {entry["VariantName"]: entry for entry in [*document["ProductionVariants"], *document.get("ShadowProductionVariants", ())]}
        check_variant_names([wanted["VariantName"] for wanted in req["DesiredWeightsAndCapacities"]], document)
        document["_Before"] = copy.deepcopy(document["_Fleet"])
        for wanted in req["DesiredWeightsAndCapacities"]:
            variant, entry = variants[wanted["VariantName"]], shown[wanted["VariantName"]]
            if wanted.get("ServerlessUpdateConfig"):
                serverless.update_variant(variant, wanted["ServerlessUpdateConfig"])
            if "Serverless" in variant and "DesiredInstanceCount" in wanted:
                raise validation(f"The variant {wanted['VariantName']} is serverless and has no instances.")
            if wanted.get("DesiredInstanceCount") == 0 and "Async" not in document["_Fleet"]:
                raise validation("DesiredInstanceCount must be at least 1.")
            if "DesiredWeight" in wanted:
                variant["Weight"] = entry["DesiredWeight"] = float(wanted["DesiredWeight"])
            if "DesiredInstanceCount" in wanted:
                variant["Count"] = entry["DesiredInstanceCount"] = wanted["DesiredInstanceCount"]
            entry["VariantStatus"] = [{"Status": "Updating", "StatusMessage": _updating(wanted, entry), "StartTime": ctx.now()}]
        _check_size(ctx, document["_Fleet"], document["_Before"])
        if not any(variant["Weight"] for variant in document["_Fleet"]["Variants"]):
            raise validation("At least one production variant must have a weight greater than 0.")
        document["EndpointStatus"] = "Updating"
        document.pop("FailureReason", None)

    return {"EndpointArn": change(ctx, req["EndpointName"], update)}


@operation("sagemaker", "DeleteEndpoint")
def delete_endpoint(ctx: Ctx, req: dict[str, Any]) -> None:
    name = req["EndpointName"]
    with ctx.ports.store.reading() as tx:
        _check_free(ctx, tx, load_endpoint(ctx, tx, name))
    deregister(ctx, name)
    with ctx.ports.store.transaction() as tx:
        record = load_endpoint(ctx, tx, name)
        _check_free(ctx, tx, record)
        record.document["EndpointStatus"] = "Deleting"
        save(ctx, tx, record)
        tx.queue.put(KIND, record.key)


def _check_free(ctx: Ctx, tx: Tx, record: Record) -> None:
    """Refuse to delete an endpoint that is in motion, or has inference components."""
    arn = record.document["EndpointArn"]
    if record.status in IN_MOTION:
        raise validation(f'Cannot update in-progress endpoint "{arn}".')
    if components_of(ctx, tx, record.key.name):
        raise validation(f'Cannot delete endpoint "{arn}" while it has inference components. Delete its inference components first.')


def change(ctx: Ctx, name: str, how: Callable[[Ctx, Tx, Record], None]) -> str:
    """Change an endpoint that is in service, in one transaction; its ARN."""

    def act(tx: Tx) -> str:
        record = load_endpoint(ctx, tx, name)
        arn: str = record.document["EndpointArn"]
        if record.status in IN_MOTION:
            raise validation(f'Cannot update in-progress endpoint "{arn}".')
        if record.status != "InService":
            raise validation(f'Cannot update endpoint "{arn}" with status "{record.status}".')
        how(ctx, tx, record)
        save(ctx, tx, record)
        tx.queue.put(KIND, record.key)
        return arn

    return transact(ctx, act)


def check_variant_names(names: list[str], document: dict[str, Any]) -> None:
    """Each variant of the endpoint at most once."""
    known = {variant["VariantName"] for variant in every_variant(document["_Fleet"])}
    for name in names:
        if names.count(name) > 1:
            raise validation(f'The variant name "{name}" was non-unique within the request.')
        if name not in known:
            config = document["EndpointConfigName"]
            raise validation(f'The variant name(s) "{name}" is/are not present within endpoint configuration "{config}".')


def _check_size(ctx: Ctx, fleet: dict[str, Any], before: dict[str, Any] | None = None) -> None:
    """The quota on an endpoint's instances: what a fleet has beyond the one `before`."""
    fleets = (every_variant(one) if one else () for one in (fleet, before))
    now, then = (sum(variant["Count"] for variant in variants if "Serverless" not in variant) for variants in fleets)
    check_instances(ctx, "endpoint", now - then, then)


def _updating(wanted: dict[str, Any], entry: dict[str, Any]) -> str:
    """What VariantStatus says of a change of weight or capacity."""
    count, present = wanted.get("DesiredInstanceCount"), entry["CurrentInstanceCount"]
    if count is None or count == present:
        return f"Updating the weight to {entry['DesiredWeight']}."
    return f"Scaling {'out' if count > present else 'in'} desired instance count to {count}."


def _retain(fleet: dict[str, Any], old: dict[str, Any], excluded: Any) -> None:
    """RetainAllVariantProperties: variants of the same name keep the weight and capacity that they have now. Serverless ones have no capacity."""
    kept = {member for kind, member in RETAINABLE.items() if kind not in {item["VariantPropertyType"] for item in excluded}}
    before = {variant["VariantName"]: variant for variant in every_variant(old)}
    for variant in every_variant(fleet):
        former = before.get(variant["VariantName"], variant)
        for member in kept:
            if member == "Weight" or not ("Serverless" in variant or "Serverless" in former):
                variant[member] = former[member]
