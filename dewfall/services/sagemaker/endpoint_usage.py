"""What replicas use, as CloudWatch names it: processors, memory and disk per variant, and how many requests are at work at once.

Why a tick of its own: the numbers are asked of the system, not of the router.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record
from dewfall.engine.series import Point
from dewfall.rules.instances import bound
from dewfall.services.sagemaker.endpoint_metrics import NAMESPACE
from dewfall.services.sagemaker.endpoint_replicas import find_members
from dewfall.services.sagemaker.endpoint_variants import instance_of
from dewfall.services.sagemaker.training_spec import host_memory

INSTANCES = "/aws/sagemaker/Endpoints"


def tick(ctx: Ctx) -> None:
    """Measure every endpoint that serves."""
    with ctx.ports.store.reading() as tx:
        records = [record for record in tx.records.scan("sagemaker", "endpoint") if "_Fleet" in record.document]
    for record in records:
        _measure(ctx, record)


def _measure(ctx: Ctx, record: Record) -> None:
    key = record.key
    where, at = (key.account, key.region, key.name), int(ctx.now().timestamp())
    members = find_members(_of(ctx, record), key.name)
    disk = shutil.disk_usage(ctx.ports.settings.data)
    points: list[Point] = []
    concurrent: list[Point] = []
    variants = {variant["VariantName"]: variant for variant in record.document["_Fleet"]["Variants"]}
    for member in members:
        variant = variants.get(member.variant)
        if variant is None or not member.is_ready:
            continue
        dimensions = {"EndpointName": key.name, "VariantName": member.variant}
        used = [usage for agent in member.agents if (usage := ctx.ports.compute.usage(agent)) is not None]
        processors, memory = sum(one.processors for one in used), sum(one.memory_bytes for one in used)
        values = {
            "CPUUtilization": 100 * processors,
            "MemoryUtilization": 100 * memory / _memory(variant),
            "DiskUtilization": 100 * disk.used / disk.total,
        }
        points += [Point(name, dimensions, at, "Percent", 1.0, value, value, value) for name, value in values.items()]
        busy = ctx.ports.serving.busy(where, member.id)
        concurrent.append(Point("ConcurrentRequestsPerModel", dimensions, at, "Count", 1.0, busy, busy, busy))
    if points:
        ctx.ports.series.append_points(key.account, key.region, INSTANCES, points)
        ctx.ports.series.append_points(key.account, key.region, NAMESPACE, concurrent)


def _memory(variant: dict[str, Any]) -> int:
    _, memory = bound(instance_of(variant), os.cpu_count() or 1, host_memory())
    return memory or host_memory()


def _of(ctx: Ctx, record: Record) -> Ctx:
    """The record's account and region."""
    return replace(ctx, account=record.key.account, region=record.key.region)
