"""Statistics of a metric's period: Sum and its like, percentiles, and means and counts of a trimmed range.

The notation is CloudWatch's: `Average`, `p99.9`, `tm90`, `TM(10%:90%)`, `wm(5%:95%)`, `PR(:300)`, `IQM`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

PLAIN = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_SHORT = re.compile(r"^(p|tm|tc|ts|wm)(\d{1,2}(?:\.\d{1,10})?|100)$", re.IGNORECASE)
_RANGE = re.compile(r"^(tm|tc|ts|wm|pr)\((?:(-?\d+(?:\.\d+)?)(%?))?:(?:(-?\d+(?:\.\d+)?)(%?))?\)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stat:
    """A statistic. kind: a plain name, or p | tm | tc | ts | wm | pr over [low, high], in percent of the values or as values."""

    kind: str
    low: float = -math.inf
    high: float = math.inf
    in_percent: bool = False

    @property
    def needs_values(self) -> bool:
        """Whether single values must be known."""
        return self.kind not in PLAIN


def parse_stat(text: str) -> Stat:
    """A statistic by its notation. Raises ValueError for what is none."""
    if text in PLAIN:
        return Stat(text)
    if text.upper() == "IQM":
        return Stat("tm", 25.0, 75.0, True)
    short = _SHORT.match(text)
    if short:
        return Stat(short[1].lower(), 0.0, float(short[2]), True)
    span = _RANGE.match(text)
    if span is None or (span[2] is None and span[4] is None):
        raise ValueError(f"{text!r} is no statistic")
    in_percent = bool(span[3] or span[5])
    low = float(span[2]) if span[2] else 0.0 if in_percent else -math.inf
    high = float(span[4]) if span[4] else 100.0 if in_percent else math.inf
    return Stat(span[1].lower(), low, high, in_percent)


def plain_value(kind: str, samples: float, total: float, low: float, high: float) -> float:
    """A plain statistic of a statistic set."""
    values = {"SampleCount": samples, "Sum": total, "Minimum": low, "Maximum": high}
    if kind == "Average":
        return total / samples if samples else 0.0
    return values[kind]


def spread_value(stat: Stat, spread: Iterable[tuple[float, float]]) -> float | None:
    """A statistic that needs single values, of (value, count) pairs; None where some value is unknown (NaN) or nothing is left.

    >>> spread_value(parse_stat("p90"), [(float(n), 1.0) for n in range(1, 11)])
    9.0
    """
    pairs = sorted((value, count) for value, count in spread if count > 0)
    if not pairs or any(math.isnan(value) for value, _ in pairs):
        return None
    if stat.kind == "p":
        return _percentile(pairs, stat.high)
    whole = sum(count for _, count in pairs)
    kept = _trimmed(pairs, stat, whole)
    count = sum(number for _, number in kept)
    total = sum(value * number for value, number in kept)
    if stat.kind == "tc":
        return count
    if stat.kind == "ts":
        return total
    if stat.kind == "pr":
        return 100.0 * count / whole
    if stat.kind == "wm":
        return _winsorized(pairs, kept, whole)
    return total / count if count else None


def _percentile(pairs: list[tuple[float, float]], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed (nearest rank)."""
    wanted = percent / 100.0 * sum(count for _, count in pairs)
    seen = 0.0
    for value, count in pairs:
        seen += count
        if seen >= wanted - 1e-9:
            return value
    return pairs[-1][0]


def _trimmed(pairs: list[tuple[float, float]], stat: Stat, whole: float) -> list[tuple[float, float]]:
    """The part of the values within the range; counts may be cut at its ends."""
    if not stat.in_percent:
        return [(value, count) for value, count in pairs if stat.low < value <= stat.high or value == stat.low == -math.inf]
    first, last = stat.low / 100 * whole, stat.high / 100 * whole
    kept, seen = [], 0.0
    for value, count in pairs:
        inside = min(seen + count, last) - max(seen, first)
        if inside > 1e-9:
            kept.append((value, inside))
        seen += count
    return kept


def _winsorized(pairs: list[tuple[float, float]], kept: list[tuple[float, float]], whole: float) -> float | None:
    """The mean when values outside count as the nearest one inside."""
    if not kept:
        return None
    low, high = kept[0][0], kept[-1][0]
    return sum(min(max(value, low), high) * count for value, count in pairs) / whole
