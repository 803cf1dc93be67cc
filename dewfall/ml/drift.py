"""How far a column has moved from its baseline: Model Monitor's distances, and the usual ones beside them with p-values.

Numbers are compared exactly (one merge of two sorted columns), by KLL sketches, or by a stored histogram of the baseline, which costs one
pass and states its error. Sources: awslabs/deequ `Distance.scala` (L-infinity, chi-square with regrouping, PSI); Villani for Wasserstein.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml import kll

Numbers = NDArray[np.float64]
CUTOFF = 1.8
FEW_OF_TWO, FEW, FEW_SHARE = 10, 5, 0.2
FLOOR = 1e-4
BINS = 1024


@dataclass(frozen=True, slots=True)
class Distances:
    """ks: L-infinity of the distribution functions, [0, 1]. p_value: of ks. wasserstein: in the column's unit. error: how far ks may be off."""

    ks: float
    p_value: float
    wasserstein: float
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """counts (bins + 2,) of equal-width bins between low and high; the first and last place count what lies outside."""

    low: float
    high: float
    counts: Numbers


def correct(distance: float, n: float, m: float, alpha: float | None = None) -> float:
    """Deequ's robust distance: max(0, distance - c·sqrt((n + m) / (n·m))), so that small samples do not raise alarms.

    distance: L-infinity. n, m: sizes, positive. c is 1.8 (alpha near 0.003) or sqrt(-ln(alpha / 2) / 2). Raises ValueError for bad sizes or alpha.

    >>> round(correct(0.5, 100, 100), 4)
    0.2454
    """
    if n <= 0 or m <= 0:
        raise ValueError("n, m: both samples need rows")
    if alpha is not None and not 0 < alpha < 2:
        raise ValueError(f"alpha: {alpha} is not between 0 and 2")
    cutoff = CUTOFF if alpha is None else math.sqrt(-math.log(alpha / 2) / 2)
    return max(0.0, distance - cutoff * math.sqrt((n + m) / (n * m)))


def numeric_distance(sample: Any, baseline: Any, *, robust: bool = True, alpha: float | None = None, ties: str = "all") -> float:
    """L-infinity between two columns or sketches, [0, 1], as Model Monitor's comparison_method "Robust" or "Simple".

    sample, baseline: (n,), (m,) numbers (NaN dropped, infinities refused) or kll.Sketch. ties: "all" counts equal items fully; "last" does as
    Deequ does, which keeps one item per distinct value (the one of the highest weight). Raises ValueError when either is empty.

    >>> numeric_distance([1, 2, 3, 4], [2, 3, 4, 5], robust=False)
    0.25
    """
    if ties not in ("all", "last"):
        raise ValueError(f"ties: {ties!r} is not all or last")
    one, other = _steps(sample, "sample", ties), _steps(baseline, "baseline", ties)
    grid = np.concatenate([one[0], other[0]])
    gap = np.abs(_share(one, grid) - _share(other, grid)).max()
    return correct(float(gap), one[1][-1], other[1][-1], alpha) if robust else float(gap)


def _steps(values: Any, name: str, ties: str) -> tuple[Numbers, Numbers]:
    """(distinct items, rank up to and with each)."""
    if isinstance(values, kll.Sketch):
        items, weights = kll.weighted(values)
    else:
        items = np.sort(_numbers(values, name))
        weights = np.ones(len(items))
    if not len(items):
        raise ValueError(f"{name}: there are no values")
    last = np.append(items[1:] != items[:-1], True)
    return items[last], (np.cumsum(weights[last]) if ties == "last" else np.cumsum(weights)[last])


def _share(steps: tuple[Numbers, Numbers], grid: Numbers) -> Numbers:
    ranks = np.concatenate([[0.0], steps[1]])
    return np.asarray(ranks[np.searchsorted(steps[0], grid, side="right")] / ranks[-1])


def _numbers(values: Any, name: str) -> Numbers:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got {data.ndim}")
    gone = np.isnan(data)
    data = data[~gone] if gone.any() else data
    if np.isinf(data).any():
        raise ValueError(f"{name}: values must be finite")
    return data


