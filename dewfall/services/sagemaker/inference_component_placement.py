"""Whether an endpoint's instances have room for the copies of its inference components, and how many instances they need.

Why it matters here, where all run on one machine: a component that AWS would not place must not run, and managed scaling shows its counts.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.rules.instances import find_instance
from dewfall.rules.placement import Room, instances_needed
from dewfall.services.common import transact
from dewfall.services.sagemaker.endpoint_status import endpoint_key
from dewfall.services.sagemaker.inference_component_status import components_of

TOO_LARGE = "The compute resources that a copy of the inference component requires exceed those of an instance of type {}."
NO_ROOM = (
    "The endpoint does not have enough capacity for the requested copies of its inference components: they need {} instance(s) of type {}, and "
    "variant {} can have {}."
)


def place(ctx: Ctx, endpoint: str, variant: str) -> str:
    """What is wrong with the copies that the variant's components ask for, "" when they have room; managed instances are counted anew."""
    return transact(ctx, lambda tx: _place(ctx, tx, endpoint, variant))


def _place(ctx: Ctx, tx: Tx, endpoint: str, name: str) -> str:
    record = tx.records.get(endpoint_key(ctx, endpoint))
    if record is None or "_Fleet" not in record.document:
        return f"Endpoint {endpoint} is not in service."
    variant = next((v for v in record.document["_Fleet"]["Variants"] if v["VariantName"] == name), None)
    if variant is None:
        return f"Endpoint {endpoint} has no variant {name} any more."
    demands = []
    for component in components_of(ctx, tx, endpoint):
        if component.document["VariantName"] == name and component.status not in ("Failed", "Deleting"):
            demands.append((_needs(component.document["_Serving"]["Needs"]), component.document["RuntimeConfig"]["DesiredCopyCount"]))
    scaling = variant.get("ManagedInstanceScaling") or {}
    managed = scaling.get("Status", "DISABLED") == "ENABLED"
    limit = scaling.get("MaxInstanceCount", variant["Count"]) if managed else variant["Count"]
    needed = instances_needed(_room(variant["InstanceType"]), demands)
    if needed is None:
        return TOO_LARGE.format(variant["InstanceType"])
    if needed > limit:
        return NO_ROOM.format(needed, variant["InstanceType"], name, limit)
    count = max(needed, scaling.get("MinInstanceCount", 1))
    if managed and count != variant["Count"] and record.status == "InService":
        variant["Count"] = count
        for entry in record.document["ProductionVariants"]:
            if entry["VariantName"] == name:
                entry["CurrentInstanceCount"] = entry["DesiredInstanceCount"] = count
        tx.records.save(record)
    return ""


def _needs(requirements: dict[str, Any]) -> Room:
    return Room(requirements.get("NumberOfCpuCoresRequired", 0.0), requirements.get("MinMemoryRequiredInMb", 0))


def _room(instance_type: str) -> Room:
    instance = find_instance(instance_type)
    if instance is None:
        return Room(float("inf"), float("inf"))
    return Room(instance.cpus, instance.memory_bytes / 1024**2)
