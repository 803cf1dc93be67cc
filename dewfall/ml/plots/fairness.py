"""Bias metrics of one facet value as bars around zero, with their intervals where there are some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

NEUTRAL = {"DI": 1.0}  # metrics that are fair at another value than 0


def bias(metrics: Sequence[Mapping[str, Any]], title: str) -> Spec:
    """Bars of the metrics as analysis.json has them; those without a finite value are named below the title.

    metrics: [{"name", "description", "value", "confidence_interval"?: [low, high]}]. DI is drawn as its distance from 1.

    >>> bias([{"name": "CI", "description": "Class Imbalance (CI)", "value": 0.4}], "Bias")["title"]["text"]
    'Bias'
    """
    drawn = [metric for metric in metrics if isinstance(metric.get("value"), (int, float))]
    absent = [str(metric["name"]) for metric in metrics if metric not in drawn]
    names = [str(metric["name"]) for metric in drawn]
    fair = [NEUTRAL.get(name, 0.0) for name in names]
    ends = [metric.get("confidence_interval") or (None, None) for metric in drawn]
    data = look.rows(
        name=[f"{name} - 1" if at else name for name, at in zip(names, fair, strict=True)],
        value=[metric["value"] - at for metric, at in zip(drawn, fair, strict=True)],
        low=[None if low is None else low - at for (low, _), at in zip(ends, fair, strict=True)],
        high=[None if high is None else high - at for (_, high), at in zip(ends, fair, strict=True)],
        about=[str(metric.get("description", "")) for metric in drawn],
    )
    y = {"field": "name", "type": "nominal", "sort": None, "title": None}
    x = look.quantitative("value", "Metric (0 is fair)", zero=True)
    layers: list[Spec] = [{"mark": {"type": "bar", "color": look.BLUE, "height": {"band": 0.6}}, "encoding": {"y": y, "x": x}}]
    if any(low is not None for low, _ in ends):
        span = {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}, "y": y}
        layers.append(
            {"transform": [{"filter": "isValid(datum.low)"}], "mark": {"type": "rule", "color": look.INK, "strokeWidth": 1.5}, "encoding": span}
        )
    layers.append(look.rule_at(0, "x"))
    subtitle = f"not finite or not computed: {', '.join(absent)}" if absent else ""
    return look.chart(title, {"layer": layers}, subtitle=subtitle, height={"step": 20}) | {"data": data}