def exact(sample: Any, baseline: Any) -> Distances:
    """Kolmogorov–Smirnov statistic with its p-value and Wasserstein-1 distance of two columns in one merge.

    sample, baseline: (n,), (m,) numbers; NaN is dropped. The p-value is that of the one-sample statistic with nm/(n+m) rows, as SciPy's
    "asymp". Raises ValueError (naming the argument) when one is empty or infinite.

    >>> exact([0.0, 1.0], [1.0, 2.0]).wasserstein
    1.0
    """
    one, other = np.sort(_numbers(sample, "sample")), np.sort(_numbers(baseline, "baseline"))
    for name, data in (("sample", one), ("baseline", other)):
        if not len(data):
            raise ValueError(f"{name}: there are no values")
    n, m = len(one), len(other)
    merged, mine = np.empty(n + m), np.zeros(n + m)
    place = np.arange(n) + np.searchsorted(other, one, side="left")
    merged[place], mine[place] = one, 1.0
    merged[mine == 0] = other
    gap = np.abs(np.cumsum(mine * (1 / n + 1 / m) - 1 / m))
    steps = np.diff(merged)
    ks = float(gap[np.append(steps > 0, True)].max())
    return Distances(ks, ks_p_value(ks, n, m), float(gap[:-1] @ steps))


def ks_p_value(ks: float, n: float, m: float) -> float:
    """The chance of a Kolmogorov–Smirnov statistic this large between samples of n and m rows of one distribution, [0, 1]."""
    from scipy.stats import kstwo

    return float(np.clip(kstwo.sf(ks, max(1, np.round(n * m / (n + m)))), 0.0, 1.0))


def histogram(values: Any, low: float | None = None, high: float | None = None, bins: int = BINS) -> Histogram:
    """A column's histogram; give `low` and `high` of the baseline's to compare with it.

    values: (n,) numbers; NaN is dropped. Bins are [a, b), the last one closed. Raises ValueError for no values, no bins or low above high.

    >>> histogram([0.0, 1.0, 2.0, 9.0], 0.0, 2.0, bins=2).counts.tolist()
    [0.0, 1.0, 2.0, 1.0]
    """
    data = _numbers(values, "values")
    if not len(data):
        raise ValueError("values: there are no values")
    if bins < 1:
        raise ValueError("bins: at least one is needed")
    low = float(data.min()) if low is None else low
    high = float(data.max()) if high is None else high
    if low > high:
        raise ValueError(f"low: {low} is above high, {high}")
    scale = bins / (high - low) if high > low else 0.0
    place = np.floor((data - low) * scale)
    np.clip(place, -1, bins, out=place)
    place[(place == bins) & (data <= high)] = bins - 1
    if scale == 0.0:
        place = np.where(data < low, -1.0, np.where(data > high, bins, bins - 1.0))
    return Histogram(low, high, np.bincount((place + 1).astype(np.intp), minlength=bins + 2).astype(np.float64))


def binned(sample: Histogram, baseline: Histogram) -> Distances:
    """The distances of `exact` from two histograms over the same bins; `error` bounds ks (the largest share of one bin).

    Wasserstein is off by less than a bin's width for what lies within the bins, and ignores how far outside the rest lies.
    Raises ValueError (sample) when bins differ.

    >>> binned(histogram([0.0, 1.0], 0.0, 2.0), histogram([1.0, 2.0], 0.0, 2.0)).ks
    0.5
    """
    if (sample.low, sample.high, len(sample.counts)) != (baseline.low, baseline.high, len(baseline.counts)):
        raise ValueError("sample: the histograms have different bins")
    n, m = sample.counts.sum(), baseline.counts.sum()
    p, q = sample.counts / n, baseline.counts / m
    gap = np.abs(np.cumsum(p - q))
    width = (sample.high - sample.low) / (len(p) - 2)
    ks = float(gap.max())
    return Distances(ks, ks_p_value(ks, n, m), float(gap[:-1].sum() * width), float(np.maximum(p, q).max()))


def categorical_distance(sample: Mapping[Any, float], baseline: Mapping[Any, float], *, robust: bool = True, alpha: float | None = None) -> float:
    """L-infinity between the shares of categories, [0, 1], as Model Monitor's categorical_drift_method "LInfinity".

    sample, baseline: category → count. Raises ValueError (naming the argument) when one is empty or a count is negative.

    >>> categorical_distance({"a": 1, "b": 1}, {"a": 1}, robust=False)
    0.5
    """
    p, q = _aligned(sample, baseline)
    gap = float(np.abs(p / p.sum() - q / q.sum()).max())
    return correct(gap, float(p.sum()), float(q.sum()), alpha) if robust else gap


def _aligned(sample: Mapping[Any, float], baseline: Mapping[Any, float]) -> tuple[Numbers, Numbers]:
    keys = list(dict.fromkeys([*baseline, *sample]))
    p, q = (np.array([float(counts.get(key, 0)) for key in keys]) for counts in (sample, baseline))
    for name, counts in (("sample", p), ("baseline", q)):
        if not np.isfinite(counts).all() or (counts < 0).any() or not counts.sum():
            raise ValueError(f"{name}: expected counts, at least one of them positive")
    return p, q


