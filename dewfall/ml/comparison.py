"""Every feature of a data set against its baseline, from the two statistics.json alone: distances, p-values, and the picture of both.

The sketches that Model Monitor's files hold stand for the rows, so a comparison costs milliseconds however long the data set is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml import drift, kll
from dewfall.ml.drift import Histogram
from dewfall.ml.plots import drifting
from dewfall.ml.plots.look import Spec

Document = Mapping[str, Any]
Numbers = NDArray[np.float64]
BUCKETS, BARS = 10, 40
SHIFT = 0.2  # population stability index above which a feature is said to have shifted


@dataclass(frozen=True, slots=True)
class Move:
    """How far a feature is from its baseline. kind: numbers or categories. linf: L-infinity (Kolmogorov–Smirnov for numbers), [0, 1].

    p_value: of Kolmogorov–Smirnov, for categories of chi-square. psi: from 0. jensen_shannon: [0, 1]. wasserstein: in the feature's unit, NaN for
    categories.
    """

    name: str
    kind: str
    linf: float
    p_value: float
    psi: float
    jensen_shannon: float
    wasserstein: float


def compare(statistics: Document, baseline: Document) -> list[Move]:
    """The features that both hold with values of one kind, the furthest moved (by population stability index) first.

    statistics, baseline: statistics.json of data quality (profile.profile). Buckets of the index are the baseline's deciles, or its categories.

    >>> import polars as pl
    >>> from dewfall.ml.profile import profile
    >>> [move] = compare(profile(pl.DataFrame({"a": [3, 4, 5]})), profile(pl.DataFrame({"a": [0, 1, 2]})))
    >>> move.linf, round(move.wasserstein, 6)
    (1.0, 3.0)
    """
    before = {feature["name"]: feature for feature in baseline["features"]}
    found = [_move(feature, before[feature["name"]]) for feature in statistics["features"] if feature["name"] in before]
    return sorted((move for move in found if move is not None), key=lambda move: (-move.psi, move.name))


def picture(feature: Document, baseline: Document) -> Spec | None:
    """Both distributions over one another; None where there is nothing to lay."""
    here, there = sketch_of(feature), sketch_of(baseline)
    if here is not None and there is not None:
        held = [one["numerical_statistics"] for one in (feature, baseline)]
        low, high = min(one["min"] for one in held), max(one["max"] for one in held)
        wide = held[1]["max"] - held[1]["min"]
        if wide > 0:  # what lies further off than the baseline is wide would leave nothing to see of it
            low, high = max(low, held[1]["min"] - wide), min(high, held[1]["max"] + wide)
        if low == high:
            low, high = low - 0.5, high + 0.5
        return drifting.numbers(_histogram(here, low, high), _histogram(there, low, high), str(feature["name"]))
    counts, known = categories_of(feature), categories_of(baseline)
    return drifting.categories(counts, known, str(feature["name"])) if counts and known else None


def sketch_of(feature: Document) -> kll.Sketch | None:
    """A numeric feature's sketch."""
    found = feature.get("numerical_statistics", {}).get("distribution", {}).get("kll", {}).get("sketch")
    return kll.from_json(found) if found else None


def categories_of(feature: Document) -> dict[str, float]:
    """A text feature's categories and their counts."""
    buckets = feature.get("string_statistics", {}).get("distribution", {}).get("categorical", {}).get("buckets", ())
    return {bucket["value"]: float(bucket["count"]) for bucket in buckets}


def _move(feature: Document, baseline: Document) -> Move | None:
    here, there = sketch_of(feature), sketch_of(baseline)
    name = str(feature["name"])
    if here is not None and there is not None:
        return _numbers(name, kll.weighted(here), kll.weighted(there), kll.quantiles(there, list(np.linspace(0, 1, BUCKETS + 1)[1:-1])))
    counts, known = categories_of(feature), categories_of(baseline)
    if not counts or not known:
        return None
    keys = list(dict.fromkeys([*known, *counts]))
    p, q = ([one.get(key, 0.0) for key in keys] for one in (counts, known))
    chance = drift.chi_square(counts, known)[1] if any(key in known for key in counts) else 0.0
    linf = drift.categorical_distance(counts, known, robust=False)
    return Move(name, "categories", linf, chance, drift.psi(p, q), drift.jensen_shannon(p, q), math.nan)


def _numbers(name: str, here: tuple[Numbers, Numbers], there: tuple[Numbers, Numbers], deciles: Numbers) -> Move:
    grid = np.unique(np.concatenate([here[0], there[0]]))
    gap = np.abs(_share(here, grid) - _share(there, grid))
    edges = np.concatenate([[-np.inf], np.unique(deciles), [np.inf]])
    p, q = (np.diff(_share(one, edges)) for one in (here, there))
    linf = float(gap.max())
    chance = drift.ks_p_value(linf, float(here[1].sum()), float(there[1].sum()))
    return Move(name, "numbers", linf, chance, drift.psi(p, q), drift.jensen_shannon(p, q), float(gap[:-1] @ np.diff(grid)))


def _share(held: tuple[Numbers, Numbers], grid: Numbers) -> Numbers:
    """The share of rows at or below each place."""
    ranks = np.concatenate([[0.0], np.cumsum(held[1])])
    return np.asarray(ranks[np.searchsorted(held[0], grid, side="right")] / ranks[-1])


def _histogram(sketch: kll.Sketch, low: float, high: float) -> Histogram:
    items, weights = kll.weighted(sketch)
    place = np.clip(np.floor((items - low) * (BARS / (high - low))), -1, BARS)
    place[(place == BARS) & (items <= high)] = BARS - 1
    return Histogram(low, high, np.bincount((place + 1).astype(np.intp), weights=weights, minlength=BARS + 2).astype(np.float64))
