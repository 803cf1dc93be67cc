"""TabTransformer: as good as linear models on real tables, with categories and gaps."""

import json
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from dewfall.images.builtin import tabtransformer
from dewfall.images.builtin.tabular import TabularHandler
from dewfall.images.http import Invocation
from tests.images.builtin.conftest import OptMl


def table(rows: Any, labels: Any) -> str:
    return "".join(",".join(repr(float(cell)) for cell in (label, *row)) + "\n" for row, label in zip(rows, labels, strict=True))


def test_classifies_as_logistic_regression_does(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.preprocessing import scale

    rows, labels = load_breast_cancer(return_X_y=True)
    given = {"n_epochs": "12", "batch_size": "32", "n_blocks": "1", "input_dim": "16"}
    opt_ml.write(given, {"training": table(rows[:400], labels[:400]), "validation": table(rows[400:], labels[400:])})
    tabtransformer.train()
    found = max(map(float, re.findall(r"metrics={'f1': (\S+)}", capsys.readouterr().out)))
    flat = scale(rows)
    theirs = f1_score(labels[400:], LogisticRegression().fit(flat[:400], labels[:400]).predict(flat[400:]))
    assert found > theirs - 0.02
    handler = TabularHandler(opt_ml.model, tabtransformer.TabTransformerModel)
    handler.load()
    body = ",".join(map(str, rows[0])).encode()
    answer = json.loads(bytes(handler.invoke(Invocation(body, "text/csv", "application/json;verbose", {})).body))  # type: ignore[arg-type]
    assert sum(answer["probabilities"][0]) == pytest.approx(1)
    assert answer["predicted_label"] == [int(labels[0])]


def test_regression_with_categories_and_gaps(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    kinds, numbers = rng.integers(0, 5, 500), rng.normal(size=500)
    labels = np.array([10, -5, 3, 8, 0])[kinds] + 2 * numbers + 100
    numbers[::50] = np.nan
    rows = np.column_stack([kinds * 3, numbers])
    opt_ml.write(
        {"n_epochs": "15", "batch_size": "32", "n_blocks": "1", "input_dim": "16", "learning_rate": "0.005"}, {"training": table(rows, labels)}
    )
    (opt_ml.home / "input/data/training/categorical_index.json").write_text('{"any": [1]}')
    tabtransformer.train()
    assert max(map(float, re.findall(r"metrics={'r2': (\S+)}", capsys.readouterr().out))) > 0.9
    model = tabtransformer.TabTransformerModel(opt_ml.model)
    assert model.predict(np.array([[0.0, 0.0], [99.0, np.nan]])).shape == (2,)