def chi_square(sample: Mapping[Any, float], baseline: Mapping[Any, float]) -> tuple[float, float]:
    """(statistic, p-value) of the sample against the baseline's shares, as Deequ computes it.

    Categories that the baseline does not know are left out. While too many expected counts are small (any below 10 of two, more than 20 %
    below 5 of several) the smallest category joins the next smallest. (nan, nan) when fewer than two remain. Raises ValueError as above.

    >>> chi_square({"a": 30}, {"a": 20, "b": 20})[0]
    30.0
    """
    _aligned(sample, baseline)
    total = sum(count for key, count in sample.items() if key in baseline)
    expected = {key: count / sum(baseline.values()) * total for key, count in baseline.items()}
    observed = {key: float(sample.get(key, 0)) for key in baseline}
    while len(expected) >= 2 and _too_small(expected):
        least = min(expected, key=expected.__getitem__)
        moved, seen = expected.pop(least), observed.pop(least)
        next_least = min(expected, key=expected.__getitem__)
        expected[next_least] += moved
        observed[next_least] += seen
    if len(expected) < 2:
        return math.nan, math.nan
    from scipy.special import chdtrc

    statistic = sum((observed[key] - want) ** 2 / want for key, want in expected.items())
    return float(statistic), float(chdtrc(len(expected) - 1, statistic))


def _too_small(expected: Mapping[Any, float]) -> bool:
    if len(expected) == 2:
        return any(count < FEW_OF_TWO for count in expected.values())
    return sum(count < FEW for count in expected.values()) > int(FEW_SHARE * len(expected))


def psi(actual: Sequence[float] | Numbers, expected: Sequence[float] | Numbers, *, floor: float = FLOOR) -> float:
    """Population stability index of two count vectors over the same buckets: sum (p - q)·ln(p / q), from 0 up; above 0.2 is called a shift.

    floor: the share an empty bucket is given; 0 does as Deequ does (infinite). Raises ValueError (naming the argument) for unequal
    lengths, negative counts or no rows.

    >>> round(psi([50, 50], [25, 75]), 4)
    0.2747
    """
    p, q = _vectors(actual, expected, ("actual", "expected"))
    if floor:
        p, q = np.maximum(p, floor), np.maximum(q, floor)
    kept = (p > 0) | (q > 0)
    with np.errstate(divide="ignore"):
        return float(((p - q)[kept] * (np.log(p[kept]) - np.log(q[kept]))).sum())


def jensen_shannon(sample: Sequence[float] | Numbers, baseline: Sequence[float] | Numbers) -> float:
    """Jensen–Shannon distance of two count vectors: the root of the divergence in bits, [0, 1]. Raises ValueError as `psi`.

    >>> jensen_shannon([1, 0], [0, 1])
    1.0
    """
    p, q = _vectors(sample, baseline, ("sample", "baseline"))
    middle = (p + q) / 2
    bits = sum(float((one[one > 0] * np.log2(one[one > 0] / middle[one > 0])).sum()) for one in (p, q)) / 2
    return math.sqrt(max(0.0, bits))


def _vectors(one: Any, other: Any, names: tuple[str, str]) -> tuple[Numbers, Numbers]:
    p, q = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    for name, counts in zip(names, (p, q), strict=True):
        if counts.ndim != 1 or not np.isfinite(counts).all() or (counts < 0).any() or not counts.sum():
            raise ValueError(f"{name}: expected counts, at least one of them positive")
    if len(p) != len(q):
        raise ValueError(f"{names[0]}: {len(p)} buckets, but {names[1]} has {len(q)}")
    return p / p.sum(), q / q.sum()


def attribution_drift(live: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    """nDCG of the live attributions' ranking with the baseline's attributions as gains, [0, 1] for gains that are not negative.

    live, baseline: feature → global attribution. Model Monitor alarms below 0.90. Raises ValueError (live) when features differ, and
    (baseline) when all gains are zero.

    >>> round(attribution_drift({"a": 0.1, "b": 0.2, "c": 0.7}, {"a": 0.7, "b": 0.5, "c": 0.05}), 2)
    0.69
    """
    if set(live) != set(baseline):
        raise ValueError("live: the features are not those of the baseline")
    names = sorted(live, key=lambda name: -live[name])
    gains = np.array([baseline[name] for name in names], dtype=np.float64)
    discount = 1 / np.log2(np.arange(2, len(names) + 2))
    best = float(np.sort(gains)[::-1] @ discount)
    if not best:
        raise ValueError("baseline: all attributions are zero")
    ranks = np.unique([-live[name] for name in names], return_inverse=True)[1]
    shared = np.bincount(ranks, gains) / np.bincount(ranks)  # features of one live value share their gains, as in scikit-learn
    return float(shared[ranks] @ discount) / best
