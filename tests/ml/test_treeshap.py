"""Tree SHAP against exact enumeration of the models' own margins."""

import doctest
import warnings
from typing import Any

import numpy as np
import pytest

from dewfall.ml import explain, pathshap, treeshap
from dewfall.ml.trees import read_trees

RNG = np.random.default_rng(7)
TRAIN = RNG.normal(size=(200, 5))
TARGET = TRAIN[:, 0] * TRAIN[:, 1] + np.sin(TRAIN[:, 2]) + TRAIN[:, 3]
CLASS = np.digitize(TARGET, [-0.5, 0.5])
ROWS, BASE = RNG.normal(size=(6, 5)), RNG.normal(size=(3, 5))


def fitted(name: str) -> Any:
    import lightgbm
    import xgboost
    from sklearn import ensemble, tree

    held: dict[str, Any] = {"n_estimators": 8, "max_depth": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match name:
            case "xgboost":
                return xgboost.XGBRegressor(**held, n_jobs=1).fit(TRAIN, TARGET)
            case "xgboost classes":
                return xgboost.XGBClassifier(**held, n_jobs=1).fit(TRAIN, CLASS)
            case "xgboost binary":
                return xgboost.XGBClassifier(**held, n_jobs=1).fit(TRAIN, CLASS > 0)
            case "lightgbm":
                return lightgbm.LGBMRegressor(**held, verbose=-1, n_jobs=1).fit(TRAIN, TARGET)
            case "lightgbm classes":
                return lightgbm.LGBMClassifier(**held, verbose=-1, n_jobs=1).fit(TRAIN, CLASS)
            case "tree":
                return tree.DecisionTreeRegressor(max_depth=4).fit(TRAIN, TARGET)
            case "forest":
                return ensemble.RandomForestClassifier(**held, random_state=0).fit(TRAIN, CLASS)
            case "boosting":
                return ensemble.GradientBoostingClassifier(**held, random_state=0).fit(TRAIN, CLASS)
            case _:
                return ensemble.GradientBoostingRegressor(**held, random_state=0).fit(TRAIN, TARGET)


NAMES = ["xgboost", "xgboost classes", "xgboost binary", "lightgbm", "lightgbm classes", "tree", "forest", "boosting", "boosted numbers"]


def test_examples() -> None:
    assert doctest.testmod(treeshap).failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_values_equal_enumeration(name: str) -> None:
    model = fitted(name)
    found = treeshap.tree_shap(model, ROWS, BASE)
    held = read_trees(model).model
    want = explain.kernel_shap(lambda x: treeshap._margin(held, x), ROWS, BASE)
    assert np.allclose(found.values, want.values, atol=1e-5 if name.startswith("xgboost") else 1e-9)
    assert np.allclose(found.expected, want.expected)
    assert np.allclose(found.expected + found.values.sum(axis=1), found.predictions, atol=1e-5)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_missing_values_take_the_models_way(name: str) -> None:
    import lightgbm
    import xgboost

    gappy = np.where(RNG.random(TRAIN.shape) < 0.2, np.nan, TRAIN)
    kind = xgboost.XGBRegressor(n_estimators=8) if name == "xgboost" else lightgbm.LGBMRegressor(n_estimators=8, verbose=-1)
    model = read_trees(kind.fit(gappy, TARGET)).model
    found = treeshap.tree_shap(model, gappy[:9], gappy[9:12])
    want = explain.kernel_shap(lambda x: treeshap._margin(model, x), gappy[:9], gappy[9:12])
    assert np.allclose(found.values, want.values, atol=1e-5)


@pytest.mark.parametrize("name", ["xgboost", "xgboost classes", "lightgbm", "lightgbm classes"])
def test_path_dependent_values_add_up(name: str) -> None:
    model = fitted(name)
    found = treeshap.tree_shap(model, ROWS)
    assert np.allclose(found.predictions, treeshap._margin(read_trees(model).model, ROWS), atol=1e-5)
    assert found.values.shape == (6, 5, 3 if "classes" in name else 1)


@pytest.mark.parametrize(
    ("model", "rows", "baseline", "name"),
    [
        (object(), ROWS, BASE, "model"),
        ("tree", ROWS[0], BASE, "rows"),
        ("tree", ROWS, BASE[:, :2], "baseline"),
    ],
)
def test_bad_input_names_the_argument(model: Any, rows: Any, baseline: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        treeshap.tree_shap(fitted(model) if isinstance(model, str) else model, rows, baseline)


def test_without_the_kernel_other_trees_need_a_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pathshap, "is_fast", lambda: False)
    with pytest.raises(ValueError, match="model: path-dependent"):
        treeshap.tree_shap(fitted("tree"), ROWS)
