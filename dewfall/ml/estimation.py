"""How good a classifier probably is before any label has come, from its own probabilities; and what delayed labels say when they do.

Source: confidence-based performance estimation, as described by NannyML's documentation: with calibrated probabilities p, a prediction is
right with probability p or 1 - p, so expected counts of the confusion table are sums of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Scores to probabilities, step by step (isotonic): `edges` ascending, `values` at them."""

    edges: Numbers
    values: Numbers

    def __call__(self, scores: Any) -> Numbers:
        return np.asarray(np.interp(np.asarray(scores, dtype=np.float64), self.edges, self.values))


def calibrate(scores: Any, positive: Any) -> Calibrator:
    """Learn on labelled reference rows how likely each score is to be positive (isotonic regression).

    scores: (n,) finite. positive: (n,) yes or no. Raises ValueError (scores, positive) for other lengths or no rows.

    >>> calibrate([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])([0.15, 0.85]).tolist()
    [0.0, 1.0]
    """
    from sklearn.isotonic import IsotonicRegression

    held, flags = _scores(scores), np.asarray(positive, dtype=np.float64)
    if flags.shape != held.shape:
        raise ValueError(f"positive: expected {len(held)} values, got shape {flags.shape}")
    fitted = IsotonicRegression(out_of_bounds="clip").fit(held, flags)
    return Calibrator(np.asarray(fitted.X_thresholds_, dtype=np.float64), np.asarray(fitted.y_thresholds_, dtype=np.float64))


def estimate(probabilities: Any, predicted: Any) -> dict[str, float]:
    """Expected accuracy, precision, recall, F1 and area under the ROC curve of rows without labels.

    probabilities: (n,) calibrated chances of the positive class, [0, 1]. predicted: (n,) the model's yes or no. A metric whose
    denominator is 0 is NaN. Raises ValueError naming the argument.

    >>> {name: round(value, 3) for name, value in estimate([0.9, 0.8, 0.1], [True, True, False]).items()}
    {'accuracy': 0.867, 'precision': 0.85, 'recall': 0.944, 'f1': 0.895, 'roc_auc': 0.94}
    """
    chance = _scores(probabilities)
    if ((chance < 0) | (chance > 1)).any():
        raise ValueError("probabilities: expected values between 0 and 1")
    said = np.asarray(predicted, dtype=bool)
    if said.shape != chance.shape:
        raise ValueError(f"predicted: expected {len(chance)} values, got shape {said.shape}")
    tp, fp = float(chance[said].sum()), float((1 - chance[said]).sum())
    fn, tn = float(chance[~said].sum()), float((1 - chance[~said]).sum())
    return {
        "accuracy": (tp + tn) / len(chance),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "roc_auc": _area(chance),
    }


def windows(times: Any, width: float, *, start: float | None = None) -> list[tuple[float, NDArray[np.int64]]]:
    """(begin, rows) of consecutive windows of `width` seconds that hold rows.

    times: (n,) seconds, in any order. start: where the first window begins, the earliest time by default. Raises ValueError (times, width).

    >>> [(begin, rows.tolist()) for begin, rows in windows([0.0, 5.0, 12.0], 10.0)]
    [(0.0, [0, 1]), (10.0, [2])]
    """
    held = _scores(times, "times")
    if width <= 0:
        raise ValueError("width: must be above 0 seconds")
    origin = float(held.min()) if start is None else start
    place = np.floor((held - origin) / width).astype(np.int64)
    return [(origin + int(at) * width, np.flatnonzero(place == at)) for at in np.unique(place)]


def slope(values: Any) -> tuple[float, float]:
    """(median change per window, p-value of no trend) of a metric over windows: Theil's slope, Kendall's test; NaN for fewer than three.

    >>> round(slope([1.0, 2.0, 3.0, 4.0, 5.0])[0], 6)
    1.0
    """
    from scipy.stats import kendalltau, theilslopes

    held = _scores(values, "values")
    if len(held) < 3:
        return float("nan"), float("nan")
    steps = np.arange(len(held))
    return float(theilslopes(held, steps)[0]), float(kendalltau(steps, held).pvalue)


def _area(chance: Numbers) -> float:
    """Expected share of (positive, negative) pairs in the right order, ties half."""
    order = np.argsort(chance, kind="stable")
    ranked = chance[order]
    negative = 1 - ranked
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    below = np.concatenate([[0.0], np.cumsum(negative)[ends]])
    group = np.searchsorted(ends, np.arange(len(ranked)))
    before, within = below[group], below[group + 1] - below[group]
    pairs = ranked.sum() * negative.sum() - float((ranked * negative).sum())
    won = float((ranked * before).sum()) + float((ranked * (within - negative)).sum()) / 2
    return _ratio(won, float(pairs))


def _ratio(over: float, under: float) -> float:
    return over / under if under else float("nan")


def _scores(values: Any, name: str = "scores") -> Numbers:
    held = np.asarray(values, dtype=np.float64)
    if held.ndim != 1 or not held.size or not np.isfinite(held).all():
        raise ValueError(f"{name}: expected a column of finite numbers, got shape {held.shape}")
    return held
