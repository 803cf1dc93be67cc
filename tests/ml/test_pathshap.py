"""The compiled path-dependent TreeSHAP against the libraries' own values and against enumeration."""

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from dewfall.ml import pathshap, treeshap
from dewfall.ml.trees import Node, read_trees

RNG = np.random.default_rng(11)
TRAIN = RNG.normal(size=(600, 8))
TRAIN[RNG.random(TRAIN.shape) < 0.05] = np.nan
TARGET = np.nan_to_num(TRAIN[:, 0] * TRAIN[:, 1] + TRAIN[:, 2]) + RNG.normal(size=600)
FILLED = np.nan_to_num(TRAIN)


def boosted(**settings: Any) -> Any:
    import lightgbm

    held = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 3, **settings}
    target = np.digitize(TARGET, [-0.5, 0.5]) if held.get("objective") == "multiclass" else TARGET
    return lightgbm.train(held, lightgbm.Dataset(TRAIN, target), 12)


@pytest.mark.parametrize(
    ("settings", "rows"),
    [({"num_leaves": 31}, 600), ({"num_leaves": 31}, 5), ({"num_leaves": 150}, 300), ({"objective": "multiclass", "num_class": 3}, 100)],
)
def test_values_equal_lightgbms(settings: dict[str, Any], rows: int) -> None:
    model = boosted(**settings)
    trees = read_trees(model)
    found = pathshap.path_values(trees, TRAIN[:rows], threads=2)
    want = model.predict(TRAIN[:rows], pred_contrib=True).reshape(rows, -1, 9)[:, :, :-1].transpose(0, 2, 1)
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12 * np.abs(want).max())


def test_values_equal_xgboosts_in_single_precision() -> None:
    import xgboost

    model = xgboost.train({"max_depth": 6, "nthread": 1}, xgboost.DMatrix(TRAIN, TARGET), 12)
    found = treeshap._compiled(read_trees(model), TRAIN)
    want = model.predict(xgboost.DMatrix(TRAIN), pred_contribs=True)
    np.testing.assert_allclose(found.values[:, :, 0], want[:, :-1], atol=1e-5)
    np.testing.assert_allclose(found.expected, want[0, -1], atol=1e-5)


def test_a_large_request_takes_the_kernel_and_gives_what_the_library_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    model = boosted()
    want = treeshap.tree_shap(model, TRAIN)
    monkeypatch.setattr(treeshap, "WORTHWHILE", 0)
    found = treeshap.tree_shap(model, TRAIN)
    for member in ("values", "expected", "predictions"):
        np.testing.assert_allclose(getattr(found, member), getattr(want, member), rtol=1e-9, atol=1e-12)


def test_scikit_learns_trees_have_path_dependent_values_too() -> None:
    from sklearn.tree import DecisionTreeRegressor

    model = DecisionTreeRegressor(max_depth=5).fit(FILLED[:, :4], TARGET)
    (nodes,) = read_trees(model).nodes
    row = FILLED[3, :4].astype(np.float32).astype(float)
    found = treeshap.tree_shap(model, row[None])
    np.testing.assert_allclose(found.values[0, :, 0], enumerated(nodes, row), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.predictions[:, 0], model.predict(row[None]))


def enumerated(nodes: list[Node], row: Any) -> list[float]:
    """Shapley values of the game whose absent features follow both branches."""

    def game(present: frozenset[int], place: int = 0) -> float:
        node = nodes[place]
        if node.value is not None:
            return float(node.value[0])
        if node.feature in present:
            return game(present, node.left if row[node.feature] <= node.cut else node.right)
        return sum(game(present, child) * nodes[child].cover / node.cover for child in (node.left, node.right))

    d = len(row)
    return [
        sum(
            factorial(size) * factorial(d - size - 1) / factorial(d) * (game(frozenset((*chosen, j))) - game(frozenset(chosen)))
            for size in range(d)
            for chosen in combinations([i for i in range(d) if i != j], size)
        )
        for j in range(d)
    ]


@pytest.mark.parametrize("settings", [{"num_leaves": 31}, {"num_leaves": 100}, {"objective": "multiclass", "num_class": 3}])
def test_values_against_a_baseline_are_those_of_the_plain_way(settings: dict[str, Any]) -> None:
    trees = read_trees(boosted(**settings))
    rows, baseline = TRAIN[:40], TRAIN[100:105]
    found = pathshap.baseline_values(trees, rows, baseline, treeshap._weights(pathshap.longest(trees)))
    np.testing.assert_allclose(found, treeshap._interventional(trees, rows, baseline), rtol=1e-9, atol=1e-12)


def test_trees_that_were_read_before_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(treeshap, "COMPARED", 0)
    model = boosted()
    found, again = treeshap.tree_shap(read_trees(model), TRAIN[:9], TRAIN[9:11]), treeshap.tree_shap(model, TRAIN[:9], TRAIN[9:11])
    np.testing.assert_array_equal(found.values, again.values)
    np.testing.assert_allclose(treeshap.tree_shap(read_trees(model), TRAIN[:9]).values, treeshap.tree_shap(model, TRAIN[:9]).values, rtol=1e-9)
