"""Drift and quality told apart by a column's values."""

from __future__ import annotations

import json
import random
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
    (home / "rows.csv").write_text(text)
    return settings.read({"dataset_source": str(home / "rows.csv"), "output_path": str(home / "output"), **variables})


def told(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "output" / "segments.json").read_text())
    assert found["version"] == "1.0"
    return {entry["value"]: entry for entry in found["segments"]}


def rows(shift: float) -> str:
    """x moves by `shift` in the north alone, y stays."""
    draw = random.Random(1)
    lines = [f"{draw.gauss(shift if place % 4 == 0 else 0, 1)},{draw.gauss(5, 2)},{'north' if place % 4 == 0 else 'south'}" for place in range(800)]
    return "x,y,region\n" + "\n".join(lines) + "\n,1,\n"


@pytest.mark.parametrize("attribute", ["region", "2"])
def test_a_segment_that_has_moved_is_told_apart(home: Path, attribute: str) -> None:
    data.run(given(home, rows(0), output_path=str(home / "baseline")), None)
    beside = {"baseline_constraints": str(home / "baseline" / "constraints.json"), "baseline_statistics": str(home / "baseline" / "statistics.json")}
    data.run(given(home, rows(3), segment_attribute=attribute, **beside), None)
    found = told(home)
    assert {value: entry["item_count"] for value, entry in found.items()} == {"south": 600, "north": 200, "(missing)": 1}
    moved = {value: {move["name"]: move["psi"] for move in entry["features"]} for value, entry in found.items()}
    assert moved["north"]["x"] > 1 > 0.2 > moved["south"]["x"]
    assert moved["north"]["y"] < 0.2
    assert "Segments by region" in (home / "output" / "report.html").read_text()


def test_a_segment_that_a_model_fails(home: Path) -> None:
    lines = [f"{place % 2},{(place + (place % 3 == 0)) % 2},{'abc'[place % 3]}" for place in range(300)] + ["1,1,d"]
    variables = {"analysis_type": "MODEL_QUALITY", "problem_type": "BinaryClassification", "segment_attribute": "group"}
    model.run(given(home, "label,said,group\n" + "\n".join(lines), inference_attribute="said", ground_truth_attribute="label", **variables), None)
    found = told(home)
    assert [found[value]["metrics"]["accuracy"] for value in "abc"] == [0.0, 1.0, 1.0]
    assert found["d"]["item_count"] == 1
    assert "error" in found["d"] or found["d"]["metrics"]["accuracy"] == 1.0
    assert "Segments by group" in (home / "output" / "report.html").read_text()


def test_a_segment_column_that_is_not_there(home: Path) -> None:
    with pytest.raises(UserError, match="'land' is not in the data set"):
        data.run(given(home, rows(0), segment_attribute="land"), None)


def test_no_segments_where_none_are_asked_for(home: Path) -> None:
    data.run(given(home, rows(0)), None)
    assert not (home / "output" / "segments.json").exists()
