"""Per-variant metrics of endpoints, as CloudWatch names them, from the router's counters.

Why at the step's looks: the data path only counts; nothing is written while a request waits.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import Point
from dewfall.engine.serving.table import Counters

NAMESPACE, SHADOW_NAMESPACE = "AWS/SageMaker", "Dewfall/ShadowVariants"
SPREAD = 50  # latencies, evenly taken from the sorted ones, that stand for all of a look's in percentiles


def flush(ctx: Ctx, endpoint: str, fleet: dict[str, Any]) -> None:
    """Append what each variant did since the last look; once more by its endpoint configuration, so that an alarm can watch a new fleet alone."""
    taken = ctx.ports.serving.take_counters((ctx.account, ctx.region, endpoint))
    instances = {variant["VariantName"]: variant["Count"] for variant in [*fleet["Variants"], *fleet.get("Shadows", ())]}
    at = int(ctx.now().timestamp())
    points: list[Point] = []
    for (variant, config), counters in taken.items():
        dimensions = {"EndpointName": endpoint, "VariantName": variant}
        for place in (dimensions, {**dimensions, "EndpointConfigName": config}):
            points += variant_points(place, counters, max(1, instances.get(variant, 1)), at)
    if points:
        ctx.ports.series.append_points(ctx.account, ctx.region, NAMESPACE, points)
    _flush_comparisons(ctx, endpoint, at)


def _flush_comparisons(ctx: Ctx, endpoint: str, at: int) -> None:
    """Append how shadow variants did beside production: AWS has no metrics of that, so they have a namespace of their own."""
    taken = ctx.ports.serving.take_comparisons((ctx.account, ctx.region, endpoint))
    points: list[Point] = []
    for variant, told in taken.items():
        dimensions = {"EndpointName": endpoint, "VariantName": variant}
        copies = [("Copies", told.copies), ("DroppedCopies", told.dropped)]
        points += [_count(name, dimensions, at, happened, happened, 1.0) for name, happened in copies if happened]
        if told.compared:
            points.append(_count("AnswerAgreement", dimensions, at, told.compared, told.agreed, 1.0))
        spread = (("LatencyDifference", told.delays, "Microseconds"), ("AnswerDifference", told.differences, "None"))
        points += [latency_point(name, dimensions, at, values, unit) for name, values, unit in spread if values]
    if points:
        ctx.ports.series.append_points(ctx.account, ctx.region, SHADOW_NAMESPACE, points)


def variant_points(dimensions: dict[str, str], counters: Counters, instances: int, at: int) -> list[Point]:
    """A variant's metrics: one sample per request. Errors count 0 or 1 each, so that their average is the error rate."""
    requests = counters.invocations
    share = 1 / instances
    counted = [
        ("Invocations", requests, 1.0),
        ("InvocationsPerInstance", requests, share),
        ("Invocation4XXErrors", counters.client_errors, 1.0),
        ("Invocation5XXErrors", counters.server_errors, 1.0),
        ("InvocationModelErrors", counters.model_errors, 1.0),
    ]
    points = [_count(name, dimensions, at, requests, happened, value) for name, happened, value in counted]
    latencies = (("ModelLatency", counters.model_latencies), ("OverheadLatency", counters.overheads))
    return points + [latency_point(name, dimensions, at, values) for name, values in latencies if values]


def quantiles(values: list[float], count: int) -> list[float]:
    """At most `count` of the values, evenly spaced in their order, the least and the greatest among them.

    >>> quantiles([3.0, 1.0, 2.0], 2)
    [1.0, 3.0]
    """
    ordered = sorted(values)
    if len(ordered) <= count:
        return ordered
    return [ordered[round(place * (len(ordered) - 1) / (count - 1))] for place in range(count)]


def _count(name: str, dimensions: dict[str, str], at: int, requests: int, happened: int, value: float) -> Point:
    low = value if happened == requests else 0.0
    high = value if happened else 0.0
    spread = ((value, float(happened)), (0.0, float(requests - happened)))
    return Point(name, dimensions, at, "None", float(requests), happened * value, low, high, tuple(pair for pair in spread if pair[1]))


def latency_point(name: str, dimensions: dict[str, str], at: int, values: list[float], unit: str = "Microseconds") -> Point:
    some = quantiles(values, SPREAD)
    weight = len(values) / len(some)
    spread = tuple((round(value, 1) if unit == "Microseconds" else value, weight) for value in some)
    return Point(name, dimensions, at, unit, float(len(values)), sum(values), min(values), max(values), spread)
