"""Evaluation metrics that the container adds to XGBoost's own, and which of all metrics are better when greater.

Tuning jobs optimise them by name, so names and meaning must be the container's.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.builtin.xgboost.validation import MAXIMIZE

CUSTOM = (
    "accuracy", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "mse", "precision", "precision_macro", "precision_micro", "r2",
    "recall", "recall_macro", "recall_micro",
)  # fmt: skip
Evaluate = Callable[[NDArray[Any], Any], list[tuple[str, float]]]


def is_better_greater(metric: str) -> bool:
    return metric.partition("@")[0] in MAXIMIZE


def split(names: list[str]) -> tuple[list[str], list[str]]:
    """(XGBoost's own, the container's), each in the order given."""
    return [name for name in names if name not in CUSTOM], [name for name in names if name in CUSTOM]


def evaluation(names: list[str], objective: str) -> Evaluate:
    """What `xgboost.train` calls after each round with its predictions."""

    def evaluate(predictions: NDArray[Any], data: Any) -> list[tuple[str, float]]:
        labels = data.get_label()
        return [(name, measure(name, labels, predictions, objective)) for name in names]

    return evaluate


def measure(name: str, labels: NDArray[Any], predictions: NDArray[Any], objective: str) -> float:
    """One metric of predictions as the objective transforms them (probabilities, classes or numbers)."""
    from sklearn import metrics

    if not len(labels):
        return 0.0
    if name == "mse":
        return float(metrics.mean_squared_error(labels, predictions))
    if name == "r2":
        return float(metrics.r2_score(labels, predictions))
    found = classes(predictions, objective)
    if name == "accuracy":
        return float(metrics.accuracy_score(labels, found))
    if name == "balanced_accuracy":
        return float(metrics.balanced_accuracy_score(labels, found))
    kind, _, average = name.partition("_")
    average = average or ("macro" if kind == "f1" else "binary")
    score = {"f1": metrics.f1_score, "precision": metrics.precision_score, "recall": metrics.recall_score}[kind]
    return float(score(labels, found, average=average, zero_division=0))


def classes(predictions: NDArray[Any], objective: str) -> NDArray[Any]:
    """The class each prediction means."""
    if predictions.ndim == 2:
        likeliest: NDArray[Any] = predictions.argmax(axis=1)
        return likeliest
    if objective in ("multi:softmax", "binary:hinge"):
        return predictions.astype(int)
    return (predictions > (0.0 if objective == "binary:logitraw" else 0.5)).astype(np.int64)
