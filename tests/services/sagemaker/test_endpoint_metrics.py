"""From the router's counters to statistic sets."""

from __future__ import annotations

from dewfall.engine.serving.table import Counters
from dewfall.services.sagemaker.endpoint_metrics import quantiles, variant_points


def test_counters_become_one_sample_per_request() -> None:
    counters = Counters(invocations=10, server_errors=2, model_errors=2, model_latencies=[100.0] * 10, overheads=[5.0] * 10)
    points = {point.name: point for point in variant_points({"VariantName": "A"}, counters, 2, 60)}
    assert (points["Invocations"].samples, points["Invocations"].total) == (10, 10)
    assert points["InvocationsPerInstance"].total == 5
    errors = points["Invocation5XXErrors"]
    assert (errors.total, errors.low, errors.high, errors.spread) == (2, 0, 1, ((1.0, 2.0), (0.0, 8.0)))
    assert points["Invocation4XXErrors"].high == 0
    assert (points["ModelLatency"].unit, points["ModelLatency"].total) == ("Microseconds", 1000)


def test_quantiles_keep_the_ends() -> None:
    assert quantiles([float(value) for value in range(1000, 0, -1)], 3) == [1.0, 501.0, 1000.0]
