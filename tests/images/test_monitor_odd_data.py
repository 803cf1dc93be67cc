"""The monitors on odd data: constants, one row, infinities, mixed types, labels of one class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dewfall.images.contract import UserError
from dewfall.images.monitor import data, model, settings
from dewfall.images.monitor.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


def given(home: Path, text: str, **variables: str) -> Settings:
    source = home / "processing" / "input" / "endpoint"
    source.mkdir(parents=True, exist_ok=True)
    (source / "rows.csv").write_text(text)
    return settings.read({"dataset_format": '{"csv": {"header": true}}', "dataset_source": "/opt/ml/processing/input/endpoint", **variables})


def written(held: Settings, name: str) -> Any:
    return json.loads((held.output / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a,b\n1,x\n", ["Integral", "String"]),
        ("a,b\n" + "7,x\n" * 30, ["Integral", "String"]),
        ("a,b\n" + "1.5,x\ninf,y\nnan,\n" * 10, ["Fractional", "String"]),
        ("a,b\n" + "1,x\nx,2\n" * 10, ["String", "String"]),
        ("a,b\n" + ",x\n" * 10, ["Unknown", "String"]),
    ],
    ids=["one row", "constant", "nan and infinity", "mixed types", "an empty column"],
)
def test_a_baseline_of_odd_columns_holds_for_the_same_data(home: Path, text: str, kinds: list[str]) -> None:
    baseline = given(home, text)
    assert data.run(baseline, None) is None
    limits = written(baseline, "constraints")
    assert [one["inferred_type"] for one in limits["features"]] == kinds
    for name in ("constraints", "statistics"):
        (home / f"{name}.json").write_text(json.dumps(written(baseline, name)))
    again = given(home, text, baseline_constraints=str(home / "constraints.json"), baseline_statistics=str(home / "statistics.json"))
    assert data.run(again, None) == []


@pytest.mark.parametrize("labels", ["1,0.9\n1,0.2\n", "0,0.9\n0,0.2\n", "1,0.9\n"], ids=["positive", "negative", "one row"])
def test_model_quality_of_labels_of_one_class(home: Path, labels: str) -> None:
    wanted = {"analysis_type": "MODEL_QUALITY", "problem_type": "BinaryClassification"}
    held = given(home, "y,p\n" + labels, ground_truth_attribute="y", probability_attribute="p", **wanted)
    assert model.run(held, None) is None
    assert "accuracy" in written(held, "statistics")["binary_classification_metrics"]


@pytest.mark.parametrize("score", ["nan", "inf", "x"])
def test_model_quality_of_scores_that_are_none(home: Path, score: str) -> None:
    wanted = {"analysis_type": "MODEL_QUALITY", "problem_type": "BinaryClassification"}
    held = given(home, f"y,p\n1,0.9\n0,{score}\n", ground_truth_attribute="y", probability_attribute="p", **wanted)
    with pytest.raises(UserError):
        model.run(held, None)
