"""Decisions of scaling: AWS's documented rules as cases, and a fleet simulated minute by minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from dewfall.rules.alarms import judge
from dewfall.rules.scaling import (
    AT_MAX,
    AT_MIN,
    HIGH_PERIODS,
    LOW_PERIODS,
    Wish,
    adjust,
    aggregate,
    decide,
    find_step,
    is_cooling,
    low_threshold,
    track,
)

TARGET = 100.0
STEPS = [
    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 0},
    {"MetricIntervalLowerBound": 10.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 10},
    {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 30},
    {"MetricIntervalLowerBound": -10.0, "MetricIntervalUpperBound": 0.0, "ScalingAdjustment": 0},
    {"MetricIntervalUpperBound": -10.0, "ScalingAdjustment": -30},
]


def simulate(load: Callable[[int], float], minutes: int, *, start: int = 1, high: int = 10_000, cooldown: int = 0) -> list[int]:
    """The capacity after each minute of a fleet that target tracking scales."""
    current, counts, values = start, [], deque[float](maxlen=LOW_PERIODS)
    for minute in range(minutes):
        values.append(load(minute) / current)
        over = [value > TARGET for value in list(values)[-HIGH_PERIODS:]]
        under = [value < low_threshold(TARGET) for value in values]
        wishes = []
        if judge(over, HIGH_PERIODS, HIGH_PERIODS, "missing", "OK").state == "ALARM" and len(over) == HIGH_PERIODS:
            wishes = [Wish("p", track(current, values[-1], TARGET, high=True))]
        elif judge(under, LOW_PERIODS, LOW_PERIODS, "missing", "OK").state == "ALARM" and len(under) == LOW_PERIODS and minute % (cooldown + 1) == 0:
            wishes = [Wish("p", track(current, max(values), TARGET, high=False))]
        current = decide(current, 1, high, wishes).capacity
        counts.append(current)
    return counts


@pytest.mark.parametrize("replicas", [2, 37, 1000, 10_000])
def test_a_steady_load_is_met_and_then_nothing_changes(replicas: int) -> None:
    counts = simulate(lambda minute: replicas * TARGET, 120)
    assert counts[HIGH_PERIODS - 1] == replicas
    assert set(counts[HIGH_PERIODS:]) == {replicas}


def test_more_load_than_the_bound_allows_stays_at_the_bound() -> None:
    assert set(simulate(lambda minute: 20_000 * TARGET, 30)[HIGH_PERIODS:]) == {10_000}


def test_a_fleet_of_ten_thousand_comes_down_one_by_one_and_stops_above_the_load() -> None:
    counts = simulate(lambda minute: 50 * TARGET, 12_000, start=10_000)
    assert all(before - after in (0, 1) for before, after in pairwise(counts))
    assert 50 <= counts[-1] <= 56
    assert counts[-1] == counts[-500]


def test_a_load_that_swings_around_the_target_makes_no_flapping() -> None:
    counts = simulate(lambda minute: 100 * TARGET * (1.0 + 0.04 * (-1) ** minute), 2000, start=100)
    turns = sum(before != after for before, after in pairwise(counts))
    assert turns <= 1


def test_a_day_of_load_is_followed_up_at_once_and_down_slowly() -> None:
    counts = simulate(lambda minute: TARGET * (500 if 480 <= minute < 1080 else 100), 1440, start=100)
    assert counts[482] == 500
    assert counts[1000] == 500
    assert 100 <= counts[-1] <= 160


def test_the_largest_capacity_wins_and_one_who_disagrees_forbids_scale_in() -> None:
    assert decide(4, 1, 10, [Wish("a", 6), Wish("b", 8), Wish("c", 3)]).capacity == 8
    assert decide(4, 1, 10, [Wish("a", 3), Wish("b", 4)]).capacity == 4
    assert decide(4, 1, 10, [Wish("a", 3), Wish("b", 4, tracking=False)]).capacity == 3
    assert decide(4, 1, 10, [Wish("a", 1, tracking=False), Wish("b", 3)]).capacity == 3


def test_bounds_and_switches_hold() -> None:
    assert decide(4, 1, 5, [Wish("a", 9)]).capacity == 5
    assert (decide(5, 1, 5, [Wish("a", 9)]).reason, decide(1, 1, 5, [Wish("a", 0)]).reason) == (AT_MAX, AT_MIN)
    assert decide(4, 1, 9, [Wish("a", 9)], no_out=True).capacity == 4
    assert decide(4, 1, 9, [Wish("a", 3)], no_in=True).capacity == 4


@pytest.mark.parametrize(("metric", "adjustment"), [(55, 0), (60, 10), (69, 10), (70, 30), (45, 0), (40, -30), (10, -30), (50, 0)])
def test_the_steps_of_the_user_guide(metric: float, adjustment: int) -> None:
    assert find_step(STEPS, metric - 50) == adjustment


def test_adjustments_round_as_documented() -> None:
    assert (adjust(10, "PercentChangeInCapacity", 127), adjust(1, "PercentChangeInCapacity", 67)) == (22, 2)
    assert (adjust(10, "PercentChangeInCapacity", -58), adjust(3, "PercentChangeInCapacity", -222)) == (5, 0)
    assert (adjust(4, "PercentChangeInCapacity", 25, 2), adjust(4, "ChangeInCapacity", -1), adjust(4, "ExactCapacity", 9)) == (6, 3, 9)


def test_aggregation_and_cooldown() -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    assert [aggregate([1.0, 2.0, 6.0], kind) for kind in ("Average", "Minimum", "Maximum")] == [3.0, 1.0, 6.0]
    assert is_cooling(now, 300, now + timedelta(seconds=299))
    assert not is_cooling(now, 300, now + timedelta(seconds=300))
    assert not is_cooling(None, 300, now)
