"""Matrices as pictures: confusion counts with row shares, correlations in the order of their clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml import metrics
from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

CELL = 44
MOST_TEXT = 14  # classes or columns up to which cells carry numbers


def confusion(matrix: metrics.Confusion) -> Spec:
    """Rows of actual, columns of predicted classes: counts, coloured by the share of their row.

    >>> confusion(metrics.confusion(["a", "b"], ["a", "a"]))["title"]["subtitle"]
    'accuracy 0.500'
    """
    table, names = matrix.table, list(matrix.classes)
    total = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, total, out=np.zeros_like(table), where=total > 0)
    places = [(i, j) for i in range(len(names)) for j in range(len(names))]
    data = look.rows(
        actual=[names[i] for i, _ in places],
        predicted=[names[j] for _, j in places],
        share=[shares[i, j] for i, j in places],
        text=[f"{table[i, j]:,.6g}" for i, j in places],
        percent=[f"{shares[i, j]:.1%}" for i, j in places],
    )
    x = {"field": "predicted", "type": "nominal", "title": "Predicted class", "sort": names, "axis": {"labelAngle": 0 if len(names) < 6 else -45}}
    y = {"field": "actual", "type": "nominal", "title": "Actual class", "sort": names}
    color = {"field": "share", "type": "quantitative", "title": "Share of row", "scale": {"domain": [0, 1], "range": list(look.SEQUENTIAL)}}
    layers: list[Spec] = [{"mark": {"type": "rect"}, "encoding": {"color": color}}]
    if len(names) <= MOST_TEXT:
        roomy = len(names) <= 6
        layers.append(_text("text", 13 if roomy else 10, -7 if roomy else 0, "datum.share > 0.6"))
        if roomy:
            layers.append(_text("percent", 10, 9, "datum.share > 0.6"))
    accuracy = float(np.trace(table) / table.sum()) if table.sum() else 0.0
    side = max(CELL * (2 if len(names) <= 6 else 1) * len(names), 160) if len(names) <= MOST_TEXT else 480
    spec = look.chart("Confusion matrix", {"layer": layers}, subtitle=f"accuracy {accuracy:.3f}", width=side, height=side * 3 // 4)
    return spec | {"data": data, "encoding": {"x": x, "y": y}}


def correlations(matrix: Any, names: Sequence[str], *, kind: str = "Correlation") -> Spec:
    """A symmetric matrix of [-1, 1] with like columns beside each other.

    matrix: (d, d), NaN where undefined. names: d. Raises ValueError naming the argument.
    """
    table = np.asarray(matrix, dtype=np.float64)
    if table.shape != (len(names), len(names)) or not len(names):
        raise ValueError(f"matrix: expected shape {(len(names), len(names))}, got {table.shape}")
    order = [names[i] for i in _alike(table)]
    places = [(i, j) for i in range(len(names)) for j in range(len(names))]
    data = look.rows(
        a=[names[i] for i, _ in places],
        b=[names[j] for _, j in places],
        value=[table[i, j] for i, j in places],
        text=["" if np.isnan(table[i, j]) else f"{table[i, j]:.2f}" for i, j in places],
    )
    color = {
        "field": "value",
        "type": "quantitative",
        "title": kind,
        "scale": {"domain": [-1, 0, 1], "range": list(look.DIVERGING), "interpolate": "lab"},
    }
    encoding = {
        "x": {"field": "b", "type": "nominal", "title": None, "sort": order, "axis": {"labelAngle": -45}},
        "y": {"field": "a", "type": "nominal", "title": None, "sort": order},
    }
    layers: list[Spec] = [{"mark": {"type": "rect"}, "encoding": {"color": color}}]
    if len(names) <= MOST_TEXT:
        layers.append(_text("text", 10, 0, "abs(datum.value) > 0.6"))
    side = min(max(CELL * len(names), 160), 640)
    return look.chart(kind, {"layer": layers}, width=side, height=side) | {"data": data, "encoding": encoding}


def _text(field: str, size: int, shift: int, on_dark: str) -> Spec:
    color = {"condition": {"test": on_dark, "value": look.ON_DARK}, "value": look.ON_LIGHT}
    return {"mark": {"type": "text", "fontSize": size, "dy": shift}, "encoding": {"text": {"field": field}, "color": color}}


def _alike(table: NDArray[np.float64]) -> list[int]:
    """The order in which an average-linkage tree of 1 - |value| has its leaves."""
    if len(table) < 3:
        return list(range(len(table)))
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    apart = 1 - np.abs(np.nan_to_num(table))
    np.fill_diagonal(apart, 0)
    flat = squareform((apart + apart.T) / 2, checks=False)
    return [int(i) for i in leaves_list(optimal_leaf_ordering(linkage(flat, "average"), flat))]
