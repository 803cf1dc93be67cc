"""Decisions of Inference Recommender: what fits this machine, what a measured load means in invocations and money, what is best.

Why nothing is extrapolated: a candidate is reported by what it did here, or as not measured.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dewfall.rules.instances import Instance

FAILURES = 0.01  # share of failed requests that a level may have
GIB = 1024**3


def obstacle(instance: Instance | None, name: str, cpus: int, memory: int) -> str:
    """Why an instance type cannot be measured on a machine of so many processors and bytes; "" where it can.

    >>> obstacle(Instance(2, 8), "ml.m5.large", 4, 16 * GIB)
    ''
    >>> obstacle(Instance(96, 384), "ml.m5.24xlarge", 4, 16 * GIB)
    'ml.m5.24xlarge has 96 vCPUs and 384 GiB of memory, this machine 4 and 16 GiB: not measured.'
    """
    if instance is None:
        return f"{name} is an instance type that Dewfall knows nothing about: not measured."
    if instance.gpus:
        return f"{name} has {instance.gpus} GPU: not measured."
    if instance.cpus > cpus or instance.memory_bytes > memory:
        here = f"{cpus} and {memory / GIB:.0f} GiB"
        return f"{name} has {instance.cpus} vCPUs and {instance.memory_gib:g} GiB of memory, this machine {here}: not measured."
    return ""


def environments(ranges: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Every combination of categorical parameters, the first values first; [{}] of none.

    >>> environments([{"Name": "A", "Value": ["1", "2"]}, {"Name": "B", "Value": ["x"]}])
    [{'A': '1', 'B': 'x'}, {'A': '2', 'B': 'x'}]
    """
    names = [one["Name"] for one in ranges]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(one["Value"] for one in ranges))]


def best_level(levels: Sequence[Mapping[str, Any]], threshold: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
    """The level of load with the most invocations per minute whose requests did not fail and were answered within the threshold.

    Where none keeps the threshold, the one with the lowest latency; None where requests failed at every level.
    """
    sound = [level for level in levels if level["requests"] and level["failures"] <= FAILURES * (level["requests"] + level["failures"])]
    if not sound:
        return None
    within = [level for level in sound if keeps(level, threshold)]
    if within:
        return max(within, key=lambda level: float(level["per_minute"]))
    return min(sound, key=lambda level: latency(level, threshold))


def keeps(level: Mapping[str, Any], threshold: Mapping[str, Any] | None) -> bool:
    """Whether a level's latency is within {Percentile, ValueInMilliseconds}."""
    return threshold is None or latency(level, threshold) <= 1000 * threshold["ValueInMilliseconds"]


def latency(level: Mapping[str, Any], threshold: Mapping[str, Any] | None) -> float:
    """A level's latency in microseconds at the threshold's percentile, P95 where it names none."""
    return float(level["latency"].get((threshold or {}).get("Percentile", "P95"), level["latency"]["P95"]))


def cost_per_hour(table: Mapping[str, Any], instance_type: str) -> float | None:
    """The price of an instance's hour; None for a type that the price table does not have."""
    hourly: Mapping[str, float] = table["hourly"]
    return hourly.get(instance_type)


def cost_per_inference(per_hour: float, per_minute: float) -> float:
    """US dollars of one invocation on an instance that is kept busy.

    >>> cost_per_inference(0.6, 100)
    0.0001
    """
    return per_hour / (60 * per_minute)


def serverless_cost(table: Mapping[str, Any], memory_mb: int, microseconds: float) -> float:
    """The price of one invocation of a serverless endpoint that takes so long."""
    return float(table["serverless_gb_second"]) * memory_mb / 1024 * microseconds / 1e6


def prices(file: str = "") -> dict[str, Any]:
    """The price table, with its date. `file`: the user's own, of the same layout, whose members and hourly prices go before ours.

    Raises ValueError where that file cannot be read as one.
    """
    table = _table(Path(__file__).with_name("hosting_prices.json"))
    if not file:
        return table
    own = _table(Path(file))
    return {**table, **own, "hourly": {**table["hourly"], **own.get("hourly", {})}}


def _table(file: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads(file.read_text())
        numbers = [table.get("serverless_gb_second", 0.0), *table.get("hourly", {}).values()]
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"the price table {file} cannot be read: {error}") from None
    if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
        raise ValueError(f"the price table {file} has prices that are no numbers of 0 or more")
    return table


def ranked(found: Iterable[tuple[Mapping[str, Any], bool]]) -> list[int]:
    """Places of metrics, best first: those that reach what was asked for (the flag), then by cost per inference, then by latency."""

    def worth(pair: tuple[int, tuple[Mapping[str, Any], bool]]) -> tuple[bool, float, float]:
        metrics, reaches = pair[1]
        return not reaches, metrics.get("CostPerInference", math.inf), metrics["ModelLatency"]

    return [place for place, _ in sorted(enumerate(found), key=worth)]


def capacity(per_minute: float, cpu_per_core: float, target: float, objective: Mapping[str, int]) -> tuple[int, int, int]:
    """(target invocations per instance and minute, least and most instances) that keep processors at `target` percent of each core.

    Never more than what was measured. objective: MinInvocationsPerMinute, MaxInvocationsPerMinute.

    >>> capacity(1000, 80, 40, {"MinInvocationsPerMinute": 600, "MaxInvocationsPerMinute": 1800})
    (500, 2, 4)
    """
    share = min(1.0, target / cpu_per_core) if cpu_per_core > 0 else 1.0
    each = max(1, math.floor(per_minute * share))
    least = max(1, math.ceil(objective.get("MinInvocationsPerMinute", 1) / each))
    return each, least, max(least, math.ceil(objective.get("MaxInvocationsPerMinute", each) / each))
