"""Deployments, decided: the steps of every kind, waits, alarms, time limits and the way back."""

from __future__ import annotations

from typing import Any

import pytest

from dewfall.rules import deployment as rules
from dewfall.rules.deployment import Move, Plan, Position, Size

FOUR = {"v": 4}


def routing(kind: str, **members: Any) -> dict[str, Any]:
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": 60, **members}}}


def rolling(value: int, kind: str = "INSTANCE_COUNT", **members: Any) -> dict[str, Any]:
    return {"RollingUpdatePolicy": {"MaximumBatchSize": {"Type": kind, "Value": value}, "WaitIntervalInSeconds": 60, **members}}


@pytest.mark.parametrize(
    ("plan", "count", "instances", "shares"),
    [
        (Plan(), 4, [4], [1.0]),
        (Plan("CANARY", Size("INSTANCE_COUNT", 1)), 4, [1, 4], [0.25, 1.0]),
        (Plan("CANARY", Size("CAPACITY_PERCENT", 10)), 1, [1, 1], [0.1, 1.0]),
        (Plan("LINEAR", Size("CAPACITY_PERCENT", 33)), 3, [1, 2, 3, 3], [0.33, 0.66, 0.99, 1.0]),
        (Plan("ROLLING", Size("INSTANCE_COUNT", 2)), 5, [2, 4, 5], [0.4, 0.8, 1.0]),
    ],
)
def test_steps(plan: Plan, count: int, instances: list[int], shares: list[float]) -> None:
    found = rules.steps(plan, count)
    assert [portion.instances for portion in found] == instances
    assert [round(portion.share, 6) for portion in found] == shares


def walk(plan: Plan, counts: dict[str, int], until: float) -> list[tuple[int, str]]:
    """Every move but waiting of a deployment whose replicas are ready at once."""
    at = Position(0, 0.0, 0.0)
    moves: list[tuple[int, str]] = []
    for now in range(int(until)):
        while (move := rules.decide(plan, counts, at, counts, (), now)).kind != rules.WAIT:
            moves.append((now, move.kind))
            if move.kind == rules.FINISH:
                return moves
            at = Position(at.step + 1, now, 0.0)
    return moves


def test_a_canary_bakes_before_the_rest_and_waits_before_the_end() -> None:
    plan = Plan("CANARY", Size("INSTANCE_COUNT", 1), wait=300, termination_wait=120)
    assert walk(plan, FOUR, 1000) == [(0, "shift"), (300, "shift"), (420, "finish")]


def test_without_waits_a_deployment_goes_through_at_once() -> None:
    assert walk(Plan(), FOUR, 10) == [(0, "shift"), (0, "finish")]


def test_a_rolling_deployment_bakes_after_every_batch() -> None:
    assert walk(Plan("ROLLING", Size("INSTANCE_COUNT", 2), wait=10), FOUR, 100) == [(0, "shift"), (10, "shift"), (20, "finish")]


def test_nothing_shifts_before_the_new_fleet_is_ready() -> None:
    start = Position(0, 0.0, 0.0)
    assert rules.decide(Plan(), FOUR, start, {"v": 3}, (), 5.0) == Move("wait")
    assert rules.decide(Plan("ROLLING", Size("INSTANCE_COUNT", 1)), FOUR, start, {"v": 1}, (), 5.0) == Move("shift")


def test_an_alarm_sends_it_back_whatever_it_waits_for() -> None:
    move = rules.decide(Plan(wait=60), FOUR, Position(1, 0.0, 0.0), FOUR, ("errors", "slow"), 1.0)
    assert (move.kind, "[errors, slow]" in move.reason) == ("back", True)


def test_a_time_limit_sends_it_back() -> None:
    move = rules.decide(Plan(timeout=600), FOUR, Position(0, 0.0, 0.0), {}, (), 600.0)
    assert (move.kind, "600 seconds" in move.reason) == ("back", True)


def test_a_rolling_deployment_never_has_more_than_a_batch_too_many() -> None:
    plan = Plan("ROLLING", Size("INSTANCE_COUNT", 1), wait=10)
    for step in range(5):
        for now in (1.0, 11.0):
            at = Position(step, 0.0, 0.0)
            there = rules.launched(plan, FOUR, at, now)["v"] + rules.kept(plan, FOUR, FOUR, at, now)["v"]
            assert 4 <= there <= 5


def test_blue_green_keeps_the_old_fleet_whole() -> None:
    plan = rules.read_plan(routing("LINEAR", LinearStepSize={"Type": "CAPACITY_PERCENT", "Value": 50}))
    assert rules.kept(plan, FOUR, {"old": 3}, Position(2, 0.0, 0.0), 1.0) == {"old": 3}
    assert rules.decide_back(plan, {"old": 3}, {"old": 3}, 0, {}) == Move("finish")


def test_the_way_back_of_a_rolling_deployment_goes_by_its_own_batches() -> None:
    plan = rules.read_plan(rolling(1, RollbackMaximumBatchSize={"Type": "INSTANCE_COUNT", "Value": 2}))
    assert [rules.restored(plan, FOUR, {"v": 1}, step)["v"] for step in range(3)] == [1, 3, 4]
    assert rules.decide_back(plan, FOUR, {"v": 1}, 0, {"v": 2}) == Move("wait")
    assert rules.decide_back(plan, FOUR, {"v": 1}, 0, {"v": 3}) == Move("shift")
    assert rules.restored(rules.read_plan(rolling(1)), FOUR, {"v": 1}, 1) == FOUR


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (routing("CANARY"), "CanarySize must be specified"),
        (routing("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 3}), "between 1% and 50%"),
        (routing("LINEAR", LinearStepSize={"Type": "CAPACITY_PERCENT", "Value": 5}), "between 10% and 50%"),
        (routing("ALL_AT_ONCE", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}), "can only be specified"),
        (rolling(60, "CAPACITY_PERCENT"), "between 5% and 50%"),
        ({**routing("ALL_AT_ONCE"), **rolling(1)}, "Only one of"),
        (rolling(1, MaximumExecutionTimeoutInSeconds=60), "larger than the total waiting time"),
    ],
)
def test_configurations_that_are_refused(config: dict[str, Any], words: str) -> None:
    assert words in (rules.find_fault(config, FOUR) or "")


def test_configurations_that_pass() -> None:
    assert rules.find_fault(routing("ALL_AT_ONCE"), FOUR) is None
    assert rules.find_fault(routing("CANARY", CanarySize={"Type": "CAPACITY_PERCENT", "Value": 10}), {"v": 1}) is None
    assert rules.find_fault({}, FOUR) is None
