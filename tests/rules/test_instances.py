"""rules/instances.py: what an instance type has, and what a job gets of it on this machine."""

from __future__ import annotations

import pytest

from dewfall.rules.instances import GIB, bound, find_instance


@pytest.mark.parametrize(
    ("name", "cpus", "memory", "gpus"),
    [
        ("ml.m5.large", 2, 8, 0),
        ("ml.c5.9xlarge", 36, 72, 0),
        ("ml.r5.24xlarge", 96, 768, 0),
        ("ml.g5.12xlarge", 48, 192, 4),
        ("ml.t3.medium", 2, 4, 0),
        ("ml.c7i-flex.xlarge", 4, 8, 0),
    ],
)
def test_sizes_are_as_aws_lists_them(name: str, cpus: int, memory: float, gpus: int) -> None:
    instance = find_instance(name)
    assert instance is not None
    assert (instance.cpus, instance.memory_gib, instance.gpus) == (cpus, memory, gpus)


@pytest.mark.parametrize("name", ["local", "ml.m5", "m5.large", "ml.z9.large", "ml.m5.huge"])
def test_an_unknown_type_is_none(name: str) -> None:
    assert find_instance(name) is None


def test_a_job_gets_no_more_than_the_host_has() -> None:
    assert bound(find_instance("ml.m5.4xlarge"), 2, 16 * GIB) == (2.0, 0)


def test_a_small_type_limits_processors_and_memory() -> None:
    assert bound(find_instance("ml.m5.large"), 16, 64 * GIB) == (2.0, 8 * GIB)


def test_an_unknown_type_is_bounded_by_the_host_alone() -> None:
    assert bound(None, 4, 8 * GIB) == (4.0, 0)
