"""Text Classification: tells by a paragraph which part of a library it describes, as well as TF-IDF and logistic regression do."""

import csv
import doctest
import importlib
import inspect
import io
import json
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from dewfall.images.builtin import text_classification
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.ml.nets import texts
from tests.images.builtin.conftest import OptMl

PARTS = ("cluster", "linear_model", "preprocessing")


def paragraphs() -> list[tuple[int, str]]:
    """Paragraphs of scikit-learn's documentation with the number of the module that they describe, in random order."""
    found: dict[str, int] = {}
    for label, name in enumerate(PARTS):
        module = importlib.import_module(f"sklearn.{name}")
        for member in module.__all__:
            for text in (inspect.getdoc(getattr(module, member)) or "").split("\n\n"):
                if 60 < len(text) < 400:
                    found.setdefault(text, label)
    rows = [(label, text) for text, label in sorted(found.items())]
    return [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]


def table(rows: Any) -> str:
    body = io.StringIO()
    csv.writer(body).writerows(rows)
    return body.getvalue()


def asked(opt_ml: OptMl, text: str, accept: str, kind: str = "application/x-text") -> Any:
    handler = text_classification.TextHandler(opt_ml.model)
    handler.load()
    answer = handler.invoke(Invocation(text.encode(), kind, accept, {}))
    return json.loads(bytes(answer.body)) if answer.status == 200 else answer.status  # type: ignore[arg-type]


def test_classifies_as_tf_idf_does(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = paragraphs()
    cut = len(rows) * 3 // 4
    given = {"epochs": "8", "learning_rate": "0.003"}
    opt_ml.write(given, {"training": table(rows[:cut]), "validation": table(rows[cut:])})
    text_classification.train()
    found = max(map(float, re.findall(r"val_accuracy=([0-9\.]+)", capsys.readouterr().out)))
    sides = [([text for _, text in side], [label for label, _ in side]) for side in (rows[:cut], rows[cut:])]
    theirs = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)).fit(*sides[0]).score(*sides[1])
    assert found > theirs - 0.05
    answer = asked(opt_ml, rows[0][1], "application/json;verbose")
    assert answer["labels"] == [0, 1, 2]
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert answer["predicted_label"] == rows[0][0]
    assert set(asked(opt_ml, "anything", "application/json")) == {"probabilities"}
    assert asked(opt_ml, "1,2", "application/json", "text/csv") == 415


def test_goes_on_from_a_model(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(0, "good day"), (1, "bad night")] * 8
    opt_ml.write({"epochs": "1", "optimizer": "adamw"}, {"training": table(rows)})
    text_classification.train()
    (opt_ml.home / "input/data/model").mkdir()
    for name in ("model.pt", "model.json"):
        (opt_ml.home / "input/data/model" / name).write_bytes((opt_ml.model / name).read_bytes())
    opt_ml.write({"epochs": "1", "train_only_on_top_layer": "True", "optimizer": "nesterov"}, {"training": table(rows)})
    text_classification.train()
    assert "Loaded the model of channel 'model'." in capsys.readouterr().out
    opt_ml.write({"epochs": "1"}, {"training": table([*rows, (2, "third")] * 4)})
    with pytest.raises(UserError, match="trained with labels"):
        text_classification.train()


def test_refuses_in_words(opt_ml: OptMl) -> None:
    opt_ml.write({}, {"training": "good,day\n"})
    with pytest.raises(UserError, match="an integer label and a text"):
        text_classification.train()


def test_examples() -> None:
    assert doctest.testmod(texts).failed == 0
