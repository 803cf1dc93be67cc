"""Shapley values as pictures: overall bars, a beeswarm of all rows, one row's waterfall, a feature's dependence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

MOST = 10  # features a picture shows, the weightiest
DOTS = 2000  # of a dependence, and of a beeswarm per feature
SLICES = 10
ALL_DOTS = 4000  # of a beeswarm: a page stays light
Numbers = NDArray[np.float64]


def overall(values: Any, names: Sequence[str], *, most: int = MOST, output: str = "", unit: str = "") -> Spec:
    """Bars of global values, largest first.

    values: (d,), such as `Explanation.overall()[:, 0]`. names: d. Raises ValueError naming the argument.

    >>> len(overall([0.2, 0.1], ["age", "income"])["data"]["values"])
    2
    """
    held = look.finite(values, "values")
    _named(held, names)
    order = np.argsort(-np.abs(held), kind="stable")[:most]
    title = "Feature importance" + (f" for {output}" if output else "")
    bars = {
        "data": look.rows(feature=[names[i] for i in order], value=held[order]),
        "mark": {"type": "bar", "color": look.BLUE},
        "encoding": {
            "x": look.quantitative("value", look.titled("Global SHAP value", unit), zero=True),
            "y": {"field": "feature", "type": "nominal", "sort": None, "title": None},
        },
    }
    return look.chart(title, bars, subtitle=_hidden(len(held), most), height={"step": 22})


def beeswarm(values: Any, rows: Any, names: Sequence[str], *, most: int = MOST, unit: str = "", seed: int = 0) -> Spec:
    """Every row's values: a dot per row and feature, spread where they are dense, coloured by the feature's value.

    values: (n, d) local values of one output. rows: (n, d); a column that is not numbers is drawn grey. Raises ValueError naming the argument.
    """
    held, table = _tables(values, rows, names)
    rng = np.random.default_rng(seed)
    order = np.argsort(-np.abs(held).mean(axis=0), kind="stable")[:most]
    chosen = np.sort(rng.choice(len(held), min(DOTS, ALL_DOTS // len(order), len(held)), replace=False))
    columns: dict[str, list[Any]] = {"feature": [], "value": [], "shift": [], "level": []}
    for feature in order:
        local = held[chosen, feature]
        columns["feature"] += [names[feature]] * len(chosen)
        columns["value"] += list(local)
        columns["shift"] += list(_spread(local, rng))
        columns["level"] += list(_levels(table[chosen, feature]))
    color = {
        "field": "level",
        "type": "quantitative",
        "title": "Feature value",
        "scale": {"domain": [0, 1], "range": [look.BLUE, look.VERMILION]},
        "legend": {"values": [0, 1], "labelExpr": "datum.value < 0.5 ? 'low' : 'high'"},
    }
    dots = {
        "data": look.rows(**columns),
        "mark": {"type": "circle", "size": 12, "opacity": 0.75, "aria": False},
        "encoding": {
            "x": look.quantitative("value", look.titled("SHAP value", unit)),
            "y": {"field": "feature", "type": "nominal", "sort": [names[i] for i in order], "title": None},
            "yOffset": {"field": "shift", "type": "quantitative", "scale": {"domain": [-1.2, 1.2]}},
            "color": {"condition": {"test": "isValid(datum.level)", **color}, "value": look.SOFT_INK},
        },
    }
    return look.chart("SHAP values of all rows", dots, look.rule_at(0, "x"), subtitle=_hidden(held.shape[1], most), height={"step": 30})


def waterfall(values: Any, expected: float, row: Sequence[Any], names: Sequence[str], *, most: int = MOST, unit: str = "") -> Spec:
    """One row's way from the expected value to its prediction, the weightiest features last.

    values: (d,). expected: the mean prediction of the baseline. row: d feature values. Raises ValueError naming the argument.
    """
    held = look.finite(values, "values")
    _named(held, names)
    order = np.argsort(np.abs(held), kind="stable")
    few, many = order[-most:], order[:-most]
    labels = [f"{names[i]} = {_short(row[i])}" for i in few]
    steps = list(held[few])
    if len(many):
        labels.insert(0, f"{len(many)} other feature{'s' if len(many) > 1 else ''}")
        steps.insert(0, float(held[many].sum()))
    ends = expected + np.cumsum(steps)
    starts = np.append(expected, ends[:-1])
    data = look.rows(
        label=labels,
        a=starts,
        b=ends,
        right=np.maximum(starts, ends),
        way=["up" if step >= 0 else "down" for step in steps],
        text=[f"{step:+.3g}" for step in steps],
    )
    y = {"field": "label", "type": "nominal", "sort": list(reversed(labels)), "title": None, "axis": {"labelLimit": 260}}
    scale = look.colors(["up", "down"], {"up": look.VERMILION, "down": look.BLUE})
    bars = {
        "data": data,
        "encoding": {"y": y, "x": look.quantitative("a", look.titled("Prediction", unit))},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.7}},
                "encoding": {"x2": {"field": "b"}, "color": {"field": "way", "type": "nominal", "scale": scale, "title": "Moves the prediction"}},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 10},
                "encoding": {"x": {"field": "right", "type": "quantitative"}, "text": {"field": "text"}},
            },
        ],
    }
    subtitle = f"from the expected value {expected:.4g} to the prediction {float(ends[-1]):.4g}"
    return look.chart("Why this prediction", bars, look.rule_at(expected, "x"), subtitle=subtitle, height={"step": 24})


def dependence(values: Any, rows: Any, names: Sequence[str], feature: int, *, by: int | None = None, unit: str = "") -> Spec:
    """A feature's value against its SHAP value, coloured by the feature it goes together with most.

    values, rows: (n, d). feature, by: columns; without `by`, the column whose values explain most of the scatter that the feature leaves.
    """
    held, table = _tables(values, rows, names)
    if not 0 <= feature < held.shape[1]:
        raise ValueError(f"feature: {feature} is not a column of {held.shape[1]}")
    place = look.thin(len(held), DOTS)
    by = _partner(held[:, feature], table, feature) if by is None else by
    numeric = _numbers(table[:, feature]) is not None
    x = look.quantitative("x", look.titled(names[feature], unit)) if numeric else {"field": "x", "type": "nominal", "title": names[feature]}
    columns: dict[str, Any] = {"x": table[place, feature].tolist(), "y": held[place, feature]}
    encoding: Spec = {"x": x, "y": look.quantitative("y", f"SHAP value of {names[feature]}")}
    if by is not None:
        columns["by"] = list(_levels(table[place, by]))
        scale = {"domain": [0, 1], "range": [look.BLUE, look.VERMILION]}
        legend = {"values": [0, 1], "labelExpr": "datum.value < 0.5 ? 'low' : 'high'"}
        encoding["color"] = {"field": "by", "type": "quantitative", "title": names[by], "scale": scale, "legend": legend}
    mark = {"type": "circle", "size": 16, "opacity": 0.75, "aria": False} | ({} if by is not None else {"color": look.BLUE})
    dots = {"data": look.rows(**columns), "mark": mark, "encoding": encoding}
    return look.chart(f"Dependence on {names[feature]}", look.rule_at(0, "y"), dots)


def _named(held: Numbers, names: Sequence[str]) -> None:
    if len(held) != len(names):
        raise ValueError(f"names: expected {len(held)}, got {len(names)}")


def _tables(values: Any, rows: Any, names: Sequence[str]) -> tuple[Numbers, NDArray[Any]]:
    held, table = np.asarray(values, dtype=np.float64), np.asarray(rows, dtype=object)
    if held.ndim != 2 or held.shape != table.shape or not held.size:
        raise ValueError(f"values: expected the shape of the rows, {table.shape}, got {held.shape}")
    if not np.isfinite(held).all():
        raise ValueError("values: must be finite")
    _named(held[0], names)
    return held, table


def _hidden(features: int, most: int) -> str:
    return f"the {most} weightiest of {features} features" if features > most else ""


def _numbers(column: NDArray[Any]) -> Numbers | None:
    try:
        return np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _levels(column: NDArray[Any]) -> Numbers:
    """Each value's place among the others, [0, 1], infinities at its ends; NaN for what is not a number."""
    numbers = _numbers(column)
    finite = np.empty(0) if numbers is None else numbers[np.isfinite(numbers)]
    if numbers is None or not len(finite):
        return np.full(len(column), np.nan)
    low, high = np.quantile(finite, 0.05), np.quantile(finite, 0.95)
    return np.clip((numbers - low) / (high - low), 0, 1) if high > low else np.where(np.isnan(numbers), np.nan, 0.5)


def _spread(values: Numbers, rng: np.random.Generator) -> Numbers:
    """Shifts in [-1, 1], wide where many values lie close together."""
    counts, edges = np.histogram(values, bins=40)
    density = counts[np.clip(np.searchsorted(edges, values, side="right") - 1, 0, 39)] / counts.max()
    return np.asarray(density * rng.uniform(-1, 1, len(values)))


def _partner(values: Numbers, table: NDArray[Any], feature: int) -> int | None:
    """The column that goes with the values most, where the feature itself stays about the same: within slices of its order."""
    own = _numbers(table[:, feature])
    if own is None or len(values) < 5 * SLICES:
        return None
    slices = np.array_split(np.argsort(own, kind="stable"), SLICES)
    best, found = 0.0, None
    for other in range(table.shape[1]):
        numbers = _numbers(table[:, other])
        if other == feature or numbers is None:
            continue
        strength = sum(_together(values[part], np.nan_to_num(numbers[part])) for part in slices)
        if strength > best:
            best, found = strength, other
    return found


def _together(one: Numbers, other: Numbers) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return abs(float(np.corrcoef(one, other)[0, 1]))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else str(value)[:24]
