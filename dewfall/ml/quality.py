"""Model Monitor's model quality: statistics.json and the constraints it suggests, as the registry and model cards read them.

The metrics come from one confusion table (or one pass over residuals); their standard deviations from five random samples of 80 %.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from dewfall.ml import metrics

MANY_ROWS = 200
SAMPLES, SHARE = 5, 0.8
REGRESSION = ("mae", "mse", "rmse", "r2")
BINARY, MULTICLASS, REGRESSIONS = "BinaryClassification", "MulticlassClassification", "Regression"
SECTION = {BINARY: "binary_classification", MULTICLASS: "multiclass_classification", REGRESSIONS: "regression"}
ERRORS = {"mae", "mse", "rmse", "false_positive_rate", "false_negative_rate"}
NO_THRESHOLD = "_best_constant_classifier"
Metrics = dict[str, float]


def model_quality(problem: str, labels: Any, predicted: Any, scores: Any = None, *, seed: int = 0) -> dict[str, Any]:
    """statistics.json of model quality.

    problem: "Regression", "BinaryClassification" or "MulticlassClassification". labels, predicted: columns (n,), none missing.
    scores: (n,) of the positive class, the last one in order ("1" of 0 and 1); adds the curves, auc and au_prc to a binary problem.
    Each metric is {"value", "standard_deviation"}, the latter "NaN" below 200 rows; "best constant" always predicts the last class, as
    in AWS's examples. Raises ValueError (problem, or as metrics.confusion and metrics.regression), and (labels) when a binary problem has
    more than two classes.

    >>> model_quality("Regression", [1.0, 2.0], [1.0, 3.0])["regression_metrics"]["mae"]
    {'value': 0.5, 'standard_deviation': 'NaN'}
    """
    if problem not in SECTION:
        raise ValueError(f"problem: {problem!r} is not one of {', '.join(SECTION)}")
    if problem == REGRESSIONS:
        truth, said = np.asarray(labels, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
        values = metrics.regression(truth, said)
        spread = _spread(lambda rows: metrics.regression(truth[rows], said[rows]), len(truth), seed)
        return _document(problem, len(truth), {name: _entry(values[name], spread.get(name)) for name in REGRESSION})
    return _classes(problem, labels, predicted, scores, seed)


def _classes(problem: str, labels: Any, predicted: Any, scores: Any, seed: int) -> dict[str, Any]:
    matrix = metrics.confusion(labels, predicted)
    rows = int(matrix.table.sum())
    if problem == BINARY and len(matrix.classes) > 2:
        raise ValueError(f"labels: a binary problem with {len(matrix.classes)} classes")
    measure = _binary if problem == BINARY else _multiclass
    values = measure(matrix)
    spread = _spread_of_tables(measure, matrix, seed)
    curves = None if scores is None or problem != BINARY else _curves(labels, scores, matrix.classes[-1])
    found: dict[str, Any] = {"confusion_matrix": metrics.to_matrix(matrix)}
    found |= {name: _entry(value, spread.get(name)) for name, value in values.items()}
    return _document(problem, rows, found | (curves or {}))


def _document(problem: str, rows: int, found: dict[str, Any]) -> dict[str, Any]:
    return {"version": 0.0, "dataset": {"item_count": rows}, f"{SECTION[problem]}_metrics": found}


def _entry(value: float, spread: float | None) -> dict[str, Any]:
    return {"value": value, "standard_deviation": "NaN" if spread is None else spread}


def _binary(matrix: metrics.Confusion) -> Metrics:
    """The positive class's scores; a table of one class stands for data that has only that class, as the positive one."""
    table = matrix.table if len(matrix.table) == 2 else np.array([[0.0, 0.0], [0.0, matrix.table[0, 0]]])
    constant = np.column_stack([np.zeros(2), table.sum(axis=1)])
    found, always = _positive(table), _positive(constant)
    negative, positive = table.sum(axis=1)
    rates = {
        "true_positive_rate": found["recall"],
        "true_negative_rate": _share(table[0, 0], negative),
        "false_positive_rate": _share(table[0, 1], negative),
        "false_negative_rate": _share(table[1, 0], positive),
    }
    return found | rates | {f"{name}{NO_THRESHOLD}": value for name, value in always.items()}


