"""Exact Shapley values of tree ensembles: interventional against a baseline, without sampling, for XGBoost, LightGBM and scikit-learn.

A leaf is reached by a coalition exactly when it holds the features that only the row satisfies (p of them) and none that only the baseline
satisfies (q of them), so each leaf adds value·(p-1)!q!/(p+q)! to the former and -value·p!(q-1)!/(p+q)! to the latter. That is what Kernel
SHAP tends to for raw margins, hundreds of times faster. Source: Lundberg et al., "From local explanations to global understanding with
explainable AI for trees", Nature Machine Intelligence 2020. Path-dependent values are pathshap.py's, or the libraries' own pred_contribs.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml.explain import Explanation
from dewfall.ml.trees import Leaf, Trees, leaves_of, read_trees

Numbers = NDArray[np.float64]
CELLS = 4_000_000
TOLERANCE = 1e-4
WORTHWHILE = 10_000_000  # rows times nodes from which the compiled kernel pays
COMPARED = 1_000_000  # rows times baseline rows times nodes
CHECKED = 64  # rows whose margins are compared


def tree_shap(model: Any, rows: Any, baseline: Any = None) -> Explanation:
    """Shapley values of a tree model's margin (XGBoost, LightGBM: before the link; scikit-learn: decision function, probability or value).

    model: an XGBoost or LightGBM booster or estimator, a scikit-learn decision tree, random forest, extra trees or gradient boosting, or the
    Trees read from one of these, which spares the reading where there are many calls.
    rows: (n, d) numbers, NaN where the model takes it. baseline: (b, d) rows that stand in for features left out; None gives
    path-dependent values instead. Values are as explain.kernel_shap's for the margin, exact.
    Raises ValueError (model) for other models, categorical splits, dart, and when the leaves do not add up to the model's own margin; (rows,
    baseline) for tables that do not fit.

    >>> from sklearn.tree import DecisionTreeRegressor
    >>> tree = DecisionTreeRegressor().fit([[0.0, 1.0], [1.0, 1.0]], [2.0, 6.0])
    >>> tree_shap(tree, [[1.0, 1.0]], [[0.0, 1.0]]).values[0, :, 0].tolist()
    [4.0, 0.0]
    """
    data = _table(rows, "rows")
    if baseline is None:
        return _path_dependent(model, data)
    background = _table(baseline, "baseline")
    if data.shape[1] != background.shape[1]:
        raise ValueError(f"baseline: expected {data.shape[1]} features, got {background.shape[1]}")
    trees = model if isinstance(model, Trees) else read_trees(model)
    if trees.single:
        data, background = (t.astype(np.float32).astype(np.float64) for t in (data, background))
    values = _against(trees, data, background)
    margins = _margin(trees.model, np.concatenate([background, data]))
    expected, predictions = margins[: len(background)].mean(axis=0), margins[len(background) :]
    gap = np.abs(expected + values.sum(axis=1) - predictions).max()
    if gap > TOLERANCE * max(1.0, float(np.abs(predictions).max())):
        raise ValueError(f"model: its margin differs from its leaves' sum by {gap:.3g}")
    return Explanation(values, expected, predictions)


def _table(rows: Any, name: str) -> Numbers:
    table = np.asarray(rows, dtype=np.float64)
    if table.ndim != 2 or not table.shape[0] or not table.shape[1]:
        raise ValueError(f"{name}: expected a table of at least one row and one feature, got shape {table.shape}")
    return table


def _against(trees: Trees, data: Numbers, background: Numbers) -> Numbers:
    """By the compiled kernel where it is there and worth its start."""
    from dewfall.ml import pathshap

    if pathshap.is_fast() and len(data) * len(background) * sum(map(len, trees.nodes)) >= COMPARED:
        try:
            return pathshap.baseline_values(trees, data, background, _weights(pathshap.longest(trees)))
        except ValueError:
            pass  # no covers, or longer paths than the kernel takes
    return _interventional(trees, data, background)


def _interventional(trees: Trees, data: Numbers, background: Numbers) -> Numbers:
    """(n, d, k), leaves grouped by the length of their path so that no place is padded."""
    values = np.zeros((len(data), data.shape[1], trees.outputs))
    leaves = [leaf for nodes in trees.nodes for leaf in leaves_of(nodes)]
    for depth in sorted({len(leaf.features) for leaf in leaves} - {0}):
        group = [leaf for leaf in leaves if len(leaf.features) == depth]
        step = max(1, CELLS // (len(data) * depth))
        for start in range(0, len(group), step):
            _add(values, group[start : start + step], data, background)
    return values / len(background)


def _add(values: Numbers, leaves: list[Leaf], data: Numbers, background: Numbers) -> None:
    from scipy.sparse import csr_array

    features = np.array([leaf.features for leaf in leaves])
    count, depth = features.shape
    payoff = np.array([leaf.value for leaf in leaves])
    mine, theirs = _satisfied(leaves, features, data), _satisfied(leaves, features, background)
    joins, leaves_out = _weights(depth)
    flat = np.arange(count * depth)
    shape = (data.shape[1], count * depth)
    spread = [csr_array((np.repeat(payoff[:, k], depth), (features.ravel(), flat)), shape=shape) for k in range(values.shape[2])]
    for other in theirs:
        only_mine, only_theirs = mine & ~other, other & ~mine
        reachable = (mine | other).all(axis=2, keepdims=True)
        p, q = only_mine.sum(axis=2, keepdims=True), only_theirs.sum(axis=2, keepdims=True)
        share = np.where(only_mine, joins[p, q], np.where(only_theirs, -leaves_out[p, q], 0.0)) * reachable
        for k, matrix in enumerate(spread):
            values[:, :, k] += (matrix @ share.reshape(len(data), -1).T).T


def _satisfied(leaves: list[Leaf], features: NDArray[Any], table: Numbers) -> NDArray[np.bool_]:
    """(rows, leaves, depth): whether the row's feature lies in the leaf's interval."""
    held = table[:, features]
    low, high = np.array([leaf.low for leaf in leaves]), np.array([leaf.high for leaf in leaves])
    missing = np.array([leaf.missing for leaf in leaves])
    return np.asarray(((held > low) & (held <= high)) | (np.isnan(held) & missing))


def _weights(depth: int) -> tuple[Numbers, Numbers]:
    """(p-1)!q!/(p+q)! and p!(q-1)!/(p+q)! for all p, q up to depth."""
    joins, leaves_out = np.zeros((depth + 1, depth + 1)), np.zeros((depth + 1, depth + 1))
    for p in range(depth + 1):
        for q in range(depth + 1 - p):
            if p:
                joins[p, q] = 1 / (p * math.comb(p + q, p))
            if q:
                leaves_out[p, q] = 1 / (q * math.comb(p + q, q))
    return joins, leaves_out


def _margin(model: Any, table: Numbers) -> Numbers:
    library = type(model).__module__.split(".")[0]
    if library == "xgboost":
        found = model.predict(_matrix(model, table), output_margin=True)
    elif library == "lightgbm":
        found = model.predict(table, raw_score=True)
    elif hasattr(model, "decision_function"):
        found = model.decision_function(table)
    else:
        found = model.predict_proba(table) if hasattr(model, "predict_proba") else model.predict(table)
    return np.asarray(found, dtype=np.float64).reshape(len(table), -1)


def _matrix(booster: Any, table: Numbers) -> Any:
    import xgboost

    return xgboost.DMatrix(table, feature_names=booster.feature_names, feature_types=booster.feature_types)


def _path_dependent(model: Any, data: Numbers) -> Explanation:
    """By the compiled kernel where it is there and worth its start, else by the library."""
    from dewfall.ml.pathshap import is_fast

    given = model if isinstance(model, Trees) else None
    model = given.model if given else model
    library = type(model).__module__.split(".")[0]
    known = library in ("xgboost", "lightgbm")
    if is_fast():
        try:
            trees = given or read_trees(model)
            if not known or len(data) * sum(map(len, trees.nodes)) >= WORTHWHILE:
                return _compiled(trees, data)
        except ValueError:
            if not known:
                raise
    if not known:
        raise ValueError("model: path-dependent values of scikit-learn's trees need numba (pip install 'dewfall[fast]'); or give a baseline")
    return _library(model, library, data)


def _compiled(trees: Trees, data: Numbers) -> Explanation:
    from dewfall.ml.pathshap import path_values

    values = path_values(trees, data.astype(np.float32).astype(np.float64) if trees.single else data)
    first = slice(0, CHECKED)
    margin = _margin(trees.model, data[first])
    gaps = margin - values[first].sum(axis=1)
    if np.ptp(gaps, axis=0).max() > TOLERANCE * max(1.0, float(np.abs(margin).max())):
        raise ValueError("model: its margin differs from its leaves' sum")
    expected = gaps.mean(axis=0)
    return Explanation(values, expected, expected + values.sum(axis=1))


def _library(model: Any, library: str, data: Numbers) -> Explanation:
    if library == "xgboost":
        booster = model.get_booster() if hasattr(model, "get_booster") else model
        found = np.asarray(booster.predict(_matrix(booster, data), pred_contribs=True), dtype=np.float64)
        found = found.reshape(len(data), -1, data.shape[1] + 1)
    else:
        booster = model.booster_ if hasattr(model, "booster_") else model
        found = np.asarray(booster.predict(data, pred_contrib=True), dtype=np.float64).reshape(len(data), -1, data.shape[1] + 1)
    values = found[:, :, :-1].transpose(0, 2, 1)
    return Explanation(values, found[0, :, -1], found.sum(axis=2))
