"""Drift as pictures: two distributions over one another with their widest gap, and a metric over time in its band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dewfall.ml.drift import Histogram
from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

BARS = 40
NAMES = ("Baseline", "Current")
PICKED = {"Baseline": look.SKY, "Current": look.VERMILION}


def numbers(sample: Histogram, baseline: Histogram, name: str, *, unit: str = "") -> Spec:
    """Two histograms of a column over the baseline's bins, and where their distribution functions lie furthest apart.

    sample, baseline: of `drift.histogram`, same bins. Raises ValueError (sample) where they differ.

    >>> from dewfall.ml.drift import histogram
    >>> numbers(histogram([0.0, 1.0], 0.0, 2.0), histogram([1.0, 2.0], 0.0, 2.0), "x")["title"]["subtitle"]
    'widest gap of the distribution functions 0.500'
    """
    if (sample.low, sample.high, len(sample.counts)) != (baseline.low, baseline.high, len(baseline.counts)):
        raise ValueError("sample: the histograms have different bins")
    p, q = sample.counts / sample.counts.sum(), baseline.counts / baseline.counts.sum()
    apart = np.abs(np.cumsum(p - q))
    edges = np.linspace(baseline.low, baseline.high, len(p) - 1)
    gap = int(np.argmax(apart))
    at = float(edges[min(gap, len(edges) - 1)])
    first, last = _coarse(q[1:-1], edges), _coarse(p[1:-1], edges)
    data = look.rows(
        a=[*first[0], *last[0]],
        b=[*first[1], *last[1]],
        share=[*first[2], *last[2]],
        who=[NAMES[0]] * len(first[0]) + [NAMES[1]] * len(last[0]),
    )
    bars = {
        "data": data,
        "mark": {"type": "bar", "opacity": 0.6, "binSpacing": 0},
        "encoding": {
            "x": look.quantitative("a", look.titled(name, unit), bin={"binned": True}),
            "x2": {"field": "b"},
            "y": look.quantitative("share", "Share of rows", zero=True, stack=None, axis={"format": "%"}),
            "color": {"field": "who", "type": "nominal", "title": None, "scale": look.colors(NAMES, PICKED)},
        },
    }
    subtitle = f"widest gap of the distribution functions {float(apart.max()):.3f}"
    layers = [bars] if not apart.max() else [bars, look.rule_at(at, "x", "widest gap", color=look.INK)]
    return look.chart(f"Distribution of {name}", *layers, subtitle=subtitle)


def categories(sample: Mapping[Any, float], baseline: Mapping[Any, float], name: str, *, most: int = 20) -> Spec:
    """Shares of categories side by side, the baseline's commonest first. Raises ValueError (sample, baseline) without counts."""
    totals = {"sample": sum(sample.values()), "baseline": sum(baseline.values())}
    for argument, total in totals.items():
        if total <= 0:
            raise ValueError(f"{argument}: there are no counts")
    known = sorted({*sample, *baseline}, key=lambda value: (-baseline.get(value, 0), -sample.get(value, 0), str(value)))[:most]
    shares = [baseline.get(value, 0) / totals["baseline"] for value in known] + [sample.get(value, 0) / totals["sample"] for value in known]
    bars = {
        "data": look.rows(value=[str(value) for value in known] * 2, share=shares, who=[NAMES[0]] * len(known) + [NAMES[1]] * len(known)),
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "value", "type": "nominal", "sort": [str(value) for value in known], "title": name},
            "yOffset": {"field": "who", "sort": list(NAMES)},
            "x": look.quantitative("share", "Share of rows", zero=True, axis={"format": "%"}),
            "color": {"field": "who", "type": "nominal", "title": None, "scale": look.colors(NAMES, PICKED)},
        },
    }
    return look.chart(f"Categories of {name}", bars, height={"step": 12})


def trend(times: Sequence[Any], values: Any, name: str, *, low: float | None = None, high: float | None = None, unit: str = "") -> Spec:
    """A metric over time with the band it is allowed to be in; what lies outside is marked.

    times: (n,) datetimes or ISO texts. values: (n,), NaN for a missing run. low, high: the band's ends. Raises ValueError naming the argument.
    """
    held = np.asarray(values, dtype=np.float64)
    if held.ndim != 1 or len(held) != len(times) or not len(held):
        raise ValueError(f"values: expected {len(times)} numbers, got shape {held.shape}")
    outside = (held < (-np.inf if low is None else low)) | (held > (np.inf if high is None else high))
    when = [time.isoformat() if hasattr(time, "isoformat") else str(time) for time in times]
    data = look.rows(t=when, v=held, outside=["outside" if far else "within" for far in outside])
    x = {"field": "t", "type": "temporal", "title": "Time (UTC)", "scale": {"type": "utc"}}
    y = look.quantitative("v", look.titled(name, unit))
    line = {"data": data, "mark": {"type": "line", "color": look.BLUE}, "encoding": {"x": x, "y": y}}
    color = {"field": "outside", "type": "nominal", "title": "Threshold", "scale": look.colors(["within", "outside"], {"outside": look.VERMILION})}
    dots = {"data": data, "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1}, "encoding": {"x": x, "y": y, "color": color}}
    limits = [look.rule_at(value, "y", "threshold", color=look.VERMILION) for value in (low, high) if value is not None]
    return look.chart(f"{name} over time", *limits, line, dots, subtitle=f"{int(outside.sum())} of {len(held)} outside")


def _coarse(shares: Any, edges: Any) -> tuple[Any, Any, Any]:
    """At most BARS bars of fine ones."""
    step = -(-len(shares) // BARS)
    starts = np.arange(0, len(shares), step)
    return edges[starts], edges[np.minimum(starts + step, len(shares))], np.add.reduceat(shares, starts)
