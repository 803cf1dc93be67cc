"""The LightGBM image: JumpStart's layout of data, its metric lines and its answers."""

import json
import re

import lightgbm
import numpy as np
import pytest

from dewfall.images.builtin.lightgbm import LightGbmModel, train
from dewfall.images.builtin.tabular import TabularHandler
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation

from .conftest import OptMl

RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(300, 3))
KINDS = np.digitize(ROWS[:, 0], [-0.5, 0.5])


def csv(labels: np.ndarray, rows: np.ndarray = ROWS) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in np.column_stack([labels, rows]).tolist())


def layout(opt_ml: OptMl, labels: np.ndarray, hyperparameters: dict[str, str] | None = None) -> None:
    """Channel `training` with the folders train and validation."""
    opt_ml.write(hyperparameters or {}, {"training": ""})
    home = opt_ml.home / "input" / "data" / "training"
    (home / "data").unlink()
    for name, part in (("train", slice(0, 200)), ("validation", slice(200, 300))):
        (home / name).mkdir()
        (home / name / "data.csv").write_text(csv(labels[part], ROWS[part]))
    (home / "train" / "categorical_index.json").write_text('{"cat_index_list": []}')


def served(opt_ml: OptMl) -> TabularHandler:
    handler = TabularHandler(opt_ml.model, LightGbmModel)
    handler.load()
    return handler


def ask(handler: TabularHandler, rows: np.ndarray, accept: str = "application/json") -> dict[str, list[float]]:
    body = "".join(",".join(map(str, row)) + "\n" for row in rows.tolist())
    found: dict[str, list[float]] = json.loads(bytes(handler.invoke(Invocation(body.encode(), "text/csv", accept, {})).body))  # type: ignore[arg-type]
    return found


def test_classes_get_probabilities(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    layout(opt_ml, KINDS, {"num_boost_round": "20"})
    train()
    assert re.findall(r"multi_logloss: ([0-9\.]+)", capsys.readouterr().out)
    answer = ask(served(opt_ml), ROWS, "application/json;verbose")
    assert np.mean(np.argmax(answer["probabilities"], axis=1) == KINDS) > 0.9
    assert answer["labels"] == [0, 1, 2]
    assert answer["predicted_label"] == np.argmax(answer["probabilities"], axis=1).tolist()


def test_two_classes_get_two_probabilities(opt_ml: OptMl) -> None:
    layout(opt_ml, (KINDS > 0).astype(int))
    train()
    assert np.allclose(np.sum(ask(served(opt_ml), ROWS[:5])["probabilities"], axis=1), 1)


def test_regression_equals_lightgbm(opt_ml: OptMl) -> None:
    target = ROWS[:, 0] * 2
    layout(
        opt_ml, target, {"num_boost_round": "5", "early_stopping_rounds": "5", "bagging_fraction": "1", "feature_fraction": "1", "bagging_freq": "0"}
    )
    train("regression")
    given = {"objective": "regression", "num_leaves": 64, "max_depth": 6, "min_data_in_leaf": 3, "learning_rate": 0.1, "verbosity": -1}
    theirs = np.asarray(lightgbm.train(given, lightgbm.Dataset(ROWS[:200], target[:200]), 5).predict(ROWS[:9]))
    assert np.allclose(ask(served(opt_ml), ROWS[:9])["prediction"], theirs)


def test_labels_need_not_begin_at_zero(opt_ml: OptMl) -> None:
    layout(opt_ml, KINDS * 10 + 1)
    train("classification")
    assert set(ask(served(opt_ml), ROWS[:30], "application/json;verbose")["predicted_label"]) <= {1, 11, 21}


def test_without_data_it_is_the_customers_error(opt_ml: OptMl) -> None:
    opt_ml.write({}, {"other": "1,2"})
    with pytest.raises(UserError, match="Missing required channel: training"):
        train()


@pytest.mark.parametrize(
    ("body", "message"), [("", "is empty"), ("\n\n", "is empty"), (b"\xb2\xff,\x00\xfe\n1,2\n", "is not a CSV file of numbers without a header")]
)
def test_files_that_are_no_table_are_the_customers_error(opt_ml: OptMl, body: bytes | str, message: str) -> None:
    opt_ml.write({}, {"training": body})
    with pytest.raises(UserError, match=message):
        train()


@pytest.mark.parametrize(
    ("channels", "indices", "message"),
    [
        ({"training": "1,2\n,3\n"}, "[]", "Row 2 of the CSV files in .* has no label"),
        ({"training": "1,2\n0,3\n", "validation": "1,2,3\n"}, "[]", "has 2 features, the training data 1"),
        ({"training": "1,2\n"}, "[]", "needs at least two"),
        ({"training": "1,2\n0,3\n"}, "[2]", r"that the data does not have: \[2\]"),
        ({"training": "1,2\n0,3\n"}, "[0]", r"that the data does not have: \[0\]"),
        ({"training": "1,2\n0,3\n"}, "x", "must be a JSON object like"),
    ],
)
def test_tables_that_cannot_be_learnt_from_are_the_customers_error(
    opt_ml: OptMl, channels: dict[str, bytes | str], indices: str, message: str
) -> None:
    opt_ml.write({}, channels)
    (opt_ml.home / "input/data/training/categorical_index.json").write_text(f'{{"cat_index_list": {indices}}}')
    with pytest.raises(UserError, match=message):
        train()


def test_without_validation_rows_a_fifth_is_held_out(opt_ml: OptMl) -> None:
    opt_ml.write({"num_boost_round": "3"}, {"train": csv(KINDS)})
    train()
    assert served(opt_ml).invoke(Invocation(b"1,2", "text/csv", "", {})).status == 400
    assert len(ask(served(opt_ml), ROWS[:2])["probabilities"]) == 2
