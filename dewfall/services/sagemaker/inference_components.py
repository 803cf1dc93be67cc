"""Inference components: models that share an endpoint's instances, each with copies of its own. Create, describe, list, update, delete.

The copies are started and watched by inference_component_step.py; requests to them go through engine/serving.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Record, Tx
from dewfall.errors import not_built, validation
from dewfall.services.common import order, page, put_tags, select, transact, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker import endpoint_logs
from dewfall.services.sagemaker.endpoint_status import load_endpoint
from dewfall.services.sagemaker.inference_component_status import (
    IN_MOTION,
    KIND,
    component_arn,
    component_key,
    load_component,
    new_generation,
    save,
    shown_specification,
    tell,
)

SUMMARY = (
    "InferenceComponentName",
    "InferenceComponentArn",
    "EndpointName",
    "EndpointArn",
    "VariantName",
    "InferenceComponentStatus",
    "CreationTime",
    "LastModifiedTime",
)
NOT_BUILT = {"BaseInferenceComponentName": "inference component adapters", "DataCacheConfig": "data caches of inference components"}


@operation("sagemaker", "CreateInferenceComponent")
def create_inference_component(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, arn = req["InferenceComponentName"], component_arn(ctx, req["InferenceComponentName"])
    specification = _specification(req)
    with ctx.ports.store.reading() as tx:
        endpoint = load_endpoint(ctx, tx, req["EndpointName"]).document
        if tx.records.get(component_key(ctx, name)):
            raise validation(f'Cannot create already existing inference component "{arn}".')
        variant = _variant(endpoint, req.get("VariantName"))
        generation = new_generation(ctx, tx, endpoint, variant, specification)
    now = ctx.now()
    document = {
        "InferenceComponentName": name,
        "InferenceComponentArn": arn,
        "EndpointName": endpoint["EndpointName"],
        "EndpointArn": endpoint["EndpointArn"],
        "VariantName": variant["VariantName"],
        "Specification": shown_specification(ctx, specification, generation),
        "RuntimeConfig": {"DesiredCopyCount": req.get("RuntimeConfig", {}).get("CopyCount", 1), "CurrentCopyCount": 0},
        "InferenceComponentStatus": "Creating",
        "CreationTime": now,
        "LastModifiedTime": now,
        "_Serving": generation,
        "_Asked": specification,
    }
    record = Record(component_key(ctx, name), document, status="Creating", parent=endpoint["EndpointName"])
    try:
        with ctx.ports.store.transaction() as tx:
            load_endpoint(ctx, tx, req["EndpointName"])
            tx.records.create(record)
            put_tags(tx, ctx, arn, req.get("Tags", ()))
            tx.queue.put(KIND, record.key)
            tell(ctx, tx, document)
    except AlreadyExists:
        raise validation(f'Cannot create already existing inference component "{arn}".') from None
    endpoint_logs.open_component_stream(ctx, name, generation)
    return {"InferenceComponentArn": arn}


@operation("sagemaker", "DescribeInferenceComponent")
def describe_inference_component(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load_component(ctx, tx, req["InferenceComponentName"]).document


@operation("sagemaker", "ListInferenceComponents")
def list_inference_components(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    for member, filtered in (("EndpointName", req.get("EndpointNameEquals")), ("VariantName", req.get("VariantNameEquals"))):
        records = [record for record in records if not filtered or record.document[member] == filtered]
    shown, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    return with_token({"InferenceComponents": [{member: record.document[member] for member in SUMMARY} for record in shown]}, token)


@operation("sagemaker", "UpdateInferenceComponent")
def update_inference_component(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Copies of the new specification take the place of the old ones, in batches where the request says so."""
    if not any(req.get(member) for member in ("Specification", "Specifications", "RuntimeConfig")):
        raise validation("At least one of Specification or RuntimeConfig must be specified.")
    deployment = req.get("DeploymentConfig")
    if deployment and deployment.get("AutoRollbackConfiguration", {}).get("Alarms"):
        raise not_built("rollback of inference components on alarms")

    def update(ctx: Ctx, tx: Tx, record: Record) -> None:
        document = record.document
        if req.get("RuntimeConfig"):
            document["RuntimeConfig"]["DesiredCopyCount"] = req["RuntimeConfig"]["CopyCount"]
        if req.get("Specification") or req.get("Specifications"):
            asked = _specification(req)
            if not asked.get("ComputeResourceRequirements") and "ComputeResourceRequirements" in document["_Asked"]:
                asked["ComputeResourceRequirements"] = document["_Asked"]["ComputeResourceRequirements"]
            endpoint = load_endpoint(ctx, tx, document["EndpointName"]).document
            generation = new_generation(ctx, tx, endpoint, _variant(endpoint, document["VariantName"]), asked)
            document["_Incoming"] = {**generation, "Moved": 0, "Since": 0.0}
            document["_Next"] = {"Specification": shown_specification(ctx, asked, generation), "_Asked": asked}
        document.pop("LastDeploymentConfig", None)
        if deployment:
            document["LastDeploymentConfig"] = deployment

    return {"InferenceComponentArn": _change(ctx, req["InferenceComponentName"], update)}


