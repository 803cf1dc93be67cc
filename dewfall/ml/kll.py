"""The KLL quantile sketch, in the deterministic variant that Model Monitor writes into statistics.json.

Deequ compacts without chance, so equal input gives equal sketches and baselines can be compared byte for byte. Items are taken in runs
between two compactions instead of one by one; the result is the same. Source: awslabs/deequ, QuantileNonSample and NonSampleCompactor;
Karnin, Lang, Liberty, "Optimal quantile approximation in streams", FOCS 2016.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
SIZE = 2048
SHRINK = 0.64


@dataclass(frozen=True, slots=True)
class Level:
    """items of one weight, and how often they were compacted (the offset turns with every second compaction)."""

    items: Numbers
    compactions: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Sketch:
    """levels[h].items weigh 2^h each. size and shrink: Deequ's k and c."""

    levels: tuple[Level, ...] = (Level(np.empty(0)),)
    size: int = SIZE
    shrink: float = SHRINK

    @property
    def count(self) -> int:
        """Rows seen: the sum of all weights."""
        return sum(len(level.items) << height for height, level in enumerate(self.levels))


def learn(sketch: Sketch, values: Any) -> Sketch:
    """The sketch after more values, in their order.

    values: (n,) finite numbers. Raises ValueError for NaN and infinity.

    >>> learn(Sketch(), [3.0, 1.0, 2.0]).count
    3
    """
    data = _finite(values)
    levels = list(sketch.levels)
    start, held = 0, sum(len(level.items) for level in levels)
    while start < len(data):
        room = _capacity(sketch.size, sketch.shrink, len(levels)) - held
        taken = data[start : start + max(1, room + 1)]
        levels[0] = Level(np.concatenate([levels[0].items, taken]), levels[0].compactions, levels[0].offset)
        start += len(taken)
        held += len(taken)
        if len(taken) > room:
            held -= _condense(sketch, levels)
    return Sketch(tuple(levels), sketch.size, sketch.shrink)


def merge(one: Sketch, other: Sketch) -> Sketch:
    """The sketch of both inputs together, as Deequ merges partitions. Raises ValueError (other) when the parameters differ.

    >>> merge(learn(Sketch(), [1.0]), learn(Sketch(), [2.0])).count
    2
    """
    if (one.size, one.shrink) != (other.size, other.shrink):
        raise ValueError("other: sketches of different parameters cannot be merged")
    levels = list(one.levels) + [Level(np.empty(0))] * (len(other.levels) - len(one.levels))
    for height, level in enumerate(other.levels):
        levels[height] = Level(np.concatenate([levels[height].items, level.items]), levels[height].compactions, levels[height].offset)
    while sum(len(level.items) for level in levels) >= _capacity(one.size, one.shrink, len(levels)):
        _condense(one, levels)
    return Sketch(tuple(levels), one.size, one.shrink)


@functools.cache
def _room(size: int, shrink: float, height: int) -> int:
    return 2 * (math.ceil(size * shrink**height / 2) + 1)


@functools.cache
def _capacity(size: int, shrink: float, heights: int) -> int:
    return sum(_room(size, shrink, height) for height in range(heights))


def _condense(sketch: Sketch, levels: list[Level]) -> int:
    """Compact the first full level: every second item of its sorted, even-length prefix moves up. How many items are gone."""
    height = next(h for h, level in enumerate(levels) if len(level.items) >= _room(sketch.size, sketch.shrink, h))
    if height + 1 == len(levels):
        levels.append(Level(np.empty(0)))
    level, above = levels[height], levels[height + 1]
    offset = 1 - level.offset if level.compactions % 2 else level.offset
    even = len(level.items) - len(level.items) % 2
    moved = np.sort(level.items[:even])[offset::2]
    levels[height] = Level(level.items[even:].copy(), level.compactions + 1, offset)
    levels[height + 1] = Level(np.concatenate([above.items, moved]), above.compactions, above.offset)
    return even - len(moved)


