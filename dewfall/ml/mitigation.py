"""What can be done about bias: reweighing the rows, a threshold per facet, resampling; each with the bias before and after.

Sources: reweighing and resampling by Kamiran and Calders 2012, "Data preprocessing techniques for classification without discrimination";
thresholds per group after Hardt, Price and Srebro 2016, "Equality of opportunity in supervised learning".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml import bias

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]
GOALS = ("DPPL", "RD")


@dataclass(frozen=True, slots=True)
class Report:
    """Metrics of bias.measure before and after, by name; None where one cannot be computed."""

    before: dict[str, float | None]
    after: dict[str, float | None]


def reweigh(facet: Any, positive: Any) -> tuple[Numbers, Report]:
    """(weights (n,), report): rows weighted so that facet and label are independent, w = P(facet)·P(label) / P(facet, label).

    facet: (n,) is the row of the sensitive facet. positive: (n,) has it the positive label. The weights' mean is 1; DPL after is 0 where
    all four combinations occur. Raises ValueError (facet, positive) for columns of other lengths or without rows.

    >>> weights, report = reweigh([True, True, False, False, False, False], [True, False, True, True, True, False])
    >>> weights.round(3).tolist(), report.before["DPL"], round(report.after["DPL"], 9)
    ([1.333, 0.667, 0.889, 0.889, 0.889, 1.333], 0.25, 0.0)
    """
    d, y = _flags(facet, "facet"), _flags(positive, "positive")
    _same(d, y, "positive")
    table = _joint(d, y)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    ratio = np.divide(expected, table, out=np.zeros_like(table), where=table > 0)
    weights = ratio[d.astype(int), y.astype(int)]
    weights *= len(weights) / weights.sum()
    return weights, Report(_pre(d, y), _pre(d, y, weights))


def resample(facet: Any, positive: Any, *, seed: int = 0) -> tuple[NDArray[np.int64], Report]:
    """(rows (n,), report): as many rows as before, drawn so that each combination of facet and label has the share of independence.

    Combinations with too many rows are thinned without replacement, those with too few get all of theirs and repeat some. Arguments and
    errors as `reweigh`.

    >>> rows, report = resample([True] * 6 + [False] * 6, [True] * 2 + [False] * 4 + [True] * 4 + [False] * 2)
    >>> len(rows), report.before["DPL"] > 0.3, report.after["DPL"]
    (12, True, 0.0)
    """
    d, y = _flags(facet, "facet"), _flags(positive, "positive")
    _same(d, y, "positive")
    table = _joint(d, y)
    wanted = _whole(np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum(), len(d))
    rng = np.random.default_rng(seed)
    chosen = []
    for f in (0, 1):
        for label in (0, 1):
            mine = np.flatnonzero((d == bool(f)) & (y == bool(label)))
            count = int(wanted[f, label])
            if not len(mine):
                continue
            extra = max(0, count - len(mine))
            kept = mine if extra or count == len(mine) else rng.choice(mine, count, replace=False)
            chosen.append(np.concatenate([kept, rng.choice(mine, extra)]) if extra else kept)
    rows = np.sort(np.concatenate(chosen))
    return rows, Report(_pre(d, y), _pre(d[rows], y[rows]))


def facet_thresholds(facet: Any, positive: Any, scores: Any, *, goal: str = "DPPL", threshold: float = 0.5) -> tuple[dict[bool, float], Report]:
    """(threshold of each side of the facet, report): cuts that bring `goal` closest to 0 while as many rows as before are accepted.

    facet, positive: as `reweigh`. scores: (n,), higher means more positive. goal: "DPPL" (equal shares accepted) or "RD" (equal
    recall). A score is accepted above its side's threshold. Raises ValueError (goal, scores) besides.

    >>> cuts, report = facet_thresholds([True] * 4 + [False] * 4, [1, 1, 0, 0] * 2, [0.45, 0.4, 0.2, 0.1, 0.9, 0.8, 0.6, 0.2])
    >>> cuts[True] < 0.5 <= cuts[False], report.before["DPPL"], report.after["DPPL"]
    (True, 0.75, 0.25)
    """
    if goal not in GOALS:
        raise ValueError(f"goal: {goal!r} is not one of {', '.join(GOALS)}")
    d, y = _flags(facet, "facet"), _flags(positive, "positive")
    held = np.asarray(scores, dtype=np.float64)
    _same(d, y, "positive")
    if held.shape != d.shape or not np.isfinite(held).all():
        raise ValueError(f"scores: expected {len(d)} finite numbers, got shape {held.shape}")
    if d.all() or not d.any():
        raise ValueError("facet: both sides need rows")
    before = held > threshold
    accepted = int(before.sum())
    cuts = _best(d, y, held, accepted, goal)
    after = held > np.where(d, cuts[True], cuts[False])
    return cuts, Report(_post(d, y, before), _post(d, y, after))


def _best(d: Mask, y: Mask, scores: Numbers, accepted: int, goal: str) -> dict[bool, float]:
    """Of all ways to share `accepted` between the sides (best scores first on each), the fairest; of equal ones, with the best accuracy."""
    sides = {side: np.sort(scores[d == side])[::-1] for side in (True, False)}
    base = {side: (y & (d == side)) if goal == "RD" else (d == side) for side in (True, False)}
    best, found = (np.inf, np.inf), {True: np.inf, False: np.inf}
    for count in range(max(0, accepted - len(sides[False])), min(accepted, len(sides[True])) + 1):
        cuts = {True: _cut(sides[True], count), False: _cut(sides[False], accepted - count)}
        said = scores > np.where(d, cuts[True], cuts[False])
        rate = {side: float(said[mask].mean()) if mask.any() else 0.0 for side, mask in base.items()}
        key = (round(abs(rate[False] - rate[True]), 12), float((said != y).mean()))
        if key < best:
            best, found = key, cuts
    return found


def _cut(ranked: Numbers, count: int) -> float:
    """A threshold that the first `count` of descending scores lie above (equal scores stay together)."""
    if count <= 0:
        return float(ranked[0])
    if count >= len(ranked):
        return float(np.nextafter(ranked[-1], -np.inf))
    return float((ranked[count - 1] + ranked[count]) / 2) if ranked[count - 1] > ranked[count] else float(np.nextafter(ranked[count], -np.inf))


def _flags(values: Any, name: str) -> Mask:
    held = np.asarray(values)
    if held.ndim != 1 or not held.size:
        raise ValueError(f"{name}: expected a column with rows, got shape {held.shape}")
    return held.astype(bool)


def _same(one: Mask, other: Mask, name: str) -> None:
    if len(one) != len(other):
        raise ValueError(f"{name}: expected {len(one)} values, got {len(other)}")


def _joint(d: Mask, y: Mask, weights: Numbers | None = None) -> Numbers:
    return np.bincount(d.astype(int) * 2 + y, weights, minlength=4).astype(np.float64).reshape(2, 2)


def _whole(shares: Numbers, total: int) -> Numbers:
    """Whole numbers closest to shares, with their sum (largest remainders)."""
    floor = np.floor(shares)
    order = np.argsort((floor - shares).ravel(), kind="stable")
    floor.ravel()[order[: total - int(floor.sum())]] += 1
    return floor


def _pre(d: Mask, y: Mask, weights: Numbers | None = None) -> dict[str, float | None]:
    """CI and DPL, weighted."""
    table = _joint(d, y, weights)
    n_a, n_d = table.sum(axis=1)
    gap = float(table[0, 1] / n_a - table[1, 1] / n_d) if n_a and n_d else None
    return {"CI": float((n_a - n_d) / (n_a + n_d)), "DPL": gap}


def _post(d: Mask, y: Mask, said: Mask) -> dict[str, float | None]:
    found = bias.measure(bias.tabulate(d, y, said), ["DPPL", "DI", "RD", "AD", "DAR"])
    return {metric["name"]: metric["value"] for metric in found} | {"accuracy": float((said == y).mean())}
