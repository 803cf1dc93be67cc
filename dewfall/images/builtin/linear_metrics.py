"""The linear learner's metrics under AWS's names, from scores and labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml import losses, thresholds

OBJECTIVES = {
    "logistic": "binary_classification_cross_entropy_objective",
    "hinge_loss": "hinge_loss_objective",
    "softmax_loss": "multiclass_cross_entropy_objective",
    "squared_loss": "mse_objective",
}
Numbers = NDArray[np.float64]


def objective_name(loss: str) -> str:
    return OBJECTIVES.get(loss, f"{loss}_objective")


def evaluate(scores: Numbers, labels: Numbers, given: dict[str, Any], threshold: float) -> dict[str, float]:
    """Every metric of the predictor type; `given` are the job's hyperparameters."""
    kind = given["predictor_type"]
    if kind == "regressor":
        return _regressor(scores, labels, given)
    if kind == "multiclass_classifier":
        return _multiclass(scores, labels, int(given["accuracy_top_k"] or 3), float(given["f_beta"]))
    return _binary(scores, labels, given, threshold)


def _regressor(scores: Numbers, labels: Numbers, given: dict[str, Any]) -> dict[str, float]:
    miss = scores - labels
    number = {name: value for name, value in given.items() if not isinstance(value, str) and value is not None}
    shape = losses.Shape(
        number.get("loss_insensitivity", 0.01), number.get("quantile", 0.5), number.get("huber_delta", 1.0), number.get("margin", 1.0)
    )
    squared = float((miss**2).mean())
    found = {
        objective_name(given["loss"]): float(losses.loss(given["loss"], scores[:, None], labels, shape).mean()),
        "mse": squared,
        "absolute_loss": float(np.abs(miss).mean()),
        "rmse": squared**0.5,
    }
    total = float(((labels - labels.mean()) ** 2).mean())
    return found | ({"r2": 1 - squared / total} if total else {})


def _binary(scores: Numbers, labels: Numbers, given: dict[str, Any], threshold: float) -> dict[str, float]:
    beta = float(given["f_beta"])
    found = thresholds.measures(scores >= threshold, labels, beta)
    if given["loss"] == "logistic":
        chance = np.clip(scores, 1e-15, 1 - 1e-15)
        objective = float(-np.where(labels > 0, np.log(chance), np.log1p(-chance)).mean())
    else:
        objective = float(losses.loss(given["loss"], scores[:, None], labels, losses.Shape(margin=given["margin"])).mean())
    return {
        objective_name(given["loss"]): objective,
        "binary_classification_accuracy": found["accuracy"],
        f"binary_f_{beta:.3f}": found["f_beta"],
        "precision": found["precision"],
        "recall": found["recall"],
        "roc_auc_score": area_under_roc(scores, labels),
    }


def area_under_roc(scores: Numbers, labels: Numbers) -> float:
    """The chance that a positive scores above a negative, ties by half (Mann–Whitney); 0.5 when one of them is absent."""
    from scipy.stats import rankdata

    true = labels > 0
    positives, negatives = int(true.sum()), int((~true).sum())
    if not positives or not negatives:
        return 0.5
    return float((rankdata(scores)[true].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _multiclass(scores: Numbers, labels: Numbers, top: int, beta: float) -> dict[str, float]:
    truth, found = labels.astype(np.intp), scores.argmax(axis=1)
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    each = [thresholds.measures(found == kind, truth == kind, beta) for kind in range(scores.shape[1])]
    return {
        "multiclass_cross_entropy_objective": float(-np.log(np.maximum(own, 1e-15)).mean()),
        "multiclass_accuracy": float((found == truth).mean()),
        f"multiclass_top_k_accuracy_{top}": float(((scores > own).sum(axis=1) < top).mean()),
        "dcg": float((1 / np.log2(2 + (scores > own).sum(axis=1))).mean()),
        "macro_recall": float(np.mean([one["recall"] for one in each])),
        "macro_precision": float(np.mean([one["precision"] for one in each])),
        f"macro_f_{beta:.3f}": float(np.mean([one["f_beta"] for one in each])),
    }
