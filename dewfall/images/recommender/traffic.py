"""How many users there are when, and when a load test has seen enough. Pure: time comes in as a number.

PHASES   each phase begins with its initial users and gets `SpawnRate` more every minute
STAIRS   `UsersPerStep` more users at each of `NumberOfSteps` steps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GAIN = 1.05  # more users that do not bring 5 % more invocations have brought none
PATIENCE = 2  # levels in a row without a gain
PERCENTILES = ("P50", "P90", "P95", "P99")


@dataclass(frozen=True, slots=True)
class Level:
    """So many users for so many seconds."""

    users: int
    seconds: float


def levels(pattern: Mapping[str, Any]) -> list[Level]:
    """A TrafficPattern as a list of levels.

    >>> levels({"TrafficType": "STAIRS", "Stairs": {"DurationInSeconds": 9, "NumberOfSteps": 3, "UsersPerStep": 2}})
    [Level(users=2, seconds=9), Level(users=4, seconds=9), Level(users=6, seconds=9)]
    >>> levels({"Phases": [{"InitialNumberOfUsers": 1, "SpawnRate": 1, "DurationInSeconds": 90}]})
    [Level(users=1, seconds=60.0), Level(users=2, seconds=30.0)]
    """
    if pattern.get("TrafficType") == "STAIRS":
        stairs = pattern["Stairs"]
        each, steps = stairs.get("UsersPerStep", 1), stairs.get("NumberOfSteps", 1)
        return [Level(each * step, stairs.get("DurationInSeconds", 120)) for step in range(1, steps + 1)]
    return [level for phase in pattern["Phases"] for level in _phase(phase)]


def _phase(phase: Mapping[str, Any]) -> list[Level]:
    users, rate, left = phase.get("InitialNumberOfUsers", 1), phase.get("SpawnRate", 0), float(phase.get("DurationInSeconds", 120))
    found = []
    while left > 0:
        seconds = min(left, 60.0 / rate) if rate else left
        found.append(Level(users, seconds))
        users, left = users + 1, left - seconds
    return found


def reason_to_stop(measured: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any]) -> str:
    """Why no more load is needed after these levels; "" where it goes on.

    >>> reason_to_stop([{"per_minute": 900, "latency": {"P95": 4000}}], {"MaxInvocations": 800})
    '900 invocations per minute reach the 800 asked for'
    """
    last = measured[-1]
    wanted = conditions.get("MaxInvocations")
    if wanted and last["per_minute"] >= wanted:
        return f"{last['per_minute']:.0f} invocations per minute reach the {wanted} asked for"
    for threshold in conditions.get("ModelLatencyThresholds", ()):
        name, most = threshold.get("Percentile", "P95"), threshold["ValueInMilliseconds"]
        found = last["latency"].get(name, last["latency"]["P95"]) / 1000
        if found > most:
            return f"{name} of {found:.1f} ms is beyond {most} ms"
    if conditions.get("FlatInvocations", "Stop") == "Stop" and len(measured) > PATIENCE:
        before = max(level["per_minute"] for level in measured[:-PATIENCE])
        if all(level["per_minute"] < GAIN * before for level in measured[-PATIENCE:]):
            return "more users bring no more invocations"
    return ""


def measure(users: int, seconds: float, latencies: Sequence[int], failures: int, started: float) -> dict[str, Any]:
    """A level's numbers: invocations per minute, latencies in microseconds at the percentiles (nearest rank), mean."""
    held = sorted(latencies)
    at = {name: held[min(len(held) - 1, int(len(held) * int(name[1:]) / 100))] if held else 0 for name in PERCENTILES}
    return {
        "users": users,
        "seconds": round(seconds, 3),
        "started": started,
        "requests": len(held),
        "failures": failures,
        "per_minute": 60 * len(held) / seconds if seconds else 0.0,
        "latency": {**at, "mean": sum(held) // len(held) if held else 0},
    }
