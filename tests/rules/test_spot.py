"""rules/spot.py: interruptions by chance, and what time on spot capacity costs."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from dewfall.rules.lifecycle import trained_seconds
from dewfall.rules.spot import billable_seconds, interrupted_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_interruptions_come_at_the_rate_asked_for() -> None:
    drawn = [interrupted_after(6.0, 1, f"job-{n}", 1) for n in range(4000)]
    assert math.isclose(sum(drawn) / len(drawn), 600.0, rel_tol=0.06)


def test_a_seed_says_it_all() -> None:
    assert interrupted_after(1.0, 7, "job", 2) == interrupted_after(1.0, 7, "job", 2)
    assert len({interrupted_after(1.0, 7, "job", 3), interrupted_after(1.0, 8, "job", 2), interrupted_after(1.0, 7, "job", 2)}) == 3


def test_nobody_is_interrupted_at_a_rate_of_nought() -> None:
    assert interrupted_after(0.0, 1, "job", 1) == math.inf


def test_spot_time_is_cheaper_but_never_free() -> None:
    assert (billable_seconds(10, spot=True), billable_seconds(1, spot=True), billable_seconds(10, spot=False)) == (3, 1, 10)


def test_waiting_for_capacity_is_not_training() -> None:
    statuses = ("Starting", "Downloading", "Training", "Interrupted", "Starting", "Training")
    spans = [(NOW + timedelta(seconds=10 * n), status) for n, status in enumerate(statuses)]
    transitions = [{"Status": status, "StartTime": at, "EndTime": at + timedelta(seconds=10)} for at, status in spans[:-1]]
    transitions.append({"Status": "Training", "StartTime": spans[-1][0]})
    assert trained_seconds(transitions, NOW + timedelta(seconds=55)) == 25.0
