"""rules/lifecycle.py: what may follow what, and AWS's SecondaryStatusTransitions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dewfall.rules import lifecycle

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_every_next_status_is_in_the_table() -> None:
    assert all(coming in lifecycle.TRAINING for phase in lifecycle.TRAINING.values() for coming in phase.next)


@pytest.mark.parametrize("name", [name for name, phase in lifecycle.TRAINING.items() if phase.status == "InProgress"])
def test_whatever_is_in_progress_may_stop_and_fail(name: str) -> None:
    assert lifecycle.may_follow(name, "Stopping")
    assert lifecycle.may_follow(name, "Failed")


def test_a_final_status_is_the_end() -> None:
    assert frozenset({"Completed", "Failed", "Stopped"}) == lifecycle.FINAL
    assert not lifecycle.may_follow("Completed", "Stopping")


def test_entering_closes_the_former_transition() -> None:
    later = NOW + timedelta(seconds=3)
    transitions = lifecycle.enter(lifecycle.enter([], "Starting", NOW), "Downloading", later)
    assert transitions[0] == {"Status": "Starting", "StartTime": NOW, "EndTime": later, "StatusMessage": "Starting the training job"}
    assert "EndTime" not in transitions[1]


def test_entering_the_same_status_changes_only_its_message() -> None:
    transitions = lifecycle.enter(lifecycle.enter([], "Starting", NOW), "Starting", NOW + timedelta(1), "Preparing the instances for training")
    assert transitions == [{"Status": "Starting", "StartTime": NOW, "StatusMessage": "Preparing the instances for training"}]


def test_a_final_transition_begins_and_ends_at_once() -> None:
    transitions: list[dict[str, Any]] = lifecycle.enter([], "Completed", NOW)
    assert transitions[0]["EndTime"] == NOW
    assert transitions[0]["StatusMessage"] == "Training job completed"
