"""Where to cut a score in two, by the criteria of AWS's linear learner, and the measures of the two sides.

Every cut between two different scores is weighed at once by sorting them, so choosing is exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CRITERIA = ("accuracy", "f_beta", "f1", "precision_at_target_recall", "recall_at_target_precision")


@dataclass(frozen=True, slots=True)
class Cut:
    """Scores >= threshold count as 1; `value` is what the criterion gives there."""

    threshold: float
    value: float


def choose(scores: NDArray[Any], labels: NDArray[Any], criterion: str, *, target: float = 0.8, beta: float = 1.0) -> Cut:
    """The cut that a criterion likes best.

    scores: (n,) numbers. labels: (n,) of 0 and 1. criterion: one of CRITERIA; target: the recall or precision to keep.
    Returns a Cut, its value in [0, 1]; -1 when no cut keeps the target. Raises ValueError for an unknown criterion.

    >>> choose(np.array([0.1, 0.4, 0.6]), np.array([0, 1, 1]), "accuracy")
    Cut(threshold=0.25, value=1.0)
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion: {criterion!r} is not one of {', '.join(CRITERIA)}")
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    ranked, truth = np.asarray(scores, dtype=np.float64)[order], np.asarray(labels)[order] > 0
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.concatenate([[0], np.cumsum(truth)[ends]])
    said = np.concatenate([[0], ends + 1])
    values = _values(criterion, hits.astype(np.float64), said.astype(np.float64), float(truth.sum()), len(truth), target, beta)
    best = int(np.argmax(values))
    return Cut(_between(ranked, int(said[best])), float(values[best]))


def _values(criterion: str, hits: NDArray[Any], said: NDArray[Any], true: float, n: int, target: float, beta: float) -> NDArray[Any]:
    precision = np.divide(hits, said, out=np.ones_like(hits), where=said > 0)
    recall = hits / true if true else np.zeros_like(hits)
    if criterion == "accuracy":
        result: NDArray[Any] = (hits + (n - true) - (said - hits)) / n
        return result
    if criterion == "precision_at_target_recall":
        return np.where(recall >= target, precision, -1.0)
    if criterion == "recall_at_target_precision":
        return np.where((precision >= target) & (said > 0), recall, -1.0)
    square = 1.0 if criterion == "f1" else beta**2
    below = square * true + said
    f_beta: NDArray[Any] = np.divide((1 + square) * hits, below, out=np.zeros_like(hits), where=below > 0)
    return f_beta


def _between(ranked: NDArray[np.float64], count: int) -> float:
    """A threshold that lets just the first `count` scores pass: halfway to the next."""
    if count == 0:
        return float(np.nextafter(ranked[0], np.inf))
    if count == len(ranked):
        return float(ranked[-1])
    middle = (ranked[count - 1] + ranked[count]) / 2
    return float(middle if middle > ranked[count] else ranked[count - 1])


def measures(found: NDArray[Any], labels: NDArray[Any], beta: float = 1.0) -> dict[str, float]:
    """accuracy, precision, recall and f_beta of labels found, each in [0, 1] (0 where a denominator is 0).

    >>> measures(np.array([1, 1, 0]), np.array([1, 0, 0]))["precision"]
    0.5
    """
    said, true = np.asarray(found) > 0, np.asarray(labels) > 0
    hits = float((said & true).sum())
    precision = hits / said.sum() if said.any() else 0.0
    recall = hits / true.sum() if true.any() else 0.0
    below = beta**2 * precision + recall
    f_beta = (1 + beta**2) * precision * recall / below if below else 0.0
    return {"accuracy": float((said == true).mean()), "precision": float(precision), "recall": float(recall), "f_beta": float(f_beta)}
