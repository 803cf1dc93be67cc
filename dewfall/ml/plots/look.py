"""What every chart shares: the palette (Okabe and Ito's, told apart by colour-blind readers), ink, sizes, and the small layers.

Colours are written as fixed values; `render.themed_svg` turns them into CSS variables for pages that follow the reader's light or dark theme.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Spec = dict[str, Any]

BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7"
SERIES = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE)
INK, SOFT_INK, RULE, PAPER = "#24292F", "#57606A", "#D8DEE4", "#FFFFFF"
ON_LIGHT, ON_DARK = "#101418", "#FDFDFD"  # text on a coloured cell: stays as it is in either theme
SEQUENTIAL = ("#E8F1F8", "#0B4F7D")
DIVERGING = ("#C04A00", "#F4F1EE", "#00588C")
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH, HEIGHT = 420, 300
CONFIG: Spec = {
    "background": None,
    "font": "DejaVu Sans, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT_INK,
        "titleColor": INK,
        "gridColor": RULE,
        "domainColor": SOFT_INK,
        "tickColor": SOFT_INK,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 12,
    },
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "offset": 28},
    "title": {"color": INK, "subtitleColor": SOFT_INK, "fontSize": 14, "subtitleFontSize": 11, "anchor": "start", "fontWeight": 600, "offset": 10},
    "text": {"color": INK},
    "range": {"category": list(SERIES)},
}


def chart(title: str, *layers: Spec, subtitle: str = "", width: int = WIDTH, height: int | Spec = HEIGHT) -> Spec:
    """A whole document of one or more layers.

    >>> chart("A title", {"mark": "bar", "encoding": {}})["title"]
    {'text': 'A title'}
    """
    head: Spec = {"text": title} | ({"subtitle": subtitle} if subtitle else {})
    body: Spec = {"layer": list(layers)} if len(layers) > 1 else dict(layers[0])
    return {"$schema": SCHEMA, "title": head, "width": width, "height": height, "config": CONFIG, **body}


def rows(**columns: Iterable[Any]) -> Spec:
    """Data of equally long columns; numbers keep five significant digits, values that are not finite become null.

    >>> rows(x=[1, 2], y=[0.333333333, float("nan")])
    {'values': [{'x': 1, 'y': 0.33333}, {'x': 2, 'y': None}]}
    """
    names = list(columns)
    return {"values": [dict(zip(names, map(plain, row), strict=True)) for row in zip(*columns.values(), strict=True)]}


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return value


def quantitative(
    field: str, title: str, *, low: float | None = None, high: float | None = None, zero: bool = False, log: bool = False, **more: Any
) -> Spec:
    """A channel of numbers; the title carries the unit: `titled("Age", "years")`."""
    scale: Spec = {"zero": zero, "nice": True}
    if low is not None and high is not None:
        scale |= {"domain": [plain(low), plain(high)], "nice": False}
    if log:
        scale = {"type": "log", "nice": True}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, **more}


def titled(name: str, unit: str = "") -> str:
    """An axis title with its unit.

    >>> titled("Price", "USD"), titled("Share of rows")
    ('Price (USD)', 'Share of rows')
    """
    return f"{name} ({unit})" if unit else name


def line_between(start: tuple[float, float], end: tuple[float, float], *, dash: bool = True) -> Spec:
    """A straight reference line, such as the diagonal of chance."""
    mark = {"type": "line", "color": SOFT_INK, "strokeWidth": 1} | ({"strokeDash": [4, 4]} if dash else {})
    encoding = {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}}
    return {"data": rows(x=[start[0], end[0]], y=[start[1], end[1]]), "mark": mark, "encoding": encoding}


def rule_at(value: float, axis: str, label: str = "", *, color: str = SOFT_INK) -> Spec:
    """A line across the plot at a value of an axis, with a word beside it."""
    data = rows(v=[value], label=[label])
    line: Spec = {"mark": {"type": "rule", "color": color, "strokeDash": [4, 3]}, "encoding": {axis: {"field": "v", "type": "quantitative"}}}
    if not label:
        return {"data": data, **line}
    place = {"y": {"value": -5}} if axis == "x" else {"x": {"value": 0}}
    shift = {"dx": 0, "align": "center"} if axis == "x" else {"dx": 4, "dy": -6, "align": "left"}
    word = {
        "mark": {"type": "text", "color": color, "fontSize": 10, **shift},
        "encoding": {axis: {"field": "v", "type": "quantitative"}, "text": {"field": "label"}, **place},
    }
    return {"data": data, "layer": [line, word]}


def colors(names: Sequence[str], picked: Mapping[str, str] | None = None) -> Spec:
    """A scale that gives each name its colour, in the palette's order or as picked."""
    chosen = [(picked or {}).get(name, SERIES[index % len(SERIES)]) for index, name in enumerate(names)]
    return {"domain": list(names), "range": chosen}


def thin(count: int, most: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """At most `most` evenly spread places out of `count`, first and last among them.

    >>> thin(5, 3).tolist(), thin(2, 9).tolist()
    ([0, 2, 4], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def finite(values: Any, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A column (n,) of finite numbers. Raises ValueError naming the argument."""
    held = np.asarray(values, dtype=np.float64)
    if held.ndim != 1 or not held.size:
        raise ValueError(f"{name}: expected a column with at least one number, got shape {held.shape}")
    if not np.isfinite(held).all():
        raise ValueError(f"{name}: values must be finite")
    return held