@operation("sagemaker", "UpdateInferenceComponentRuntimeConfig")
def update_inference_component_runtime_config(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    def update(ctx: Ctx, tx: Tx, record: Record) -> None:
        record.document["RuntimeConfig"]["DesiredCopyCount"] = req["DesiredRuntimeConfig"]["CopyCount"]

    return {"InferenceComponentArn": _change(ctx, req["InferenceComponentName"], update)}


@operation("sagemaker", "DeleteInferenceComponent")
def delete_inference_component(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load_component(ctx, tx, req["InferenceComponentName"])
        if record.status in IN_MOTION:
            raise validation(f'Cannot delete in-progress inference component "{record.document["InferenceComponentArn"]}".')
        record.document["InferenceComponentStatus"] = "Deleting"
        save(ctx, tx, record)
        tx.queue.put(KIND, record.key)


def _change(ctx: Ctx, name: str, how: Callable[[Ctx, Tx, Record], None]) -> str:
    """Change a component that is in service, in one transaction; its ARN."""

    def act(tx: Tx) -> str:
        record = load_component(ctx, tx, name)
        document = record.document
        arn: str = document["InferenceComponentArn"]
        if record.status in IN_MOTION:
            raise validation(f'Cannot update in-progress inference component "{arn}".')
        if record.status != "InService":
            raise validation(f'Cannot update inference component "{arn}" with status "{record.status}".')
        document["_Before"] = document["RuntimeConfig"]["DesiredCopyCount"]
        how(ctx, tx, record)
        document["InferenceComponentStatus"] = "Updating"
        document.pop("FailureReason", None)
        save(ctx, tx, record)
        tx.queue.put(KIND, record.key)
        return arn

    return transact(ctx, act)


def _specification(req: dict[str, Any]) -> dict[str, Any]:
    """The one specification of a request, without what is not built."""
    if req.get("Specifications"):
        raise not_built("inference components with a specification for each instance type")
    specification: dict[str, Any] = dict(req.get("Specification") or {})
    if not specification:
        raise validation("Specification must be specified.")
    for member, what in NOT_BUILT.items():
        if specification.get(member):
            raise not_built(what)
    if not specification.get("ModelName") and not specification.get("Container"):
        raise validation("Specification must have a ModelName or a Container.")
    needs = specification.get("ComputeResourceRequirements")
    if req.get("EndpointName") and not needs:
        raise validation("ComputeResourceRequirements must be specified.")
    if needs and needs.get("NumberOfAcceleratorDevicesRequired"):
        raise not_built("inference components on accelerators")
    return specification


def _variant(endpoint: dict[str, Any], name: str | None) -> dict[str, Any]:
    """The variant of an endpoint in service whose instances a component is to run on."""
    arn = endpoint["EndpointArn"]
    if "_Fleet" not in endpoint or endpoint["EndpointStatus"] in ("Creating", "Failed", "Deleting"):
        raise validation(f'Endpoint "{arn}" is not in service (status "{endpoint["EndpointStatus"]}").')
    variants = endpoint["_Fleet"]["Variants"]
    if name is None and len(variants) > 1:
        raise validation("VariantName must be specified for an endpoint with several production variants.")
    found: dict[str, Any] | None = next((variant for variant in variants if name in (None, variant["VariantName"])), None)
    if found is None:
        raise validation(f'The variant name(s) "{name}" is/are not present within endpoint configuration "{endpoint["EndpointConfigName"]}".')
    if "Container" in found:
        raise validation("Inference Components are not supported in this Endpoint. Please make sure this endpoint can deploy inference components.")
    return found
