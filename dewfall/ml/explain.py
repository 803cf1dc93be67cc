"""Which feature moved a prediction, and by how much: Shapley values by Kernel SHAP, permutation importance, partial dependence.

All rows share one set of coalitions, so the regression is solved once and applied as a matrix, and the model is asked in large batches.
When the budget covers every coalition the values are exact. Sources: Lundberg, Lee, "A unified approach to interpreting model predictions",
NeurIPS 2017; Covert, Lee, "Improving KernelSHAP", AISTATS 2021 (paired sampling); Fisher, Rudin, Dominici 2019; Friedman 2001.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Masks = NDArray[np.bool_]
Predict = Callable[[NDArray[Any]], Any]
SAMPLES, MOST_EXACT = 2048, 20
CELLS = 4_000_000
EDGE = 1e-12
AGGREGATES: dict[str, Callable[[Numbers], Numbers]] = {
    "mean_abs": lambda values: np.abs(values).mean(axis=0),
    "median": lambda values: np.asarray(np.median(values, axis=0)),
    "mean_sq": lambda values: (values**2).mean(axis=0),
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """values (n, d, k): share of feature d in output k, so that expected (k,) + values.sum(axis=1) = predictions (n, k); log odds with use_logit."""

    values: Numbers
    expected: Numbers
    predictions: Numbers

    def overall(self, method: str = "mean_abs") -> Numbers:
        """Global values (d, k) over the rows: Clarify's agg_method "mean_abs", "median" or "mean_sq". Raises ValueError (method)."""
        if method not in AGGREGATES:
            raise ValueError(f"method: {method!r} is not one of {', '.join(AGGREGATES)}")
        return AGGREGATES[method](self.values)


@dataclass(frozen=True, slots=True)
class Dependence:
    """grid (g,): values of the feature. average (g, k): mean prediction there. ice (n, g, k): each row's. share (g,): of rows near each value."""

    grid: NDArray[Any]
    average: Numbers
    ice: Numbers
    share: Numbers


