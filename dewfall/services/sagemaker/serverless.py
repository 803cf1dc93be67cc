"""Serverless variants: ServerlessConfig's checks, what DescribeEndpoint says, the way down to no process and back, and its metrics.

request, nobody there ─ router calls up ─ wake_up: Count 1 ─ the endpoint's step starts a replica
tick: idle for DEWFALL_SERVERLESS_IDLE seconds ─ Count 0, or what is provisioned ─ the step drains and stops it
"""

from __future__ import annotations

import math
import os
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.engine.series import Point
from dewfall.engine.serving.ondemand import Desk
from dewfall.errors import validation
from dewfall.services.common import transact
from dewfall.services.sagemaker.endpoint_metrics import NAMESPACE

ENDPOINT = "endpoint"
MEMORY_SIZES = (1024, 2048, 3072, 4096, 5120, 6144)
UNSUPPORTED = "One or more endpoint features are not supported using this configuration. Serverless endpoints do not support {}."


def check_serverless(req: dict[str, Any]) -> None:
    """Raise what AWS answers to a configuration with a serverless variant that has what serverless variants cannot have."""
    variants = req["ProductionVariants"]
    serverless = [variant for variant in variants if variant.get("ServerlessConfig")]
    if not serverless:
        return
    refused = {
        "multiple production variants": len(variants) > 1,
        "shadow variants": req.get("ShadowProductionVariants"),
        "data capture": req.get("DataCaptureConfig", {}).get("EnableCapture", "DataCaptureConfig" in req),
        "asynchronous inference": req.get("AsyncInferenceConfig"),
        "explainers": req.get("ExplainerConfig"),
        "VPC configuration": req.get("VpcConfig"),
        "network isolation": req.get("EnableNetworkIsolation"),
        "instances (InstanceType, InitialInstanceCount)": any(v.get("InstanceType") or v.get("InitialInstanceCount") for v in serverless),
        "managed instance scaling": any(v.get("ManagedInstanceScaling") for v in serverless),
        "inference components": any(not v.get("ModelName") for v in serverless),
    }
    for what, is_asked in refused.items():
        if is_asked:
            raise validation(UNSUPPORTED.format(what))
    for variant in serverless:
        _check_values(variant["ServerlessConfig"])


def check_serverless_model(model: dict[str, Any]) -> None:
    """Raise unless a model can be served without instances."""
    containers = model.get("Containers") or [model["PrimaryContainer"]]
    refused = {
        "inference pipelines": len(containers) > 1,
        "multi-model endpoints": any(container["Mode"] == "MultiModel" for container in containers),
        "VPC configuration": model.get("VpcConfig"),
        "network isolation": model.get("EnableNetworkIsolation"),
    }
    for what, is_asked in refused.items():
        if is_asked:
            raise validation(UNSUPPORTED.format(what))


def _check_values(config: dict[str, Any]) -> None:
    if "MemorySizeInMB" in config and config["MemorySizeInMB"] not in MEMORY_SIZES:
        sizes = ", ".join(map(str, MEMORY_SIZES))
        raise validation(f"MemorySizeInMB {config['MemorySizeInMB']} of ServerlessConfig is not valid. Valid values are {sizes}.")
    if config.get("ProvisionedConcurrency", 0) > config["MaxConcurrency"]:
        raise validation("ProvisionedConcurrency of ServerlessConfig must be less than or equal to MaxConcurrency.")


def fleet_members(wanted: dict[str, Any]) -> dict[str, Any]:
    """A fleet variant's members that come from ServerlessConfig: one replica to begin with, to see whether the model can be served."""
    config = wanted["ServerlessConfig"]
    return {"Serverless": dict(config), "InstanceType": "", "Count": max(1, kept_ready(config))}


def kept_ready(config: dict[str, Any]) -> int:
    """Replicas that stay where nothing comes: those of the provisioned concurrency, bounded by this machine's processors."""
    return min(int(config.get("ProvisionedConcurrency", 0)), os.cpu_count() or 1)


