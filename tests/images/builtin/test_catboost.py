"""The CatBoost image on real data against CatBoost itself; AutoGluon's where it is installed."""

import csv
import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dewfall.images.builtin import autogluon
from dewfall.images.builtin.tabular import TabularHandler
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation

from .conftest import OptMl

Find = Callable[[str], Path]


def abalone(find: Find) -> np.ndarray:
    """Some of the rows: rings, which is the label, sex as a number, seven measures."""
    with find("abalone.csv").open() as file:
        table = np.array([["MFI".index(line[0]) if line[0] in "MFI" else float(line[0]), *map(float, line[1:])] for line in csv.reader(file)])
    return np.random.default_rng(0).permutation(np.column_stack([table[:, -1], table[:, :-1]]))[:1500]


def text(rows: np.ndarray) -> str:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist())


def asked(handler: TabularHandler, rows: np.ndarray) -> dict[str, list[float]]:
    handler.load()
    answer = handler.invoke(Invocation(text(rows).encode(), "text/csv", "application/json;verbose", {}))
    found: dict[str, list[float]] = json.loads(bytes(answer.body))  # type: ignore[arg-type]
    return found


def test_regression_equals_catboost(opt_ml: OptMl, shared_data: Find, capsys: pytest.CaptureFixture[str]) -> None:
    catboost = pytest.importorskip("catboost")
    from dewfall.images.builtin.catboost import CatBoostModel, train

    rows = abalone(shared_data)
    given = {"iterations": "60", "learning_rate": "0.1", "depth": "4"}
    opt_ml.write(given, {"train": text(rows[:1000]), "validation": text(rows[1000:])})
    train("regression")
    out = capsys.readouterr().out
    own = catboost.CatBoost(
        {"loss_function": "RMSE", "iterations": 60, "learning_rate": 0.1, "depth": 4, "random_seed": 1, "verbose": 0, "allow_writing_files": False}
    )
    own.fit(rows[:1000, 1:], rows[:1000, 0], eval_set=(rows[1000:, 1:], rows[1000:, 0]), early_stopping_rounds=5)
    assert np.allclose(asked(TabularHandler(opt_ml.model, CatBoostModel), rows[1000:, 1:])["prediction"], own.predict(rows[1000:, 1:]))
    assert float(re.findall(r"bestTest = ([0-9\.]+)", out)[-1]) == pytest.approx(own.get_best_score()["validation"]["RMSE"], rel=1e-6)


def test_classes_and_categories(opt_ml: OptMl, shared_data: Find) -> None:
    pytest.importorskip("catboost")
    from dewfall.images.builtin.catboost import CatBoostModel, train

    rows = abalone(shared_data)
    rows[:, 0] = rows[:, 0] > 9
    opt_ml.write({"iterations": "40", "learning_rate": "0.2"}, {"train": text(rows)})
    (opt_ml.home / "input" / "data" / "train" / "categorical_index.json").write_text('{"cat_index_list": [1]}')
    train()
    answer = asked(TabularHandler(opt_ml.model, CatBoostModel), rows[:, 1:])
    assert np.mean(np.array(answer["predicted_label"]) == rows[:, 0]) > 0.75
    assert answer["labels"] == [0, 1]
    assert (opt_ml.model / "model.cbm").exists()


def test_autogluon_says_what_is_missing(opt_ml: OptMl) -> None:
    if find_spec("autogluon"):
        pytest.skip("AutoGluon is installed")
    with pytest.raises(UserError, match=r"pip install autogluon\.tabular"):
        autogluon.train()


def test_autogluon_learns(opt_ml: OptMl, shared_data: Find) -> None:
    pytest.importorskip("autogluon.tabular")
    rows = abalone(shared_data)
    opt_ml.write({"presets": "medium_quality"}, {"train": text(rows[:1000]), "validation": text(rows[1000:])})
    autogluon.train("regression")
    found = np.array(asked(TabularHandler(opt_ml.model, autogluon.AutoGluonModel), rows[1000:, 1:])["prediction"])
    assert ((found - rows[1000:, 0]) ** 2).mean() < 0.75 * rows[1000:, 0].var()
