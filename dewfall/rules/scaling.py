"""How many instances a scalable target should have: target tracking, step adjustments, cooldowns, and policies that disagree.

Source: Application Auto Scaling User Guide, "How target tracking scaling works", "How step scaling works". Pure, so that a simulation tests it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

LOW_SHARE = 0.9  # the low alarm's threshold as a share of the target value: between it and the target nothing happens
HIGH_PERIODS, LOW_PERIODS = 3, 15  # minutes above the target before scaling out, below the low threshold before scaling in
AT_MAX, AT_MIN = "AlreadyAtMaxCapacity", "AlreadyAtMinCapacity"
AT_DESIRED, FLAPPING = "AlreadyAtDesiredCapacity", "AutoScalingAnticipatedFlapping"


@dataclass(frozen=True, slots=True)
class Wish:
    """What one policy wants. `capacity` equal to the present one: it wants no change, and a tracking policy then forbids scale-in."""

    policy: str
    capacity: int
    alarm: str = ""
    tracking: bool = True
    refusal: str = ""  # why it wants no change, although its alarm fires


@dataclass(frozen=True, slots=True)
class Decision:
    """The capacity to set and the wish behind it; where nothing is to be done, `reason` says why not."""

    capacity: int
    wish: Wish | None = None
    reason: str = ""


def low_threshold(target: float) -> float:
    """Below which value a tracked metric lets its target scale in.

    >>> low_threshold(70.0)
    63.0
    """
    return round(target * LOW_SHARE, 10)


def track(current: int, value: float, target: float, *, high: bool) -> int:
    """The capacity that target tracking wants: out at once as far as needed, in by one, and only when the target then still holds.

    Where there is nothing yet, the value counts as one instance's: what waits for the first one.

    >>> track(4, 150.0, 100.0, high=True), track(4, 10.0, 100.0, high=False), track(2, 80.0, 100.0, high=False)
    (6, 3, 2)
    """
    needed = math.ceil(round(max(1, current) * value / target, 9))
    if high:
        return max(current, needed)
    return current - 1 if needed < current else current


def find_step(steps: Sequence[dict[str, Any]], distance: float) -> int | None:
    """The adjustment of the step that a metric's distance from the alarm's threshold lies in; None where none covers it.

    Above the threshold the lower bound belongs to a step, below it the upper one.
    """
    for step in steps:
        low, high = step.get("MetricIntervalLowerBound", -math.inf), step.get("MetricIntervalUpperBound", math.inf)
        inside = low <= distance < high if distance >= 0 and low >= 0 else low < distance <= high
        if inside or (distance == 0 and 0 in (low, high)):
            return int(step["ScalingAdjustment"])
    return None


def adjust(current: int, kind: str, adjustment: int, least: int = 0) -> int:
    """The capacity after a step's adjustment. Percentages are rounded towards zero, but never to nothing.

    >>> adjust(10, "PercentChangeInCapacity", 25), adjust(2, "PercentChangeInCapacity", -10), adjust(4, "PercentChangeInCapacity", 25, 2)
    (12, 1, 6)
    """
    if kind == "ExactCapacity":
        return adjustment
    if kind == "ChangeInCapacity":
        return max(0, current + adjustment)
    exact = current * adjustment / 100
    if exact == 0:
        return current
    change = max(1, int(abs(exact)), least)
    return max(0, current + (change if exact > 0 else -change))


def aggregate(values: Sequence[float], kind: str) -> float:
    """MetricAggregationType over the points that tripped an alarm."""
    if kind == "Minimum":
        return min(values)
    return max(values) if kind == "Maximum" else sum(values) / len(values)


def is_cooling(since: datetime | None, cooldown: int, now: datetime) -> bool:
    """Whether a cooldown that began at `since` is still in effect."""
    return since is not None and now < since + timedelta(seconds=cooldown)


def clamp(capacity: int, low: int, high: int) -> int:
    """The nearest capacity between the bounds."""
    return max(low, min(high, capacity))


def decide(current: int, low: int, high: int, wishes: Sequence[Wish], *, no_out: bool = False, no_in: bool = False) -> Decision:
    """One decision for a target from what its policies want: the largest capacity wins, and scale-in needs every tracking policy's agreement."""
    outward = [wish for wish in wishes if wish.capacity > current]
    if outward:
        wish = max(outward, key=lambda wish: wish.capacity)
        capacity = clamp(wish.capacity, low, high)
        if no_out:
            return Decision(current, wish)
        return Decision(capacity, wish) if capacity > current else Decision(current, wish, AT_MAX)
    holds = any(wish.tracking and wish.capacity == current for wish in wishes)
    inward = [wish for wish in wishes if wish.capacity < current and not (wish.tracking and holds)]
    if not inward:
        refused = next((wish for wish in wishes if wish.refusal), None)
        return Decision(current, refused, refused.refusal if refused else "")
    wish = max(inward, key=lambda wish: wish.capacity)
    capacity = clamp(wish.capacity, low, high)
    if no_in:
        return Decision(current, wish)
    return Decision(capacity, wish) if capacity < current else Decision(current, wish, AT_MIN)
