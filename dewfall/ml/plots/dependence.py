"""Partial dependence: the mean prediction over a feature's values, single rows' lines behind it, and where the rows are."""

from __future__ import annotations

from typing import Any

import numpy as np

from dewfall.ml.explain import Dependence
from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

LINES = 100  # rows whose own line is drawn


def partial(found: Dependence, name: str, *, output: int = 0, unit: str = "", label: str = "Prediction") -> Spec:
    """Mean prediction (thick), single rows (thin), and the distribution of the feature's values below.

    found: as `explain.partial_dependence` returns it. output: which of k. Raises ValueError (output).
    """
    if not 0 <= output < found.average.shape[1]:
        raise ValueError(f"output: {output} is not one of {found.average.shape[1]}")
    mean = found.average[:, output]
    lines = found.ice[look.thin(len(found.ice), LINES), :, output] if len(found.ice) else None
    return _drawn(list(found.grid), mean, found.share, lines, look.titled(name, unit), f"Partial dependence on {name}", label)


def from_analysis(entry: dict[str, Any], *, output: int = 0) -> Spec:
    """The same from an entry of analysis.json's `pdp` (which has no single rows).

    >>> e = {"feature_name": "Age", "feature_values": [20.0, 40.0], "data_distribution": [0.5, 0.5], "model_predictions": [[0.1, 0.4]]}
    >>> from_analysis(e | {"label_headers": ["Target"]})["title"]["text"]
    'Partial dependence on Age'
    """
    name = str(entry["feature_name"])
    headers = entry.get("label_headers") or ["Prediction"]
    label = str(headers[output]) if output < len(headers) else "Prediction"
    mean = np.asarray(entry["model_predictions"][output], dtype=np.float64)
    return _drawn(list(entry["feature_values"]), mean, entry["data_distribution"], None, name, f"Partial dependence on {name}", label)


def _drawn(grid: list[Any], mean: Any, share: Any, lines: Any, axis: str, title: str, label: str) -> Spec:
    numeric = all(isinstance(look.plain(value), (int, float)) for value in grid)
    x: Spec = (
        look.quantitative("x", axis)
        if numeric
        else {"field": "x", "type": "nominal", "title": axis, "sort": None, "axis": {"labelAngle": 0 if len(grid) < 9 else -45}}
    )
    over = x | {"title": None, "axis": {"labels": False, "ticks": False}}
    y = look.quantitative("y", label)
    layers: list[Spec] = []
    if lines is not None and len(lines) > 1:
        data = look.rows(x=[value for _ in lines for value in grid], y=np.asarray(lines).ravel(), row=np.repeat(np.arange(len(lines)), len(grid)))
        mark = {"type": "line", "color": look.SOFT_INK, "opacity": 0.18, "strokeWidth": 0.8, "aria": False}
        layers.append({"data": data, "mark": mark, "encoding": {"x": over, "y": y, "detail": {"field": "row"}}})
    main: Spec = (
        {"type": "line", "color": look.BLUE, "strokeWidth": 2.5, "point": len(grid) <= 30} if numeric else {"type": "bar", "color": look.BLUE}
    )
    layers.append({"data": look.rows(x=grid, y=mean), "mark": main, "encoding": {"x": over, "y": y}})
    bars = {
        "data": look.rows(x=grid, share=share),
        "mark": {"type": "bar", "color": look.SKY} | ({"size": max(2, look.WIDTH // (len(grid) + 1) - 2)} if numeric else {}),
        "encoding": {"x": x, "y": look.quantitative("share", "Share of rows", zero=True, axis={"tickCount": 2, "format": "%"})},
        "width": look.WIDTH,
        "height": 60,
    }
    head = {"text": title}
    upper = {"layer": layers, "width": look.WIDTH, "height": 220}
    return {
        "$schema": look.SCHEMA,
        "title": head,
        "config": look.CONFIG,
        "vconcat": [upper, bars],
        "resolve": {"scale": {"x": "shared"}},
        "spacing": 8,
    }
