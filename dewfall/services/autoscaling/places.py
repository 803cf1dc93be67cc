"""What is scaled: the triple of service namespace, resource and dimension that names a target, checked and turned into keys.

Why here: every operation begins with it, and each refuses what is not built in the same words.
"""

from __future__ import annotations

import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError, validation

SERVICE = "application-autoscaling"
NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
COPIES = "sagemaker:inference-component:DesiredCopyCount"
CONCURRENCY = "sagemaker:variant:DesiredProvisionedConcurrency"
_COMPONENT = re.compile(r"inference-component/([^/]+)")
_VARIANT = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")


def check_namespace(req: dict[str, Any]) -> None:
    """Only SageMaker's resources can be scaled here."""
    namespace = req["ServiceNamespace"]
    if namespace != NAMESPACE:
        raise validation(f"Dewfall has built automatic scaling for the service namespace sagemaker only, not for {namespace}.")


def check_place(req: dict[str, Any]) -> None:
    """A request must name an endpoint's variant, or an inference component, with a dimension that it has."""
    check_namespace(req)
    form = {DIMENSION: _VARIANT, CONCURRENCY: _VARIANT, COPIES: _COMPONENT}.get(req["ScalableDimension"])
    if form is None or not form.fullmatch(req["ResourceId"]):
        raise validation("Unsupported service namespace, resource type or scalable dimension")


def component_of(resource: str) -> str:
    """The inference component of a resource id: `component_of("inference-component/c") == "c"`."""
    return resource.partition("/")[2]


def variant_of(resource: str) -> tuple[str, str]:
    """Endpoint and variant of a resource id: `variant_of("endpoint/e/variant/v") == ("e", "v")`."""
    _, endpoint, _, variant = resource.split("/")
    return endpoint, variant


def place(req: dict[str, Any]) -> str:
    """The name of a target's record, and the parent of everything that belongs to it."""
    return f"{req['ResourceId']}|{req['ScalableDimension']}"


def key(ctx: Ctx, kind: str, name: str) -> Key:
    """A record of this service: `target`, `policy`, `schedule` or `activity`."""
    return Key(ctx.account, ctx.region, SERVICE, kind, name)


def load_target(ctx: Ctx, tx: Tx, req: dict[str, Any]) -> Record:
    """The registered target of a request; AWS's error when there is none."""
    record = tx.records.get(key(ctx, "target", place(req)))
    if record is None:
        raise missing("No scalable target registered for", req)
    return record


def missing(what: str, req: dict[str, Any], extra: str = "") -> AwsError:
    """AWS's error for what is not there."""
    text = f"{what} service namespace: {req['ServiceNamespace']}, resource ID: {req['ResourceId']}, scalable dimension: {req['ScalableDimension']}"
    return AwsError("ObjectNotFoundException", text + extra, status=400)


def listed(ctx: Ctx, kind: str, req: dict[str, Any]) -> list[Record]:
    """Records of a Describe request's resource and dimension."""
    if req.get("ScalableDimension") and not (req.get("ResourceId") or req.get("ResourceIds")):
        raise validation("ResourceId must be provided when ScalableDimension is provided" if kind != "target" else "ResourceIds must be provided")
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, SERVICE, kind)
    return [record for record in records if _fits(record.document, req)]


def _fits(document: dict[str, Any], req: dict[str, Any]) -> bool:
    wanted = req.get("ResourceIds") or ([req["ResourceId"]] if req.get("ResourceId") else [])
    if wanted and document["ResourceId"] not in wanted:
        return False
    return req["ServiceNamespace"] == NAMESPACE and req.get("ScalableDimension") in (None, document["ScalableDimension"])