def _positive(table: Any) -> Metrics:
    scores = metrics.by_class(metrics.Confusion(("0", "1"), table))["1"]
    kept = {name: scores[name] for name in ("recall", "precision", "f0_5", "f1", "f2")}
    return {"recall": kept.pop("recall"), "precision": kept.pop("precision"), "accuracy": float(np.trace(table) / table.sum()), **kept}


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _multiclass(matrix: metrics.Confusion) -> Metrics:
    constant = np.zeros_like(matrix.table)
    constant[:, -1] = matrix.table.sum(axis=1)
    always = metrics.Confusion(matrix.classes, constant)
    found = _weighted(matrix)
    return found | {f"{name}{NO_THRESHOLD}": value for name, value in _weighted(always).items()}


def _weighted(matrix: metrics.Confusion) -> Metrics:
    found = metrics.averages(matrix, "weighted")
    order = ("recall", "precision", "f0_5", "f1", "f2")
    return {"accuracy": found["accuracy"], **{f"weighted_{name}": found[name] for name in order}}


def _curves(labels: Any, scores: Any, positive: str) -> dict[str, Any]:
    flags = np.array([name == positive for name in metrics.as_text(labels, "labels").to_list()])
    found = metrics.curves(flags, scores)
    return {
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": found.false_positive_rates.tolist(),
            "true_positive_rates": found.true_positive_rates.tolist(),
        },
        "precision_recall_curve": {"precisions": found.precisions.tolist(), "recalls": found.recalls.tolist()},
        "auc": _entry(found.auc, None),
        "au_prc": _entry(found.average_precision, None),
    }


def _spread(measure: Callable[[Any], Metrics], rows: int, seed: int) -> Metrics:
    if rows < MANY_ROWS:
        return {}
    rng = np.random.default_rng(seed)
    found = [measure(rng.choice(rows, int(rows * SHARE), replace=False)) for _ in range(SAMPLES)]
    return {name: float(np.std([one[name] for one in found])) for name in found[0]}


def _spread_of_tables(measure: Callable[[metrics.Confusion], Metrics], matrix: metrics.Confusion, seed: int) -> Metrics:
    """As `_spread`; a random 80 % of the rows has the multivariate hypergeometric table, so no row needs to be drawn."""
    counts = matrix.table.astype(np.int64)
    if counts.sum() < MANY_ROWS:
        return {}
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_hypergeometric(counts.ravel(), int(counts.sum() * SHARE), size=SAMPLES, method="marginals")
    found = [measure(metrics.Confusion(matrix.classes, one.reshape(counts.shape).astype(np.float64))) for one in drawn]
    return {name: float(np.std([one[name] for one in found])) for name in found[0]}


def quality_constraints(statistics: dict[str, Any]) -> dict[str, Any]:
    """constraints.json suggested from a baseline's statistics.json: the baseline's value is the threshold, errors may not exceed it.

    Raises ValueError (statistics) when it holds no model quality metrics.

    >>> quality_constraints(model_quality("Regression", [1.0, 2.0], [1.0, 3.0]))["regression_constraints"]["mae"]
    {'threshold': 0.5, 'comparison_operator': 'GreaterThanThreshold'}
    """
    section = next((name for name in SECTION.values() if f"{name}_metrics" in statistics), None)
    if section is None:
        raise ValueError("statistics: holds no model quality metrics")
    held = {name: one for name, one in statistics[f"{section}_metrics"].items() if "value" in one and not name.endswith(NO_THRESHOLD)}
    limits = {
        name: {"threshold": one["value"], "comparison_operator": "GreaterThanThreshold" if name in ERRORS else "LessThanThreshold"}
        for name, one in held.items()
    }
    return {"version": 0.0, f"{section}_constraints": limits}
