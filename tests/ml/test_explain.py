"""Shapley values against enumeration and golden values; importance and dependence against their definitions."""

import doctest
import math
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dewfall.ml import explain

Table = NDArray[np.float64]


def f1(x: Table) -> Table:
    return np.asarray(3 * x[:, 0] - 2 * x[:, 1] + x[:, 0] * x[:, 2] + np.abs(x[:, 3]))


def f2(x: Table) -> Table:
    return np.asarray(1 / (1 + np.exp(-0.5 * f1(x))))


def wide(x: Table) -> Table:
    return np.asarray(x.sum(axis=1) + x[:, 0] * x[:, 1] + np.sin(x[:, 2]) * x[:, 3])


def by_orders(predict: Callable[[Table], Table], row: Table, base: Table) -> Table:
    """Shapley values as the mean over all orders in which features join."""
    values = np.zeros(len(row))
    orders = list(permutations(range(len(row))))
    for order in orders:
        mixed, before = base.copy(), float(predict(base).mean())
        for feature in order:
            mixed[:, feature] = row[feature]
            after = float(predict(mixed).mean())
            values[feature] += after - before
            before = after
    return values / len(orders)


def test_examples() -> None:
    assert doctest.testmod(explain).failed == 0


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("samples", [None, 14])
def test_exact_values_equal_the_golden_ones(golden: Callable[[str], Any], place: int, samples: int | None) -> None:
    held = golden("shap_exact_golden")
    case = held["cases"][place]
    model = f1 if case["name"].startswith("f1") else f2
    found = explain.kernel_shap(model, held["X"], case["baseline"], num_samples=samples, use_logit=case["link"] == "logit")
    assert found.expected[0] == pytest.approx(case["expected_value"], rel=1e-9, abs=1e-12)
    assert np.allclose(found.values[:, :, 0], case["local"], rtol=1e-9, atol=1e-9)
    for method in explain.AGGREGATES:
        assert np.allclose(found.overall(method)[:, 0], case[f"global_{method}"], rtol=1e-9, atol=1e-9)


def test_exact_values_are_means_over_orders() -> None:
    rng = np.random.default_rng(2)
    rows, base = rng.normal(size=(2, 5)), rng.normal(size=(3, 5))
    found = explain.kernel_shap(wide, rows, base).values[:, :, 0]
    assert np.allclose(found, [by_orders(wide, row, base) for row in rows], atol=1e-9)


@pytest.mark.parametrize("features", [9, 12, 30])
def test_sampled_values_are_additive_and_close(features: int) -> None:
    rng = np.random.default_rng(4)
    rows, base = rng.normal(size=(4, features)), np.zeros((1, features))
    found = explain.kernel_shap(wide, rows, base, num_samples=400, seed=1)
    assert np.allclose(found.expected + found.values.sum(axis=1), found.predictions, atol=1e-9)
    want = rows.copy()
    want[:, :2] += (rows[:, 0] * rows[:, 1])[:, None] / 2
    want[:, 2:4] += (np.sin(rows[:, 2]) * rows[:, 3])[:, None] / 2
    assert np.allclose(found.values[:, :, 0], want, atol=0.05)


def test_full_regression_equals_enumeration() -> None:
    masks = explain._all_coalitions(6)
    sizes = masks.sum(axis=1)
    kernel = np.array([5 / (math.comb(6, s) * s * (6 - s)) for s in sizes])
    for one, other in zip(explain._regression_matrix(masks, kernel), explain._shapley_matrix(masks), strict=True):
        assert np.allclose(one.sum(), other.sum(), atol=1e-9)
    games, gain = np.random.default_rng(0).normal(size=(1, len(masks), 1)), np.array([[2.0]])
    solved = [explain._apply(solve, games, gain) for solve in (explain._regression_matrix(masks, kernel), explain._shapley_matrix(masks))]
    assert np.allclose(solved[0], solved[1], atol=1e-9)


def test_a_seed_repeats_the_values() -> None:
    rows, base = np.ones((1, 25)), np.zeros((1, 25))
    first, again, other = (explain.kernel_shap(wide, rows, base, num_samples=80, seed=s).values for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_several_outputs_and_text_features() -> None:
    def predict(x: NDArray[Any]) -> NDArray[Any]:
        red = (x[:, 0] == "red").astype(float)
        return np.column_stack([red, 1 - red])

    found = explain.kernel_shap(predict, np.array([["red", "a"]], dtype=object), np.array([["blue", "b"]], dtype=object))
    assert found.values[0].tolist() == [[1.0, -1.0], [0.0, 0.0]]


def test_one_feature_takes_the_whole_gain() -> None:
    assert explain.kernel_shap(lambda x: x[:, 0] * 2, [[3.0]], [[1.0]]).values.tolist() == [[[4.0]]]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"rows": [1.0]}, "rows"),
        ({"baseline": np.empty((0, 2))}, "baseline"),
        ({"baseline": [[1.0]]}, "baseline"),
        ({"num_samples": 0}, "num_samples"),
        ({"predict": lambda x: np.ones(3)}, "predict: returned shape"),
        ({"predict": lambda x: np.full(len(x), np.nan)}, "predict: returned missing"),
        ({"use_logit": True}, "use_logit"),
    ],
)
def test_bad_input_names_the_argument(change: dict[str, Any], name: str) -> None:
    given: dict[str, Any] = {"predict": lambda x: x[:, 0] * 9, "rows": [[1.0, 2.0]], "baseline": [[0.0, 0.0]]} | change
    with pytest.raises(ValueError, match=name):
        explain.kernel_shap(given.pop("predict"), given.pop("rows"), given.pop("baseline"), **given)


def test_importance_is_the_loss_of_score() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 3))
    truth = rows[:, 0] * 2 + rows[:, 1]
    mean, spread = explain.permutation_importance(lambda x: -float(((x[:, 0] * 2 + x[:, 1] - truth) ** 2).mean()), rows, repeats=20)
    assert mean == pytest.approx([8, 2, 0], rel=0.2, abs=1e-9)
    assert spread[2] == 0


def test_dependence_is_the_mean_of_its_lines() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2))
    found = explain.partial_dependence(lambda x: x[:, 0] * x[:, 1], rows, 0, grid_resolution=7)
    assert np.allclose(found.ice[:, :, 0], rows[:, 1:2] * found.grid)
    assert np.allclose(found.average[:, 0], rows[:, 1].mean() * found.grid)
    assert found.share.sum() == pytest.approx(1.0)


def test_dependence_on_categories_and_constants() -> None:
    rows = np.array([["a", 1.0], ["b", 1.0], ["a", 1.0]], dtype=object)
    found = explain.partial_dependence(lambda x: (x[:, 0] == "a").astype(float), rows, 0)
    assert (found.grid.tolist(), found.average[:, 0].tolist()) == (["a", "b"], [1.0, 0.0])
    assert explain.partial_dependence(lambda x: x[:, 1].astype(float), rows, 1).grid.tolist() == [1.0]


@pytest.mark.parametrize(("feature", "resolution", "name"), [(5, 3, "feature"), (0, 0, "grid_resolution"), (1, 3, "feature")])
def test_bad_grids_are_refused(feature: int, resolution: int, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        explain.partial_dependence(lambda x: x[:, 0], [[1.0, np.nan]], feature, grid_resolution=resolution)
