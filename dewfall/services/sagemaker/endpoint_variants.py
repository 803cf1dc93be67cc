"""What a variant serves: one model, many models, or several containers; from the model's record to the fleet's and the router's members.

Why copied: on AWS, too, a deleted or changed model does not change a running endpoint.
"""

from __future__ import annotations

import os
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.engine.serving.table import Chain, OnDemand, Shelf, Vacant
from dewfall.errors import validation
from dewfall.rules.instances import Instance, bound, find_instance
from dewfall.services.sagemaker.models import load_model, model_role
from dewfall.services.sagemaker.serverless import processors
from dewfall.services.sagemaker.training_spec import host_memory


def model_members(ctx: Ctx, tx: Tx, name: str) -> dict[str, Any]:
    """A fleet variant's members that come from its model. Raises AwsError for one that cannot be served here."""
    from dewfall.engine.runtimes import find_runtime

    model = load_model(ctx, tx, name).document
    containers = model.get("Containers") or [model["PrimaryContainer"]]
    for container in containers:
        if not find_runtime(container["Image"], ctx.ports.settings).serve_command:
            raise validation(f"The image {container['Image']} cannot serve a model here.")
    first = containers[0]
    members = {
        "Container": first,
        "ContainerLabel": first.get("ContainerHostname") or ("primary" if "PrimaryContainer" in model else "container_1"),
        "Role": model_role(ctx, model),
    }
    if len(containers) > 1:
        members |= {"Containers": containers, "Execution": model.get("InferenceExecutionConfig", {}).get("Mode", "Serial")}
    return members


def instance_of(variant: dict[str, Any]) -> Instance | None:
    """What a variant's instance has: its type's, or what goes with a serverless variant's memory."""
    if "Serverless" in variant:
        memory = variant["Serverless"]["MemorySizeInMB"]
        return Instance(processors(memory), memory // 1024)
    return find_instance(variant["InstanceType"])


def special_of(variant: dict[str, Any]) -> Chain | Shelf | Vacant | OnDemand | None:
    """How the router treats requests to a fleet's variant; None for one model in one container."""
    if "Container" not in variant:
        return Vacant()
    if "Serverless" in variant:
        config = variant["Serverless"]
        return OnDemand(config["MaxConcurrency"], config.get("ProvisionedConcurrency", 0))
    containers = variant.get("Containers")
    if containers:
        names = tuple(container.get("ContainerHostname") or f"container_{place}" for place, container in enumerate(containers, 1))
        many = next((place for place, container in enumerate(containers) if container["Mode"] == "MultiModel"), None)
        shelf = None if many is None else _shelf(variant, containers[many])
        return Chain(names, variant["Execution"] == "Direct", shelf, many or 0)
    container = variant["Container"]
    return _shelf(variant, container) if container["Mode"] == "MultiModel" else None


def _shelf(variant: dict[str, Any], container: dict[str, Any]) -> Shelf:
    prefix = container["ModelDataSource"]["S3DataSource"]["S3Uri"]
    cached = container.get("MultiModelConfig", {}).get("ModelCacheSetting", "Enabled") == "Enabled"
    _, memory = bound(find_instance(variant["InstanceType"]), os.cpu_count() or 1, host_memory())
    return Shelf(prefix if prefix.endswith("/") else f"{prefix}/", cached, memory or host_memory())