def weighted(sketch: Sketch) -> tuple[Numbers, Numbers]:
    """(items in order (m,), the weight of each).

    >>> weighted(learn(Sketch(), [2.0, 1.0]))
    (array([1., 2.]), array([1., 1.]))
    """
    items = np.concatenate([level.items for level in sketch.levels])
    weights = np.repeat([2.0**height for height in range(len(sketch.levels))], [len(level.items) for level in sketch.levels])
    order = np.argsort(items, kind="stable")
    return items[order], weights[order]


def quantiles(sketch: Sketch, shares: Sequence[float]) -> Numbers:
    """The smallest item whose inclusive rank reaches each share of the rows; NaN for an empty sketch.

    shares: between 0 and 1. Rank error below about 1.7 / size at 99 % confidence. Raises ValueError (shares) out of range.

    >>> quantiles(learn(Sketch(), np.arange(1.0, 101.0)), [0.0, 0.5, 1.0]).tolist()
    [1.0, 50.0, 100.0]
    """
    asked = np.asarray(shares, dtype=np.float64)
    if not ((asked >= 0) & (asked <= 1)).all():
        raise ValueError("shares: expected numbers between 0 and 1")
    items, weights = weighted(sketch)
    if not len(items):
        return np.full(len(asked), np.nan)
    ranks = np.cumsum(weights)
    place = np.searchsorted(ranks, asked * ranks[-1] - 1e-9, side="left")
    return np.asarray(items[np.minimum(place, len(items) - 1)])


def buckets(sketch: Sketch, low: float, high: float, count: int = 10) -> list[dict[str, float]]:
    """statistics.json's buckets: equal widths between the column's minimum and maximum, [lower, upper), the last one closed.

    low, high: exact extremes of the data. A constant column has all its rows in the last bucket. Raises ValueError (high) below low.

    >>> buckets(learn(Sketch(), [0.0, 1.0, 2.0]), 0.0, 2.0, 2)
    [{'lower_bound': 0.0, 'upper_bound': 1.0, 'count': 1.0}, {'lower_bound': 1.0, 'upper_bound': 2.0, 'count': 2.0}]
    """
    if high < low:
        raise ValueError(f"high: {high} is below low, {low}")
    items, weights = weighted(sketch)
    edges = [low + (high - low) / count * place for place in range(count)] + [high]
    ranks = np.concatenate([[0.0], np.cumsum(weights)])
    below = ranks[np.searchsorted(items, edges[:-1], side="left")]
    bounds = np.concatenate([below, ranks[-1:]])
    return [{"lower_bound": edges[i], "upper_bound": edges[i + 1], "count": float(bounds[i + 1] - bounds[i])} for i in range(count)]


def to_json(sketch: Sketch) -> dict[str, Any]:
    """The member "sketch" of statistics.json.

    >>> to_json(learn(Sketch(), [1.0]))
    {'parameters': {'c': 0.64, 'k': 2048.0}, 'data': [[1.0]]}
    """
    return {"parameters": {"c": sketch.shrink, "k": float(sketch.size)}, "data": [level.items.tolist() for level in sketch.levels]}


def from_json(document: dict[str, Any]) -> Sketch:
    """The sketch of a statistics.json, also of one that AWS wrote. Raises ValueError (document) when members are missing or no numbers.

    >>> from_json({"parameters": {"c": 0.64, "k": 2048.0}, "data": [[1.0, 2.0], [7.0]]}).count
    4
    """
    try:
        held = document["parameters"]
        levels = tuple(Level(_finite(items)) for items in document["data"])
        return Sketch(levels or (Level(np.empty(0)),), int(held["k"]), float(held["c"]))
    except (KeyError, TypeError, ValueError) as failure:
        raise ValueError(f"document: not a KLL sketch ({failure})") from None


def _finite(values: Any) -> Numbers:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1:
        raise ValueError(f"values: expected one dimension, got {data.ndim}")
    if not np.isfinite(data).all():
        raise ValueError("values: must be finite")
    return data
