"""Measurements along a line: metrics by training step, latency against load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

POINTS = 400


def series(lines: Mapping[str, tuple[Sequence[Any], Sequence[float]]], title: str, *, x: str = "Step", y: str = "Value", log: bool = False) -> Spec:
    """Named lines of (x, y) points on common axes, each thinned to POINTS.

    Raises ValueError (lines) where there is none or x and y differ in length.

    >>> series({"train:loss": ([0, 1], [1.0, 0.5])}, "Loss")["data"]["values"][1]
    {'x': 1, 'y': 0.5, 'name': 'train:loss'}
    """
    if not lines:
        raise ValueError("lines: there is no line")
    columns: dict[str, list[Any]] = {"x": [], "y": [], "name": []}
    for name, (across, up) in lines.items():
        if len(across) != len(up):
            raise ValueError(f"lines: {name} has {len(across)} x and {len(up)} y")
        place = look.thin(len(up), POINTS).tolist() if len(up) else []
        columns["x"] += [across[i] for i in place]
        columns["y"] += [float(up[i]) for i in place]
        columns["name"] += [name] * len(place)
    color = {"field": "name", "type": "nominal", "title": None, "scale": look.colors(list(lines))}
    mark = {"type": "line", "point": len(columns["x"]) <= 60}
    encoding = {"x": look.quantitative("x", x), "y": look.quantitative("y", y, log=log), "color": color}
    return look.chart(title, {"data": look.rows(**columns), "mark": mark, "encoding": encoding})
