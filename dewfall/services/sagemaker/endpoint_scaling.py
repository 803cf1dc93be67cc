"""What automatic scaling holds on to: a scaled variant keeps its instance type, and its scalable target goes with its endpoint.

Why the targets are read as records and deregistered by ctx.call: of the two, AWS asks callers of DeleteEndpoint for the second permission alone.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.errors import AwsError, validation
from dewfall.services.autoscaling.places import SERVICE, variant_of
from dewfall.services.sagemaker.endpoint_status import every_variant

REGISTERED = (
    'The variant(s) "{}" must be deregistered as scalable targets with AWS Auto Scaling before they can be removed or have their instance type '
    "updated."
)
PLACE = ("ServiceNamespace", "ResourceId", "ScalableDimension")


def check_scaled(ctx: Ctx, tx: Tx, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Refuse a fleet in which a scaled variant is missing, or has other instances."""
    types, wanted = ({variant["VariantName"]: variant["InstanceType"] for variant in every_variant(fleet)} for fleet in (old, new))
    check_removed(ctx, tx, name, {variant for variant in types if wanted.get(variant) != types[variant]})


def check_removed(ctx: Ctx, tx: Tx, name: str, variants: set[str]) -> None:
    """Refuse to take variants away, or their instances, that are scaled."""
    held = sorted(variants & {variant_of(target["ResourceId"])[1] for target in _targets(ctx, tx, name)})
    if held:
        raise validation(REGISTERED.format('", "'.join(held)))


def deregister(ctx: Ctx, name: str) -> None:
    """An endpoint goes: its variants are no scalable targets any more."""
    with ctx.ports.store.reading() as tx:
        targets = _targets(ctx, tx, name)
    for target in targets:
        try:
            ctx.call(SERVICE, "DeregisterScalableTarget", {member: target[member] for member in PLACE})
        except AwsError as error:
            if error.code != "ObjectNotFoundException":  # somebody else was faster
                raise


def _targets(ctx: Ctx, tx: Tx, name: str) -> list[dict[str, Any]]:
    records = tx.records.list(ctx.account, ctx.region, SERVICE, "target")
    return [record.document for record in records if record.document["ResourceId"].startswith(f"endpoint/{name}/variant/")]
