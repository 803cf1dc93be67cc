"""From libraries' and components' counters to statistic sets."""

from __future__ import annotations

from dewfall.engine.serving.library import ModelCounters, leaving
from dewfall.engine.serving.table import Counters
from dewfall.rules.placement import Room, instances_needed
from dewfall.services.sagemaker.endpoint_model_metrics import loaded_point, loading_points
from dewfall.services.sagemaker.inference_component_metrics import component_points

WHERE = {"EndpointName": "e", "VariantName": "v"}


def test_cache_hits_are_a_rate_and_times_are_microseconds() -> None:
    counters = ModelCounters(waits=[5.0], loads=[3.0, 1.0], hits=3, misses=1)
    points = {point.name: point for point in loading_points(WHERE, counters, 60)}
    assert set(points) == {"ModelLoadingWaitTime", "ModelLoadingTime", "ModelCacheHit"}
    assert (points["ModelLoadingTime"].samples, points["ModelLoadingTime"].total, points["ModelLoadingTime"].unit) == (2, 4.0, "Microseconds")
    hit = points["ModelCacheHit"]
    assert (hit.samples, hit.total, hit.low, hit.high) == (4, 3, 0, 1)


def test_loaded_models_are_counted_per_instance() -> None:
    point = loaded_point(WHERE, [2, 5, 2], 60)
    assert (point.samples, point.total, point.low, point.high) == (3, 9, 2, 5)
    assert point.spread == ((2.0, 2.0), (5.0, 1.0))


def test_requests_without_a_copy_are_counted_apart() -> None:
    points = component_points({"InferenceComponentName": "c"}, Counters(unplaced=3), 1, 60)
    assert [(point.name, point.samples, point.high) for point in points] == [("NoCapacityInvocationFailures", 3, 1.0)]
    names = {point.name for point in component_points({}, Counters(invocations=4), 2, 60)}
    assert "InvocationsPerCopy" in names
    assert "InvocationsPerInstance" not in names


def test_as_many_models_leave_as_memory_needs() -> None:
    idle = [("a", 10), ("b", 30), ("c", 5)]
    assert [leaving(idle, excess) for excess in (1, 10, 11, 100)] == [["a"], ["a"], ["a", "b"], ["a", "b", "c"]]


def test_copies_are_placed_on_as_few_instances_as_hold_them() -> None:
    instance, half, small = Room(4, 8000), Room(2, 1000), Room(0.5, 6000)
    assert instances_needed(instance, [(half, 0)]) == 0
    assert instances_needed(instance, [(half, 4)]) == 2
    assert instances_needed(instance, [(half, 2), (small, 2)]) == 3
    assert instances_needed(instance, [(Room(5, 1), 1)]) is None
