"""How an endpoint goes from an old fleet to a new one: in which steps, when the next one may come, and when to go back.

Source: SageMaker Developer Guide, "Deployment guardrails". Pure, so that tests walk through hours of baking in a millisecond.

    blue/green   launch all ─ shift 1 ─ bake ─ … ─ shift all ─ bake (TerminationWait) ─ the old fleet ends
    rolling      launch a batch ─ shift it ─ bake ─ end a batch of the old fleet ─ launch the next …
    back         the old fleet is there (blue/green: at once) ─ it gets the traffic ─ the new fleet ends
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ALL_AT_ONCE, CANARY, LINEAR, ROLLING = "ALL_AT_ONCE", "CANARY", "LINEAR", "ROLLING"
INSTANCES, PERCENT = "INSTANCE_COUNT", "CAPACITY_PERCENT"
WAIT, SHIFT, FINISH, BACK = "wait", "shift", "finish", "back"
ALARMED = "One or more alarms configured in AutoRollbackConfiguration are in ALARM state: [{}]. The deployment was rolled back."
TOO_LONG = "The deployment did not complete within the MaximumExecutionTimeoutInSeconds of {} seconds. The deployment was rolled back."


@dataclass(frozen=True, slots=True)
class Size:
    """A number of instances, or a percentage of a variant's."""

    kind: str
    value: int


WHOLE = Size(PERCENT, 100)


@dataclass(frozen=True, slots=True)
class Plan:
    """A DeploymentConfig, read. Seconds throughout; `back` is the batch in which a rolling deployment returns."""

    kind: str = ALL_AT_ONCE
    size: Size = WHOLE
    wait: float = 0.0
    termination_wait: float = 0.0
    timeout: float | None = None
    back: Size = WHOLE


@dataclass(frozen=True, slots=True)
class Portion:
    """What a step gives to a variant of the new fleet: so many of its instances take requests, together this share of them."""

    instances: int
    share: float


@dataclass(frozen=True, slots=True)
class Position:
    """How far a deployment has come: traffic steps taken, since when the last one's traffic flows, and when it all began."""

    step: int
    since: float
    begun: float


@dataclass(frozen=True, slots=True)
class Move:
    """What to do now: wait, shift (take the next step), finish, or go back, for this reason."""

    kind: str
    reason: str = ""


def read_plan(config: Mapping[str, Any] | None) -> Plan:
    """The plan that a DeploymentConfig means; without one all traffic shifts at once, and nothing is waited for."""
    config = config or {}
    rolling = config.get("RollingUpdatePolicy")
    if rolling:
        back = _size(rolling.get("RollbackMaximumBatchSize")) or WHOLE
        wait, timeout = float(rolling["WaitIntervalInSeconds"]), rolling.get("MaximumExecutionTimeoutInSeconds")
        return Plan(ROLLING, _size(rolling["MaximumBatchSize"]) or WHOLE, wait, 0.0, timeout, back)
    policy = config.get("BlueGreenUpdatePolicy") or {}
    routing = policy.get("TrafficRoutingConfiguration") or {"Type": ALL_AT_ONCE}
    size = _size(routing.get("CanarySize")) if routing["Type"] == CANARY else _size(routing.get("LinearStepSize"))
    if routing["Type"] == ALL_AT_ONCE:
        size = WHOLE
    wait, after = float(routing.get("WaitIntervalInSeconds", 0)), float(policy.get("TerminationWaitInSeconds", 0))
    return Plan(routing["Type"], size or WHOLE, wait, after, policy.get("MaximumExecutionTimeoutInSeconds"))


def steps(plan: Plan, count: int) -> tuple[Portion, ...]:
    """A variant's steps to its `count` instances.

    >>> [portion.instances for portion in steps(Plan(LINEAR, Size(PERCENT, 30)), 10)]
    [3, 6, 9, 10]
    """
    first = _portion(plan.size, count, 1)
    if plan.kind == CANARY:
        return (first, Portion(count, 1.0)) if first.share < 1 else (Portion(count, 1.0),)
    taken = [first]
    while taken[-1].share < 1:
        taken.append(_portion(plan.size, count, len(taken) + 1))
    return tuple(taken)


def step_count(plan: Plan, counts: Mapping[str, int]) -> int:
    """Traffic steps of a fleet; variants with fewer are whole earlier."""
    return max((len(steps(plan, count)) for count in counts.values()), default=1)


def portion_at(plan: Plan, count: int, step: int) -> Portion:
    """What a variant has after a step; nothing before the first one."""
    if step <= 0:
        return Portion(0, 0.0)
    taken = steps(plan, count)
    return taken[min(step, len(taken)) - 1]


def baked_at(plan: Plan, counts: Mapping[str, int], at: Position) -> float:
    """When the present step's baking is over."""
    if at.step == 0:
        return at.begun
    last = at.step >= step_count(plan, counts)
    return at.since + (plan.termination_wait if last and plan.kind != ROLLING else plan.wait)


def launched(plan: Plan, counts: Mapping[str, int], at: Position, now: float) -> dict[str, int]:
    """How many instances of the new fleet's variants there should be: all of them, or a rolling deployment's batches so far."""
    if plan.kind != ROLLING:
        return dict(counts)
    step = at.step + 1 if now >= baked_at(plan, counts, at) else at.step
    return {name: portion_at(plan, count, step).instances for name, count in counts.items()}


