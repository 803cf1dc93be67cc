"""Factorization machines: interactions found, real people classified as well as by logistic regression, every format."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_sparse

from dewfall.images.builtin import factorization_machines
from dewfall.images.builtin.algorithm import ModelHandler, read_sparse
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import read_records, write_matrix
from dewfall.ml import factorization

from .conftest import OptMl

RECORDIO = "application/x-recordio-protobuf"
QUICK = {"bias_lr": "0.05", "linear_lr": "0.05", "factors_lr": "0.05"}


def served(opt_ml: OptMl) -> ModelHandler:
    handler = ModelHandler(opt_ml.model, factorization_machines.load, read=read_sparse)
    handler.load()
    return handler


def test_scores_are_the_formula_written_out() -> None:
    rng = np.random.default_rng(0)
    rows, machine = rng.normal(size=(4, 5)), factorization.Machine(*(rng.normal(size=size).astype(np.float32) for size in ((1,), (5,), (5, 3))))
    pairs = [sum(machine.factors[i] @ machine.factors[j] * row[i] * row[j] for i in range(5) for j in range(i)) for row in rows]
    assert np.allclose(factorization.scores(machine, rows), machine.bias + rows @ machine.linear + pairs, rtol=1e-4)


def test_people_are_told_apart_as_well_as_by_logistic_regression(
    opt_ml: OptMl, shared_data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from sklearn.linear_model import LogisticRegression

    frame = pd.read_csv(shared_data("adult.csv"), nrows=6000)
    labels = frame.iloc[:, -1].astype(str).str.contains(">50K").to_numpy(float)
    rows = csr_matrix(pd.get_dummies(frame.iloc[:, :-1].astype(str)).to_numpy(np.float32))
    rows = rows[:, np.asarray(rows.sum(axis=0)).ravel() > 5]
    split = {"train": write_matrix(rows[:4500], labels[:4500]), "test": write_matrix(rows[4500:], labels[4500:])}
    given = {"feature_dim": str(rows.shape[1]), "num_factors": "4", "predictor_type": "binary_classifier", "epochs": "15", "mini_batch_size": "200"}
    opt_ml.write(given | {"bias_lr": "0.01", "linear_lr": "0.01", "factors_lr": "0.001"}, split, RECORDIO)
    factorization_machines.train()
    found = float(re.findall(r"#quality_metric: host=\S+, test binary_classification_accuracy <score>=(\S+)", capsys.readouterr().out)[0])
    assert found >= LogisticRegression(max_iter=500).fit(rows[:4500], labels[:4500]).score(rows[4500:], labels[4500:]) - 0.005


def test_products_of_features_are_learnt_and_answered_in_every_format(opt_ml: OptMl) -> None:
    rows: Any = random_sparse(3000, 20, 0.3, "csr", np.float32, np.random.default_rng(1), data_rvs=np.ones)
    target = np.asarray(2 * rows[:, 0].multiply(rows[:, 1]).toarray().ravel() - rows[:, 2].toarray().ravel())
    given = {"feature_dim": "20", "num_factors": "3", "predictor_type": "regressor", "epochs": "20", "mini_batch_size": "100"}
    opt_ml.write(given | QUICK, {"train": write_matrix(rows, target)}, RECORDIO)
    factorization_machines.train()
    handler = served(opt_ml)
    answer = handler.invoke(Invocation(write_matrix(rows[:200]), RECORDIO, RECORDIO, {}))
    found = [record.label["score"].values[0] for record in read_records(bytes(answer.body))]  # type: ignore[arg-type]
    assert np.mean((found - target[:200]) ** 2) < 0.02 * target.var()
    sparse = {"instances": [{"data": {"features": {"keys": [0, 1], "shape": [20], "values": [1, 1]}}}]}
    body = bytes(handler.invoke(Invocation(json.dumps(sparse).encode(), "application/json", "", {})).body)  # type: ignore[arg-type]
    assert json.loads(body)["predictions"][0]["score"] == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"num_factors": "0"}, "0 is less than the minimum of 1"), ({"feature_dim": "2"}, "feature_dim, 2"), ({}, "labels of a binary_classifier")],
)
def test_refusals(opt_ml: OptMl, given: dict[str, str], message: str) -> None:
    usual = {"feature_dim": "3", "num_factors": "2", "predictor_type": "binary_classifier"}
    opt_ml.write(usual | given, {"train": write_matrix(csr_matrix(np.eye(3)), np.array([0, 1, 2]))}, RECORDIO)
    with pytest.raises(UserError, match=message):
        factorization_machines.train()
