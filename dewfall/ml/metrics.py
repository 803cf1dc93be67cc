"""How good predictions are: classification, regression and ranking, weighted where asked.

One confusion table answers every threshold-free question about classes, one sort of the scores every curve. Definitions are
scikit-learn's, which the tests hold them against; NumPy alone keeps a monitor's start quick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dewfall.ml import facets

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]
EDGE = 1e-15
BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


@dataclass(frozen=True, slots=True)
class Confusion:
    """classes: labels as text, numbers in their order. table (k, k): weight of rows by [actual, predicted]."""

    classes: tuple[str, ...]
    table: Numbers


@dataclass(frozen=True, slots=True)
class Curves:
    """Points of the ROC curve from (0, 0) to (1, 1) and of the precision-recall curve from recall 1 down to 0, with thresholds (ROC's; inf first)."""

    false_positive_rates: Numbers
    true_positive_rates: Numbers
    thresholds: Numbers
    precisions: Numbers
    recalls: Numbers
    auc: float
    average_precision: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Per used bin: mean score, share of positives, rows. error: the expected calibration error, [0, 1]."""

    scores: Numbers
    positives: Numbers
    rows: Numbers
    error: float


def confusion(labels: Any, predicted: Any, weights: Any = None) -> Confusion:
    """Count rows by actual and predicted class.

    labels, predicted: columns (n,) of any type, compared as Clarify would print them (1, 1.0 and "1" are one class). weights: (n,), not
    negative. Raises ValueError (naming the argument) for missing values, no rows, unequal lengths.

    >>> confusion(["a", "b", "b"], ["a", "a", "b"]).table.tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    actual, said = as_text(labels, "labels"), as_text(predicted, "predicted")
    if len(actual) != len(said):
        raise ValueError(f"predicted: expected {len(actual)} rows, got {len(said)}")
    held = _weights(weights, len(actual))
    one, other = facets.encode(actual), facets.encode(said)
    classes = sorted({*one.values, *other.values}, key=_order)
    place = {name: i for i, name in enumerate(classes)}
    rows = np.array([place[v] for v in one.values])[one.codes]
    columns = np.array([place[v] for v in other.values])[other.codes]
    table = np.bincount(rows * len(classes) + columns, held, minlength=len(classes) ** 2).astype(np.float64)
    return Confusion(tuple(classes), table.reshape(len(classes), len(classes)))


def as_text(values: Any, name: str) -> pl.Series:
    """Labels as text, so that 1, 1.0, True and "1" are one class. Raises ValueError (name) for missing values and no rows.

    >>> as_text([1.0, 0.0], "labels").to_list()
    ['1', '0']
    """
    series = facets.column(values, name)
    if not len(series):
        raise ValueError(f"{name}: there are no rows")
    if series.null_count():
        raise ValueError(f"{name}: {series.null_count()} values are missing")
    if series.dtype.is_float() and bool((series == series.round()).all()):
        series = series.cast(pl.Int64)
    if series.dtype == pl.Boolean:
        series = series.cast(pl.Int8)
    return series.cast(pl.String)


def _order(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _weights(weights: Any, rows: int) -> Numbers:
    held = np.ones(rows) if weights is None else np.asarray(weights, dtype=np.float64)
    if held.shape != (rows,):
        raise ValueError(f"weights: expected {rows} numbers, got shape {held.shape}")
    if not np.isfinite(held).all() or (held < 0).any() or not held.sum():
        raise ValueError("weights: expected numbers from 0 up, not all zero")
    return held


def by_class(matrix: Confusion) -> dict[str, dict[str, float]]:
    """Per class: precision, recall, f0_5, f1, f2 (each [0, 1], 0 where undefined) and support (weight of its rows).

    >>> by_class(confusion([1, 0, 0], [1, 1, 0]))["1"]["precision"]
    0.5
    """
    scores = _class_scores(matrix.table)
    return {name: {key: float(values[i]) for key, values in scores.items()} for i, name in enumerate(matrix.classes)}


def _class_scores(table: Numbers) -> dict[str, Numbers]:
    right, support = np.diag(table), table.sum(axis=1)
    precision, recall = _ratio(right, table.sum(axis=0)), _ratio(right, support)
    f = {name: _ratio((1 + b * b) * precision * recall, b * b * precision + recall) for name, b in BETAS.items()}
    return {"precision": precision, "recall": recall, **f, "support": support}


def _ratio(over: Any, under: Any) -> Numbers:
    over, under = np.asarray(over, dtype=np.float64), np.asarray(under, dtype=np.float64)
    return np.asarray(np.divide(over, under, out=np.zeros(np.broadcast(over, under).shape), where=under != 0))


def averages(matrix: Confusion, average: str = "weighted") -> dict[str, float]:
    """accuracy, and precision, recall, f0_5, f1, f2 averaged over classes.

    average: "weighted" (by support), "macro" (classes alike) or "micro" (rows alike: all equal accuracy). Raises ValueError for others.

    >>> averages(confusion([1, 0, 0], [1, 1, 0]), "macro")["precision"]
    0.75
    """
    accuracy = float(np.trace(matrix.table) / matrix.table.sum())
    scores = _class_scores(matrix.table)
    support = scores.pop("support")
    if average == "micro":
        return {"accuracy": accuracy, **dict.fromkeys(scores, accuracy)}
    if average not in ("weighted", "macro"):
        raise ValueError(f"average: {average!r} is not weighted, macro or micro")
    share = support / support.sum() if average == "weighted" else _present(matrix.table)
    return {"accuracy": accuracy, **{name: float(values @ share) for name, values in scores.items()}}


def _present(table: Numbers) -> Numbers:
    seen = (table.sum(axis=0) + table.sum(axis=1)) > 0
    return np.asarray(seen / seen.sum(), dtype=np.float64)


def _scored(positive: Any, scores: Any, weights: Any) -> tuple[Mask, Numbers, Numbers]:
    flags, held = np.asarray(positive), np.asarray(scores, dtype=np.float64)
    if flags.dtype != bool:
        if flags.dtype.kind not in "iuf" or not np.isin(flags, (0, 1)).all():
            raise ValueError("positive: expected yes or no (or 1 and 0) for every row")
        flags = flags == 1
    if not len(flags):
        raise ValueError("positive: there are no rows")
    if held.shape != flags.shape:
        raise ValueError(f"scores: expected {len(flags)} numbers, got shape {held.shape}")
    if not np.isfinite(held).all():
        raise ValueError("scores: values must be finite")
    return flags, held, _weights(weights, len(flags))


def curves(positive: Any, scores: Any, weights: Any = None) -> Curves:
    """ROC and precision-recall curves with their areas, from one sort.

    positive: (n,) yes or no. scores: (n,) finite, higher means more positive. weights: (n,).
    auc: [0, 1], 0.5 is chance; average_precision: sum of precision times gain in recall. With labels of one class the undefined rates and
    areas are NaN. Raises ValueError (naming the argument) for other input.

    >>> curves([True, False, True], [0.9, 0.8, 0.7]).auc
    0.5
    """
    flags, held, weight = _scored(positive, scores, weights)
    order = np.argsort(-held, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(held[order])), len(held) - 1)
    tp, fp = (np.cumsum(weight[order] * side[order])[ends] for side in (flags, ~flags))
    with np.errstate(invalid="ignore"):
        tpr, fpr = tp / tp[-1], fp / fp[-1]
        precision = _ratio(tp, tp + fp)
        area = float(np.trapezoid(np.append(0, tpr), np.append(0, fpr)))
        average = float(np.diff(np.append(0, tpr)) @ precision)
    return Curves(
        np.append(0, fpr),
        np.append(0, tpr),
        np.append(np.inf, held[order][ends]),
        np.append(precision[::-1], 1.0),
        np.append(tpr[::-1], 0.0),
        area,
        average,
    )


def log_loss(positive: Any, scores: Any, weights: Any = None) -> float:
    """Mean negative log likelihood in nats, from 0 up; scores are probabilities, kept 1e-15 away from 0 and 1.

    Raises ValueError (scores) outside [0, 1], and as `curves`.

    >>> round(log_loss([True, False], [0.5, 0.5]), 4)
    0.6931
    """
    flags, held, weight = _probabilities(positive, scores, weights)
    chance = np.clip(np.where(flags, held, 1 - held), EDGE, 1)
    return float(-(weight @ np.log(chance)) / weight.sum())


def brier(positive: Any, scores: Any, weights: Any = None) -> float:
    """Mean squared distance of probability and outcome, [0, 1]. Raises ValueError as `log_loss`.

    >>> brier([True, False], [0.5, 0.5])
    0.25
    """
    flags, held, weight = _probabilities(positive, scores, weights)
    return float(weight @ (held - flags) ** 2 / weight.sum())


def _probabilities(positive: Any, scores: Any, weights: Any) -> tuple[Mask, Numbers, Numbers]:
    flags, held, weight = _scored(positive, scores, weights)
    if ((held < 0) | (held > 1)).any():
        raise ValueError("scores: expected probabilities between 0 and 1")
    return flags, held, weight


def calibration(positive: Any, scores: Any, weights: Any = None, *, bins: int = 10) -> Calibration:
    """Reliability over equal-width bins of the score; empty bins are left out. Raises ValueError as `log_loss`, and for bins below 1.

    >>> calibration([True, False], [0.75, 0.75], bins=2).error
    0.25
    """
    flags, held, weight = _probabilities(positive, scores, weights)
    if bins < 1:
        raise ValueError("bins: at least one is needed")
    place = np.minimum((held * bins).astype(int), bins - 1)
    rows, score, hits = (np.bincount(place, part, minlength=bins).astype(np.float64) for part in (weight, weight * held, weight * flags))
    used = rows > 0
    rows, score, hits = rows[used], score[used] / rows[used], hits[used] / rows[used]
    return Calibration(score, hits, rows, float(rows @ np.abs(score - hits) / rows.sum()))


def regression(truth: Any, predicted: Any, weights: Any = None, *, quantiles: Sequence[float] = ()) -> dict[str, float]:
    """mae, mse, rmse, r2, mape, and quantile_loss_q for each q of `quantiles`; mae and rmse have the target's unit.

    truth, predicted: (n,) finite. r2 reaches up to 1 and is 1 (exact) or 0 (not) for a constant truth; mape is a share, with |truth| kept
    above machine precision, both as scikit-learn. Raises ValueError (naming the argument) for other input.

    >>> regression([1.0, 3.0], [2.0, 3.0])["rmse"].__round__(4)
    0.7071
    """
    y, f = _finite(truth, "truth"), _finite(predicted, "predicted")
    if len(y) != len(f):
        raise ValueError(f"predicted: expected {len(y)} rows, got {len(f)}")
    weight = _weights(weights, len(y))
    weight = weight / weight.sum()
    error = y - f
    mse = float(weight @ error**2)
    spread = float(weight @ (y - weight @ y) ** 2)
    found = {"mae": float(weight @ np.abs(error)), "mse": mse, "rmse": mse**0.5}
    found["r2"] = 1 - mse / spread if spread else float(mse == 0)
    found["mape"] = float(weight @ (np.abs(error) / np.maximum(np.abs(y), np.finfo(np.float64).eps)))
    for q in quantiles:
        if not 0 < q < 1:
            raise ValueError(f"quantiles: {q} is not between 0 and 1")
        found[f"quantile_loss_{q}"] = float(weight @ np.maximum(q * error, (q - 1) * error))
    return found


def _finite(values: Any, name: str) -> Numbers:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not len(data):
        raise ValueError(f"{name}: expected one dimension with at least one row, got shape {data.shape}")
    if not np.isfinite(data).all():
        raise ValueError(f"{name}: values must be finite")
    return data


def ranking(relevance: Any, scores: Any, groups: Any = None, *, k: int | None = None) -> dict[str, float]:
    """ndcg, map and mrr of the first k places, averaged over the groups (queries), each [0, 1].

    relevance: (n,) gains, not negative (positive means relevant for map and mrr). scores: (n,) finite; equal scores keep their order.
    groups: (n,) query of each row; left out: one query. Queries without relevant rows count 0. Raises ValueError (naming the argument).

    >>> ranking([0.0, 1.0], [0.9, 0.1])["mrr"]
    0.5
    """
    gain, held = _finite(relevance, "relevance"), _finite(scores, "scores")
    if (gain < 0).any():
        raise ValueError("relevance: expected numbers from 0 up")
    if len(gain) != len(held):
        raise ValueError(f"scores: expected {len(gain)} rows, got {len(held)}")
    if k is not None and k < 1:
        raise ValueError("k: at least one place is needed")
    query = np.zeros(len(gain), dtype=np.int64) if groups is None else facets.encode(groups).codes
    if len(query) != len(gain) or (query < 0).any():
        raise ValueError(f"groups: expected {len(gain)} values, none missing")
    order = np.lexsort((-held, query))
    parts = np.split(gain[order], np.flatnonzero(np.diff(query[order])) + 1)
    found = np.array([_ranked(part, k) for part in parts]).mean(axis=0)
    return dict(zip(("ndcg", "map", "mrr"), map(float, found), strict=True))


def _ranked(gain: Numbers, k: int | None) -> tuple[float, float, float]:
    """(ndcg, average precision, reciprocal rank) of gains in the order shown."""
    top = gain[:k]
    discount = 1 / np.log2(np.arange(2, len(top) + 2))
    best = float(np.sort(gain)[::-1][:k] @ discount)
    hits = np.flatnonzero(top > 0)
    if not best or not len(hits):
        return 0.0, 0.0, 0.0
    precision = np.arange(1, len(hits) + 1) / (hits + 1)
    relevant = min(int((gain > 0).sum()), len(top))
    return float(top @ discount) / best, float(precision.sum() / relevant), float(1 / (hits[0] + 1))


def to_matrix(matrix: Confusion) -> Mapping[str, Mapping[str, float]]:
    """{actual: {predicted: rows}} as model quality files hold it, whole numbers as integers.

    >>> to_matrix(confusion([1, 0], [1, 1]))
    {'0': {'0': 0, '1': 1}, '1': {'0': 0, '1': 1}}
    """
    counts = [[int(v) if float(v).is_integer() else float(v) for v in row] for row in matrix.table]
    return {name: dict(zip(matrix.classes, row, strict=True)) for name, row in zip(matrix.classes, counts, strict=True)}