def kernel_shap(predict: Predict, rows: Any, baseline: Any, *, num_samples: int | None = None, use_logit: bool = False, seed: int = 0) -> Explanation:
    """Shapley values of any model, as Clarify's kernel_shap.

    predict: (m, d) rows → (m,) or (m, k) finite numbers. rows: (n, d). baseline: (b, d), each replaces the features that are left out, and
    the predictions are averaged. num_samples: coalitions, default 2·d + 2048, at most 2^d - 2; covering all of them gives exact values
    (up to 20 features). use_logit: explain log odds of the (mean) probabilities. Additivity holds exactly in every case.
    Raises ValueError (naming the argument) for shapes that do not fit, an empty baseline, missing or infinite predictions, probabilities
    outside [0, 1] with use_logit, and num_samples below 1.

    >>> found = kernel_shap(lambda x: x[:, 0] * 2 + x[:, 1], [[1.0, 3.0]], [[0.0, 0.0]])
    >>> found.values[0, :, 0].round(9).tolist(), found.expected.tolist()
    ([2.0, 3.0], [0.0])
    """
    data, background = _tables(rows, baseline)
    features = data.shape[1]
    budget = _budget(features, num_samples)
    if features <= MOST_EXACT and budget >= 2**features - 2:
        masks = _all_coalitions(features)
        solve = _shapley_matrix(masks)
    else:
        masks, weights = _coalitions(features, budget, np.random.default_rng(seed))
        solve = _regression_matrix(masks, weights)
    expected = _link(_asked(predict, background).mean(axis=0, keepdims=True), use_logit)[0]
    predictions = _link(_asked(predict, data), use_logit)
    values = np.empty((len(data), features, len(expected)))
    step = max(1, CELLS // max(1, len(masks) * len(background) * features))
    for start in range(0, len(data), step):
        part = slice(start, start + step)
        games = _link(_coalition_values(predict, data[part], background, masks), use_logit) - expected
        gain = predictions[part] - expected
        values[part] = _apply(solve, games, gain)
    return Explanation(values, expected, predictions)


def _tables(rows: Any, baseline: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    found = []
    for name, given in (("rows", rows), ("baseline", baseline)):
        table = np.asarray(given)
        if table.ndim != 2 or not table.shape[0] or not table.shape[1]:
            raise ValueError(f"{name}: expected a table of at least one row and one feature, got shape {table.shape}")
        found.append(table.astype(np.float64) if table.dtype.kind in "biu" else table)
    data, background = found
    if data.shape[1] != background.shape[1]:
        raise ValueError(f"baseline: expected {data.shape[1]} features, got {background.shape[1]}")
    return data, background


def _budget(features: int, asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise ValueError("num_samples: at least one is needed")
    most: int = 2 ** min(features, 62) - 2
    return int(max(1, min(2 * features + SAMPLES if asked is None else asked, most)))


def _asked(predict: Predict, table: NDArray[Any]) -> Numbers:
    """Predictions (m, k), checked."""
    found = np.asarray(predict(table), dtype=np.float64)
    if found.ndim not in (1, 2) or len(found) != len(table):
        raise ValueError(f"predict: returned shape {found.shape} for {len(table)} rows")
    if not np.isfinite(found).all():
        raise ValueError("predict: returned missing or infinite values")
    return found.reshape(len(table), -1)


def _link(values: Numbers, use_logit: bool) -> Numbers:
    if not use_logit:
        return values
    if ((values < 0) | (values > 1)).any():
        raise ValueError("use_logit: predictions are not probabilities between 0 and 1")
    kept = np.clip(values, EDGE, 1 - EDGE)
    return np.asarray(np.log(kept / (1 - kept)))


def _coalition_values(predict: Predict, data: NDArray[Any], background: NDArray[Any], masks: Masks) -> Numbers:
    """Mean prediction (n, masks, k) with the features of each coalition from the row, the others from each row of the background."""
    n, s, b = len(data), len(masks), len(background)
    size = max(1, CELLS // max(1, n * b * data.shape[1]))
    found = []
    for start in range(0, s, size):
        part = masks[start : start + size]
        mixed = np.where(part[None, :, None, :], data[:, None, None, :], background[None, None, :, :])
        asked = _asked(predict, mixed.reshape(-1, data.shape[1]))
        found.append(asked.reshape(n, len(part), b, -1).mean(axis=2))
    return np.concatenate(found, axis=1) if found else np.zeros((n, 0, 1))


def _apply(solve: tuple[Numbers, Numbers], games: Numbers, gain: Numbers) -> Numbers:
    """values = matrix · coalition values + share · whole gain; (n, d, k)."""
    matrix, share = solve
    return np.asarray(matrix @ games + share[None, :, None] * gain[:, None, :])


def _all_coalitions(features: int) -> Masks:
    codes = np.arange(1, 2**features - 1)
    return np.asarray((codes[:, None] >> np.arange(features)) & 1, dtype=bool)


def _shapley_matrix(masks: Masks) -> tuple[Numbers, Numbers]:
    """Shapley's weights: |S|!·(d-|S|-1)!/d! for joining S; the empty coalition is worth nothing, the full one the gain."""
    features = masks.shape[1]
    sizes = masks.sum(axis=1)
    weight = np.array([1 / (features * math.comb(features - 1, size)) for size in range(features)])
    joined, absent = weight[sizes - 1], weight[np.minimum(sizes, features - 1)]
    matrix = np.where(masks, joined[:, None], -absent[:, None]).T
    return np.ascontiguousarray(matrix), np.full(features, 1 / features)


def _coalitions(features: int, budget: int, rng: np.random.Generator) -> tuple[Masks, Numbers]:
    """Whole sizes from the outside in while the budget allows, the rest drawn in pairs with their complements."""
    sizes = np.arange(1, features // 2 + 1)
    mass = np.array([(features - 1) / (s * (features - s)) * (2 if 2 * s != features else 1) for s in sizes])
    mass /= mass.sum()
    masks: list[Masks] = []
    weights: list[Numbers] = []
    left, size = budget, 1
    while size <= features // 2:
        both = math.comb(features, size) * (2 if 2 * size != features else 1)
        if both > left:
            break
        whole = _of_size(features, size)
        masks.append(np.concatenate([whole, ~whole]) if 2 * size != features else whole)
        weights.append(np.full(both, mass[size - 1] / both))
        left, size = left - both, size + 1
    if size <= features // 2 and (left > 1 or not masks):
        drawn = _drawn(features, max(1, left // 2), size, mass[size - 1 :], rng)
        masks.append(np.concatenate([drawn, ~drawn]))
        weights.append(np.full(2 * len(drawn), mass[size - 1 :].sum() / (2 * len(drawn))))
    return np.concatenate(masks), np.concatenate(weights)


def _of_size(features: int, size: int) -> Masks:
    chosen = np.array(list(combinations(range(features), size)))
    masks = np.zeros((len(chosen), features), dtype=bool)
    masks[np.arange(len(chosen))[:, None], chosen] = True
    return masks


def _drawn(features: int, count: int, smallest: int, mass: Numbers, rng: np.random.Generator) -> Masks:
    sizes = rng.choice(np.arange(smallest, smallest + len(mass)), size=count, p=mass / mass.sum())
    ranks = rng.random((count, features)).argsort(axis=1).argsort(axis=1)
    return np.asarray(ranks < sizes[:, None])


def _regression_matrix(masks: Masks, weights: Numbers) -> tuple[Numbers, Numbers]:
    """The least squares solution under "values sum to the gain", as a matrix for the coalition values and a share of the gain."""
    z = masks.astype(np.float64)
    inverse = np.linalg.pinv(z.T @ (weights[:, None] * z), hermitian=True)
    spread = inverse.sum(axis=1)
    total = spread.sum()
    plain = inverse @ (z * weights[:, None]).T
    if total <= 0:
        return np.zeros_like(plain), np.full(masks.shape[1], 1 / masks.shape[1])
    return plain - np.outer(spread / total, plain.sum(axis=0)), spread / total


def permutation_importance(score: Callable[[NDArray[Any]], float], rows: Any, *, repeats: int = 5, seed: int = 0) -> tuple[Numbers, Numbers]:
    """(mean, standard deviation) (d,) of what the score loses when a feature's column is shuffled.

    score: (n, d) rows → number, higher is better; it holds the model and the labels. Raises ValueError (naming the argument) for an empty
    table, a score that is not finite, repeats below 1.

    >>> rows = np.arange(20.0).reshape(10, 2)
    >>> mean, _ = permutation_importance(lambda x: -float(((x[:, 0] - rows[:, 0]) ** 2).mean()), rows)
    >>> bool(mean[0] > 0), float(mean[1])
    (True, 0.0)
    """
    data, _ = _tables(rows, rows)
    if repeats < 1:
        raise ValueError("repeats: at least one is needed")
    rng = np.random.default_rng(seed)
    full = float(score(data))
    losses = np.empty((data.shape[1], repeats))
    for feature in range(data.shape[1]):
        for repeat in range(repeats):
            shuffled = data.copy()
            shuffled[:, feature] = rng.permutation(shuffled[:, feature])
            losses[feature, repeat] = full - float(score(shuffled))
    if not np.isfinite(losses).all():
        raise ValueError("score: returned a value that is not finite")
    return losses.mean(axis=1), losses.std(axis=1)


def partial_dependence(predict: Predict, rows: Any, feature: int, *, grid_resolution: int = 15) -> Dependence:
    """Mean prediction with one feature set to each value of a grid, and every row's own line (ICE).

    predict, rows: as kernel_shap. feature: column. A column of numbers gets the centres of grid_resolution equal buckets between its
    extremes (a constant one: its value), any other its categories in order. Raises ValueError (naming the argument) for a column out of range, a
    resolution below 1, a column with missing or infinite numbers.

    >>> partial_dependence(lambda x: x[:, 0] * 3, [[0.0], [4.0]], 0, grid_resolution=2).average[:, 0].tolist()
    [3.0, 9.0]
    """
    data, _ = _tables(rows, rows)
    if not 0 <= feature < data.shape[1]:
        raise ValueError(f"feature: {feature} is not a column of {data.shape[1]}")
    if grid_resolution < 1:
        raise ValueError("grid_resolution: at least one bucket is needed")
    grid, share = _grid(data[:, feature], grid_resolution)
    lines = []
    for value in grid:
        changed = data.copy()
        changed[:, feature] = value
        lines.append(_asked(predict, changed))
    ice = np.stack(lines, axis=1)
    return Dependence(grid, ice.mean(axis=0), ice, share)


def _grid(column: NDArray[Any], resolution: int) -> tuple[NDArray[Any], Numbers]:
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        names, counts = np.unique(column.astype(str), return_counts=True)
        return names.astype(object), counts / len(column)
    if not np.isfinite(numbers).all():
        raise ValueError("feature: the column has missing or infinite values")
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return np.array([low]), np.ones(1)
    counts, edges = np.histogram(numbers, resolution, (low, high))
    return (edges[1:] + edges[:-1]) / 2, counts / len(numbers)
