"""From an endpoint's fleets and the replicas that are there to the router's table.

Why apart: a new server makes the same table from the record as the step that moved it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record
from dewfall.engine.serving.table import EndpointKey, Shadow, Table, Variant
from dewfall.services.sagemaker import endpoint_deployment as deployment
from dewfall.services.sagemaker.data_capture import capture_rule
from dewfall.services.sagemaker.endpoint_replicas import Member, as_replica
from dewfall.services.sagemaker.endpoint_variants import special_of

Members = list[Member]


def table(ctx: Ctx, document: dict[str, Any], members: Members) -> Table:
    """What the router needs to know of an endpoint now."""
    fleet = document["_Fleet"]
    variants, shadow = tuple(_variants(ctx, document, members)), _shadow(document, members)
    return Table(variants, ctx.partition, capture_rule(fleet), "Async" not in fleet, shadow, explains="Explainer" in fleet)


def adopt_table(ctx: Ctx, record: Record, key: EndpointKey, looked_up: Table) -> bool:
    """Give the router a table that was made for a request. False, and nothing of it is left, where the record that it was made from is gone.

    Why the record is read once more: who deletes an endpoint says so in its record before it drops the table. A deletion that is not seen now
    drops this table, too.
    """
    ctx.ports.serving.adopt(key, looked_up)
    with ctx.ports.store.reading() as tx:
        now = tx.records.get(record.key)
    if now is not None and now.status != "Deleting" and now.document["CreationTime"] == record.document["CreationTime"]:
        return True
    ctx.ports.serving.retract(key, looked_up)
    return False


def _variants(ctx: Ctx, document: dict[str, Any], members: Members) -> list[Variant]:
    """Who serves: the fleet; during a deployment the old and the new one, each with its share."""
    fleet, incoming = document["_Fleet"], document.get("_Incoming")
    if incoming is None:
        return _whole(fleet, members)
    portions = deployment.portions(document)
    weights = _normal(incoming)
    moved = sum(weights[name] * portion.share for name, portion in portions.items() if name in weights)
    kept = deployment.wanted(document, ctx.now().timestamp())[fleet["Id"]]
    if moved <= 0:
        return _whole(fleet, members, kept)
    given = {name: portion.instances for name, portion in portions.items()}
    shares = {name: portion.share for name, portion in portions.items()}
    new = [entry(incoming, v, members, given, weights[v["VariantName"]] * shares[v["VariantName"]], shares) for v in incoming["Variants"]]
    if moved >= 1:
        return new
    left, rest = {name: 1 - share for name, share in shares.items()}, _normal(fleet)
    old = [entry(fleet, v, members, kept, rest[v["VariantName"]] * (1 - moved), left) for v in fleet["Variants"]]
    return [*old, *new]


def entry(
    fleet: dict[str, Any], variant: dict[str, Any], members: Members, counts: Mapping[str, int], weight: float, shares: Mapping[str, float]
) -> Variant:
    """A variant of a table, with so many of its replicas that are ready."""
    name = variant["VariantName"]
    ready = [member for member in members if member.fleet == fleet["Id"] and member.variant == name and member.is_ready]
    replicas = tuple(as_replica(member) for member in ready[: counts[name]])
    random_routing = (variant["RoutingConfig"] or {}).get("RoutingStrategy") == "RANDOM"
    return Variant(
        name, weight, replicas, variant["ContainerLabel"], random_routing, shares.get(name, 1.0), special_of(variant), fleet["EndpointConfigName"]
    )


def _shadow(document: dict[str, Any], members: Members) -> Shadow | None:
    """Who gets copies of the requests: as many as its weight is of production's. A new fleet's shadow, once that has all the traffic."""
    fleet, incoming = document["_Fleet"], document.get("_Incoming")
    if incoming is not None:
        portions = deployment.portions(document)
        fleet = incoming if all(portions[variant["VariantName"]].share >= 1 for variant in incoming["Variants"]) else fleet
    wanted = next(iter(fleet.get("Shadows", ())), None)
    if wanted is None:
        return None
    total = sum(variant["Weight"] for variant in fleet["Variants"]) or 1.0
    return Shadow(entry(fleet, wanted, members, deployment.counts_of(fleet), 0.0, {}), min(1.0, wanted["Weight"] / total))


def _whole(fleet: dict[str, Any], members: Members, counts: Mapping[str, int] | None = None) -> list[Variant]:
    every = counts or deployment.counts_of(fleet)
    return [entry(fleet, variant, members, every, variant["Weight"], {}) for variant in fleet["Variants"]]


def _normal(fleet: dict[str, Any]) -> dict[str, float]:
    total = sum(variant["Weight"] for variant in fleet["Variants"]) or 1.0
    return {variant["VariantName"]: variant["Weight"] / total for variant in fleet["Variants"]}