def kept(plan: Plan, counts: Mapping[str, int], old: Mapping[str, int], at: Position, now: float) -> dict[str, int]:
    """How many instances of the old fleet's variants there should be; those that a baked batch has replaced are not."""
    if plan.kind != ROLLING:
        return dict(old)
    step = at.step if now >= baked_at(plan, counts, at) else at.step - 1
    done = min((portion_at(plan, count, step).share for count in counts.values()), default=0.0)
    return {name: math.ceil(round(count * (1 - done), 9)) for name, count in old.items()}


def decide(plan: Plan, counts: Mapping[str, int], at: Position, ready: Mapping[str, int], alarms: Sequence[str], now: float) -> Move:
    """The next move of a deployment. `counts`: of the new fleet; `ready`: how many of it answer; `alarms`: those in ALARM state."""
    if alarms:
        return Move(BACK, ALARMED.format(", ".join(alarms)))
    if plan.timeout is not None and now >= at.begun + plan.timeout:
        return Move(BACK, TOO_LONG.format(int(plan.timeout)))
    if now < baked_at(plan, counts, at):
        return Move(WAIT)
    if at.step >= step_count(plan, counts):
        return Move(FINISH)
    needed = launched(plan, counts, at, now)
    return Move(SHIFT) if all(ready.get(name, 0) >= count for name, count in needed.items()) else Move(WAIT)


def restored(plan: Plan, old: Mapping[str, int], rest: Mapping[str, int], step: int) -> dict[str, int]:
    """The old fleet's instances after so many steps back, from the `rest` that there was when the way back began."""
    return {name: min(count, rest[name] + step * _portion(plan.back, count, 1).instances) for name, count in old.items()}


def decide_back(plan: Plan, old: Mapping[str, int], rest: Mapping[str, int], step: int, ready: Mapping[str, int]) -> Move:
    """The next move of a rollback: the old fleet grows by batches; whole, it is finished."""
    if restored(plan, old, rest, step) == dict(old):
        return Move(FINISH)
    needed = restored(plan, old, rest, step + 1)
    return Move(SHIFT) if all(ready.get(name, 0) >= count for name, count in needed.items()) else Move(WAIT)


def share_of(instances: Mapping[str, int], whole: Mapping[str, int]) -> float:
    """The share of the traffic that a part of a fleet can take: that of its poorest variant."""
    return min((instances[name] / count for name, count in whole.items() if count), default=1.0)


def find_fault(config: Mapping[str, Any], counts: Mapping[str, int]) -> str | None:
    """What is wrong with a DeploymentConfig for a fleet of these instance counts, in a sentence."""
    policy, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if policy and rolling:
        return "Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified in DeploymentConfig."
    if rolling:
        waits = rolling["WaitIntervalInSeconds"]
        return (
            _size_fault("MaximumBatchSize", rolling["MaximumBatchSize"], 5, 50, counts)
            or _size_fault("RollbackMaximumBatchSize", rolling.get("RollbackMaximumBatchSize"), 5, 100, counts)
            or _timeout_fault(rolling, waits)
        )
    if not policy:
        return None
    routing = policy["TrafficRoutingConfiguration"]
    for kind, member, least in ((CANARY, "CanarySize", 1), (LINEAR, "LinearStepSize", 10)):
        if routing["Type"] == kind and not routing.get(member):
            return f"{member} must be specified for the traffic routing type {kind}."
        if routing["Type"] != kind and routing.get(member):
            return f"{member} can only be specified for the traffic routing type {kind}."
        fault = _size_fault(member, routing.get(member), least, 50, counts)
        if fault:
            return fault
    return _timeout_fault(policy, routing["WaitIntervalInSeconds"] + policy.get("TerminationWaitInSeconds", 0))


def _size(config: Mapping[str, Any] | None) -> Size | None:
    return Size(config["Type"], int(config["Value"])) if config else None


def _portion(size: Size, count: int, times: int) -> Portion:
    if count == 0:
        return Portion(0, 1.0)
    if size.kind == INSTANCES:
        instances = min(count, size.value * times)
        return Portion(instances, instances / count)
    share = min(1.0, size.value * times / 100)
    return Portion(max(1, math.ceil(round(count * share, 9))), share)


def _size_fault(member: str, config: Mapping[str, Any] | None, least: int, most: int, counts: Mapping[str, int]) -> str | None:
    if not config:
        return None
    value = int(config["Value"])
    if config["Type"] == PERCENT:
        if not least <= value <= most:
            return f"{member} must be between {least}% and {most}% of the variant's total instance count."
        return None
    for name, count in counts.items():
        if value * 100 > count * most or value * 100 < count * least:
            return f"{member} of {value} instance(s) must be between {least}% and {most}% of the {count} instance(s) of the variant {name}."
    return None


def _timeout_fault(policy: Mapping[str, Any], waits: int) -> str | None:
    timeout = policy.get("MaximumExecutionTimeoutInSeconds")
    if timeout is not None and timeout <= waits:
        return "MaximumExecutionTimeoutInSeconds must be larger than the total waiting time of the deployment."
    return None
