"""Curves of a classifier: ROC, precision against recall, calibration, and what is won by asking the likeliest first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml import metrics
from dewfall.ml.plots import look
from dewfall.ml.plots.look import Spec

POINTS = 512  # of a curve; its corners are kept


def roc(positive: Any, scores: Any, weights: Any = None) -> Spec:
    """The ROC curve with its area.

    positive, scores, weights: as `metrics.curves`, which raises ValueError for what it cannot use.

    >>> roc([True, False, True], [0.9, 0.8, 0.7])["title"]["subtitle"]
    'area under the curve 0.500'
    """
    found = metrics.curves(positive, scores, weights)
    return roc_of(found.false_positive_rates, found.true_positive_rates, found.auc)


def roc_of(false_positive_rates: Any, true_positive_rates: Any, area: float | None = None) -> Spec:
    """The ROC curve of points that are there already, from (0, 0) to (1, 1)."""
    x, y = _corners(np.asarray(false_positive_rates, dtype=np.float64), np.asarray(true_positive_rates, dtype=np.float64))
    curve = _line(x, y, ("False positive rate", "True positive rate"))
    area = float(np.trapezoid(y, x)) if area is None else area
    return look.chart("ROC curve", look.line_between((0, 0), (1, 1)), curve, subtitle=f"area under the curve {area:.3f}")


def precision_recall(positive: Any, scores: Any, weights: Any = None) -> Spec:
    """Precision against recall, with the share of positives as the floor of a guess. Arguments as `roc`."""
    found = metrics.curves(positive, scores, weights)
    share = float(np.average(np.asarray(positive, dtype=np.float64), weights=weights))
    return precision_recall_of(found.precisions, found.recalls, found.average_precision, share)


def precision_recall_of(precisions: Any, recalls: Any, average: float | None = None, share: float | None = None) -> Spec:
    """Precision against recall of points that are there already."""
    x, y = _corners(np.asarray(recalls, dtype=np.float64), np.asarray(precisions, dtype=np.float64))
    layers = [_line(x, y, ("Recall", "Precision"))]
    if share is not None:
        layers.append(look.rule_at(share, "y", "share of positives"))
    subtitle = f"average precision {average:.3f}" if average is not None else ""
    return look.chart("Precision and recall", *layers, subtitle=subtitle)


def calibration(positive: Any, scores: Any, weights: Any = None, *, bins: int = 10) -> Spec:
    """Share of positives against the mean score per bin; the size of a point tells its rows. Arguments as `metrics.calibration`."""
    found = metrics.calibration(positive, scores, weights, bins=bins)
    points = {
        "data": look.rows(x=found.scores, y=found.positives, rows=found.rows),
        "encoding": {
            "x": look.quantitative("x", "Mean predicted probability", low=0, high=1),
            "y": look.quantitative("y", "Share of positives", low=0, high=1),
        },
        "layer": [
            {"mark": {"type": "line", "color": look.BLUE}},
            {
                "mark": {"type": "circle", "color": look.BLUE, "opacity": 1},
                "encoding": {"size": {"field": "rows", "type": "quantitative", "title": "Rows", "scale": {"range": [30, 300]}}},
            },
        ],
    }
    subtitle = f"expected calibration error {found.error:.3f}"
    return look.chart("Calibration", look.line_between((0, 0), (1, 1)), points, subtitle=subtitle)


def lift(positive: Any, scores: Any) -> Spec:
    """Cumulative gains: the share of all positives found among the rows with the highest scores.

    positive: (n,) yes or no, at least one yes. scores: (n,) finite. Raises ValueError naming the argument.
    """
    held = look.finite(scores, "scores")
    flags = np.asarray(positive, dtype=np.float64)
    if flags.shape != held.shape:
        raise ValueError(f"positive: expected {len(held)} values, got shape {flags.shape}")
    if not flags.any():
        raise ValueError("positive: there is no positive row")
    found = np.append(0, np.cumsum(flags[np.argsort(-held, kind="stable")])) / flags.sum()
    place = look.thin(len(found), 101)
    x = place / (len(found) - 1)
    tenth = float(np.interp(0.1, np.linspace(0, 1, len(found)), found)) / 0.1
    curve = _line(x, found[place], ("Share of rows, highest scores first", "Share of positives found"))
    return look.chart("Cumulative gains", look.line_between((0, 0), (1, 1)), curve, subtitle=f"lift of the first tenth {tenth:.2f}")


def _line(x: NDArray[np.float64], y: NDArray[np.float64], titles: tuple[str, str]) -> Spec:
    order = np.arange(len(x))
    return {
        "data": look.rows(x=x, y=y, i=order),
        "mark": {"type": "line", "color": look.BLUE, "strokeWidth": 2},
        "encoding": {
            "x": look.quantitative("x", titles[0], low=0, high=1),
            "y": look.quantitative("y", titles[1], low=0, high=1),
            "order": {"field": "i"},
        },
    }


def _corners(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The curve without the points that lie on a straight line between their neighbours, thinned to POINTS."""
    if len(x) > 2:
        turn = np.abs(np.diff(x[:-1]) * np.diff(y[1:]) - np.diff(x[1:]) * np.diff(y[:-1])) > 1e-15
        kept = np.concatenate([[True], turn, [True]])
        x, y = x[kept], y[kept]
    place = look.thin(len(x), POINTS)
    return x[place], y[place]