def update_variant(variant: dict[str, Any], change: dict[str, Any]) -> None:
    """ServerlessUpdateConfig of UpdateEndpointWeightsAndCapacities."""
    if "Serverless" not in variant:
        raise validation(f"The variant {variant['VariantName']} is not serverless; ServerlessUpdateConfig cannot be applied to it.")
    config = variant["Serverless"] | change
    _check_values(config)
    variant["Serverless"] = config
    variant["Count"] = max(variant["Count"], kept_ready(config))


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """An endpoint's document, with ServerlessConfigs in the place of instance counts where a variant has no instances."""
    configs = [
        {variant["VariantName"]: variant["Serverless"] for variant in document.get(member, {}).get("Variants", ()) if "Serverless" in variant}
        for member in ("_Fleet", "_Incoming")
    ]
    if not any(configs):
        return document
    document = dict(document)
    if "ProductionVariants" in document:
        document["ProductionVariants"] = [_entry(entry, configs[0]) for entry in document["ProductionVariants"]]
    if "PendingDeploymentSummary" in document:
        pending = document["PendingDeploymentSummary"]
        entries = [_entry(entry, configs[1] or configs[0]) for entry in pending["ProductionVariants"]]
        document["PendingDeploymentSummary"] = {**pending, "ProductionVariants": entries}
    return document


def _entry(entry: dict[str, Any], configs: dict[str, Any]) -> dict[str, Any]:
    config = configs.get(entry["VariantName"])
    if config is None:
        return entry
    kept = {member: value for member, value in entry.items() if not member.endswith("InstanceCount")}
    return {**kept, "CurrentServerlessConfig": config, "DesiredServerlessConfig": config}


# ---------------------------------------------------------------- down and up


def wake_up(ctx: Ctx, endpoint: str, variant: str) -> None:
    """A request has come and there is no replica."""
    _set_count(ctx, Key(ctx.account, ctx.region, "sagemaker", ENDPOINT, endpoint), variant, 1, lambda count: count < 1)


def tick(ctx: Ctx) -> list[str]:
    """Let go of the replicas of variants that have been idle, and measure."""
    with ctx.ports.store.reading() as tx:
        records = list(tx.records.scan("sagemaker", ENDPOINT))
    told = []
    for record in records:
        for variant in record.document.get("_Fleet", {}).get("Variants", ()):
            if "Serverless" in variant:
                told += _look(ctx, record, variant)
    return told


def _look(ctx: Ctx, record: Record, variant: dict[str, Any]) -> list[str]:
    key, name = record.key, variant["VariantName"]
    desk = ctx.ports.serving.desk((key.account, key.region, key.name), name)
    if desk is None:
        return []
    _measure(ctx, record, variant, desk.take())
    least = kept_ready(variant["Serverless"])
    if record.status != "InService" or variant["Count"] <= least or desk.idle_seconds < ctx.ports.settings.serverless_idle:
        return []
    _set_count(ctx, key, name, least, lambda count: count > least and desk.idle_seconds >= ctx.ports.settings.serverless_idle)
    return [f"{key.name}: {name} was idle; {least} replicas stay"]


def _set_count(ctx: Ctx, key: Key, variant: str, count: int, is_due: Any) -> None:

    def act(tx: Tx) -> None:
        record = tx.records.get(key)
        variants = record.document.get("_Fleet", {}).get("Variants", ()) if record is not None else ()
        mine = next((one for one in variants if one["VariantName"] == variant), None)
        if record is None or mine is None or not is_due(mine["Count"]):
            return
        mine["Count"] = count
        tx.records.save(record)
        tx.queue.wake(ENDPOINT, key)

    transact(ctx, act)


def _measure(ctx: Ctx, record: Record, variant: dict[str, Any], desk: Desk) -> None:
    config, at = variant["Serverless"], int(ctx.now().timestamp())
    dimensions = {"EndpointName": record.key.name, "VariantName": variant["VariantName"]}
    values = [("ModelSetupTime", "Microseconds", setup) for setup in desk.setups]
    provisioned = int(config.get("ProvisionedConcurrency", 0))
    if desk.requests or desk.most:
        values.append(("ServerlessConcurrentExecutionsUtilization", "None", desk.most / config["MaxConcurrency"]))
    if provisioned and (desk.requests or desk.most):
        busy = min(desk.most, provisioned)
        values += [
            ("ServerlessProvisionedConcurrencyExecutions", "Count", float(busy)),
            ("ServerlessProvisionedConcurrencyUtilization", "None", busy / provisioned),
            ("ServerlessProvisionedConcurrencyInvocations", "Count", float(desk.requests - desk.spilled)),
            ("ServerlessProvisionedConcurrencySpilloverInvocations", "Count", float(desk.spilled)),
        ]
    points = [Point(name, dimensions, at, unit, 1.0, value, value, value) for name, unit, value in values]
    if points:
        ctx.ports.series.append_points(record.key.account, record.key.region, NAMESPACE, points)


def processors(memory: int) -> int:
    """Processors that go with a memory size in MB, as functions have them: one per 1,769 MB begun.

    >>> processors(1024), processors(6144)
    (1, 4)
    """
    return math.ceil(memory / 1769)
