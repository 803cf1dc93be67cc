"""How a regression errs: residuals against fitted values, predicted against actual, the residuals' histogram and their Q-Q plot.

Clouds of points are counted in a grid first, so a million rows draw as fast as a hundred.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

GRID = 50
FEW = 400  # rows that are drawn as points
SLICES = 20  # for the running quantiles
Numbers = NDArray[np.float64]


def residuals(actual: Any, predicted: Any, *, unit: str = "") -> Spec:
    """Residuals (actual less predicted) against fitted values, with the running median and quartiles.

    actual, predicted: (n,) finite numbers in `unit`. Raises ValueError naming the argument.

    >>> residuals([1.0, 2.0, 4.0], [1.0, 2.5, 3.0], unit="m")["title"]["subtitle"]
    'mean 0.1667, standard deviation 0.6236'
    """
    truth, fitted = _pair(actual, predicted)
    rest = truth - fitted
    titles = look.titled("Fitted value", unit), look.titled("Residual", unit)
    layers = [_cloud(fitted, rest, titles), look.rule_at(0, "y")]
    if len(rest) >= 5 * SLICES:
        layers += _running(fitted, rest)
    subtitle = f"mean {rest.mean():.4g}, standard deviation {rest.std():.4g}"
    return look.chart("Residuals against fitted values", *layers, subtitle=subtitle)


def predicted_against_actual(actual: Any, predicted: Any, *, unit: str = "") -> Spec:
    """Predicted against actual values around the line of a perfect model. Arguments as `residuals`."""
    truth, fitted = _pair(actual, predicted)
    low, high = min(truth.min(), fitted.min()), max(truth.max(), fitted.max())
    titles = look.titled("Actual value", unit), look.titled("Predicted value", unit)
    spread = float(((truth - truth.mean()) ** 2).sum())
    subtitle = f"R² {1 - float(((truth - fitted) ** 2).sum()) / spread:.3f}" if spread else ""
    return look.chart("Predicted against actual", _cloud(truth, fitted, titles), look.line_between((low, low), (high, high)), subtitle=subtitle)


def residual_histogram(actual: Any, predicted: Any, *, unit: str = "", bins: int = 40) -> Spec:
    """The residuals' histogram beside a normal curve of the same mean and spread. Arguments as `residuals`."""
    truth, fitted = _pair(actual, predicted)
    rest = truth - fitted
    counts, edges = np.histogram(rest, bins=bins)
    bars = {
        "data": look.rows(a=edges[:-1], b=edges[1:], n=counts),
        "mark": {"type": "bar", "color": look.SKY, "binSpacing": 1},
        "encoding": {
            "x": look.quantitative("a", look.titled("Residual", unit), bin={"binned": True}),
            "x2": {"field": "b"},
            "y": look.quantitative("n", "Rows", zero=True),
        },
    }
    layers, spread = [bars], float(rest.std())
    if spread:
        at = np.linspace(edges[0], edges[-1], 120)
        bell = np.exp(-0.5 * ((at - rest.mean()) / spread) ** 2) / (spread * np.sqrt(2 * np.pi)) * len(rest) * (edges[1] - edges[0])
        layers.append(_curve(at, bell, look.VERMILION))
    return look.chart("Histogram of residuals", *layers, subtitle="line: a normal distribution of the same mean and spread")


def quantiles(actual: Any, predicted: Any) -> Spec:
    """Q-Q plot: standardised residuals against a normal distribution's quantiles. Arguments as `residuals`."""
    from scipy.stats import norm

    truth, fitted = _pair(actual, predicted)
    rest = truth - fitted
    scaled = (rest - rest.mean()) / (float(rest.std()) or 1.0)
    shares = (np.arange(min(len(scaled), 200)) + 0.5) / min(len(scaled), 200)
    theory, found = norm.ppf(shares), np.quantile(scaled, shares)
    points = {
        "data": look.rows(x=theory, y=found),
        "mark": {"type": "circle", "color": look.BLUE, "size": 18, "opacity": 0.9, "aria": False},
        "encoding": {
            "x": look.quantitative("x", "Normal quantile (standard deviations)"),
            "y": look.quantitative("y", "Residual quantile (standard deviations)"),
        },
    }
    ends = float(theory[0]), float(theory[-1])
    return look.chart("Q-Q plot of residuals", look.line_between((ends[0], ends[0]), (ends[1], ends[1])), points)


def _pair(actual: Any, predicted: Any) -> tuple[Numbers, Numbers]:
    truth, fitted = look.finite(actual, "actual"), look.finite(predicted, "predicted")
    if len(truth) != len(fitted):
        raise ValueError(f"predicted: expected {len(truth)} values, got {len(fitted)}")
    return truth, fitted


def _cloud(x: Numbers, y: Numbers, titles: tuple[str, str]) -> Spec:
    if len(x) <= FEW:
        mark = {"type": "circle", "color": look.BLUE, "size": 22, "opacity": 0.6, "aria": False}
        encoding = {"x": look.quantitative("x", titles[0]), "y": look.quantitative("y", titles[1])}
        return {"data": look.rows(x=x, y=y), "mark": mark, "encoding": encoding}
    counts, across, up = np.histogram2d(x, y, bins=GRID)
    i, j = np.nonzero(counts)
    data = look.rows(x=across[i], x2=across[i + 1], y=up[j], y2=up[j + 1], n=counts[i, j].astype(int))
    opacity = {"field": "n", "type": "quantitative", "title": "Rows", "scale": {"type": "log", "range": [0.12, 1]}}
    encoding = {
        "x": look.quantitative("x", titles[0]),
        "x2": {"field": "x2"},
        "y": look.quantitative("y", titles[1]),
        "y2": {"field": "y2"},
        "opacity": opacity,
    }
    return {"data": data, "mark": {"type": "rect", "color": look.BLUE, "aria": False}, "encoding": encoding}


def _running(x: Numbers, y: Numbers) -> list[Spec]:
    order = np.argsort(x, kind="stable")
    parts = np.array_split(order, SLICES)
    at = np.array([np.median(x[part]) for part in parts])
    low, middle, high = (np.array([np.quantile(y[part], share) for part in parts]) for share in (0.25, 0.5, 0.75))
    return [_curve(at, middle, look.VERMILION), *(_curve(at, side, look.ORANGE, dash=True) for side in (low, high))]


def _curve(x: Numbers, y: Numbers, color: str, *, dash: bool = False) -> Spec:
    mark = {"type": "line", "color": color, "strokeWidth": 2} | ({"strokeDash": [5, 3], "strokeWidth": 1.5} if dash else {})
    return {"data": look.rows(x=x, y=y), "mark": mark, "encoding": {"x": look.quantitative("x", ""), "y": look.quantitative("y", "")}}
