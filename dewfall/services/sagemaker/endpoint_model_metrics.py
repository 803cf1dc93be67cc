"""Metrics of multi-model endpoints, as CloudWatch names them, from the libraries of their replicas.

Loading times and cache hits lie in AWS/SageMaker, the number of loaded models, one sample per instance, in /aws/sagemaker/Endpoints.
"""

from __future__ import annotations

from dewfall.context import Ctx
from dewfall.engine.series import Point
from dewfall.engine.serving.library import ModelCounters
from dewfall.services.sagemaker.endpoint_metrics import NAMESPACE, latency_point

INSTANCES = "/aws/sagemaker/Endpoints"
TIMES = {"ModelLoadingWaitTime": "waits", "ModelDownloadingTime": "downloads", "ModelLoadingTime": "loads", "ModelUnloadingTime": "unloads"}


def flush(ctx: Ctx, endpoint: str) -> None:
    """Append what each variant's models did since the last look."""
    taken, loaded = ctx.ports.serving.take_model_counters((ctx.account, ctx.region, endpoint))
    at = int(ctx.now().timestamp())
    points = [
        point for variant, counters in taken.items() for point in loading_points({"EndpointName": endpoint, "VariantName": variant}, counters, at)
    ]
    if points:
        ctx.ports.series.append_points(ctx.account, ctx.region, NAMESPACE, points)
    counts = [loaded_point({"EndpointName": endpoint, "VariantName": variant}, values, at) for variant, values in loaded.items()]
    if counts:
        ctx.ports.series.append_points(ctx.account, ctx.region, INSTANCES, counts)


def loading_points(dimensions: dict[str, str], counters: ModelCounters, at: int) -> list[Point]:
    """How long models took to come and go, and how many requests found theirs loaded."""
    measured = [(name, getattr(counters, member)) for name, member in TIMES.items()]
    points = [latency_point(name, dimensions, at, values) for name, values in measured if values]
    hits, misses = float(counters.hits), float(counters.misses)
    if hits or misses:
        spread = tuple(pair for pair in ((1.0, hits), (0.0, misses)) if pair[1])
        points.append(Point("ModelCacheHit", dimensions, at, "None", hits + misses, hits, 0.0 if misses else 1.0, 1.0 if hits else 0.0, spread))
    return points


def loaded_point(dimensions: dict[str, str], counts: list[int], at: int) -> Point:
    """Models per instance."""
    values = [float(count) for count in counts]
    spread = tuple((value, float(values.count(value))) for value in sorted(set(values)))
    return Point("LoadedModelCount", dimensions, at, "None", float(len(values)), sum(values), min(values), max(values), spread)
