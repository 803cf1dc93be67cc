"""Metrics of inference components, as CloudWatch names them, from the router's counters.

Each is written for the component, and for the component on its endpoint and variant.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import Point
from dewfall.engine.serving.table import Counters
from dewfall.services.sagemaker.endpoint_metrics import NAMESPACE, variant_points

RENAMED = {"InvocationsPerInstance": "InvocationsPerCopy"}


def flush(ctx: Ctx, document: dict[str, Any]) -> None:
    """Append what the component did since the last look."""
    component, endpoint = document["InferenceComponentName"], document["EndpointName"]
    taken = ctx.ports.serving.take_counters((ctx.account, ctx.region, f"{endpoint}/{component}"))
    at, copies = int(ctx.now().timestamp()), max(1, document["RuntimeConfig"]["CurrentCopyCount"])
    alone = {"InferenceComponentName": component}
    whole = {**alone, "EndpointName": endpoint, "VariantName": document["VariantName"]}
    points = [point for counters in taken.values() for dimensions in (alone, whole) for point in component_points(dimensions, counters, copies, at)]
    if points:
        ctx.ports.series.append_points(ctx.account, ctx.region, NAMESPACE, points)


def component_points(dimensions: dict[str, str], counters: Counters, copies: int, at: int) -> list[Point]:
    """A component's metrics: one sample per request. Requests that no copy could take are counted apart."""
    points = variant_points(dimensions, counters, copies, at) if counters.invocations else []
    points = [dataclasses.replace(point, name=RENAMED.get(point.name, point.name)) for point in points]
    if counters.unplaced:
        count = float(counters.unplaced)
        points.append(Point("NoCapacityInvocationFailures", dimensions, at, "Count", count, count, 1.0, 1.0, ((1.0, count),)))
    return points
