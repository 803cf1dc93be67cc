"""SageMaker SDK v2's processors and tuner from their own environment, against a server of the documented command."""

from __future__ import annotations

import re
from collections import ChainMap
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tests.sdk.conftest import Run

ADULT = Path("/work/shared/data/adult.csv")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_processors(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_processing.py"))
    assert (told["sklearn"], told["rows"]) == ("Completed", 3)
    assert told["script"] == "Completed"
    assert "Failed. Reason: AlgorithmError: , exit code: 3" in told["failure"]
    assert (told["framework"], told["said"]) == ("Completed", "HELLO")


def test_tuner(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_tuning.py"))
    assert (told["tuning"], told["trials"]) == ("Completed", 4)
    assert {"FinalObjectiveValue", "TrainingElapsedTimeSeconds", "TrainingJobName", "criterion", "max-depth", "max-features"} <= set(told["columns"])
    assert told["best"] > 0.8
    assert told["best_job"] in told["table_best"]
    assert told["estimator"] == "SKLearn"
    assert 1 <= told["depth"] <= 8
    assert told["attached"]
    assert told["ranges"] == ["CategoricalParameterRanges", "ContinuousParameterRanges", "IntegerParameterRanges"]
    assert told["auc"] > 0.9
    assert (told["warm"], told["overall"]) == ("Completed", True)


def test_clarify(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_clarify.py"))
    assert told["bias"] == ["AD", "CDDPL", "DAR", "DCA", "DCR", "DI", "DPPL", "DRR", "FT", "GE", "RD", "SD", "TE"]
    assert told["first"] in ("f0", "group")
    assert {"analysis.json", "report.html", "report.ipynb", "report.pdf", "out.csv"} <= set(told["files"])


def test_clarify_of_pictures(run_script: Run, tmp_path: Path) -> None:
    digits = load_digits()
    model = LogisticRegression(C=0.05, max_iter=200).fit(digits.data[300:] / 16, digits.target[300:])
    np.savez(tmp_path / "weights.npz", weights=model.coef_.T, bias=model.intercept_)
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        picture = Image.fromarray((digits.images[number] * 15.9).astype(np.uint8)).resize((64, 64), Image.Resampling.NEAREST)
        picture.save(tmp_path / "pictures" / f"is{digits.target[number]}.png")
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    (tmp_path / "scene").mkdir()
    scene = np.full((48, 64), 20, np.uint8)
    scene[6:22, 4:34] = scene[24:46, 44:60] = scene[36:44, 4:12] = 240
    Image.fromarray(scene).save(tmp_path / "scene" / "room.png")
    told: Any = ChainMap(*run_script("v2", "v2_clarify_images.py"))
    assert [one["predicted_label"] for one in told["images"]] == ["digit 0", "digit 1"]
    assert {"is0_digit_0.jpeg", "is1_digit_1.jpeg", "analysis.json", "report.pdf", "explanations_shap/out.jsonl"} <= set(told["files"])
    assert told["left"] == 0
    drawn = np.asarray(Image.open(tmp_path / "out" / "is0_digit_0.jpeg").crop((330, 22, 650, 342)).resize((8, 8), Image.Resampling.BOX)).astype(float)
    blue = (drawn[:, :, 2] - drawn[:, :, 0])[digits.images[0] > 10].mean()
    assert blue > 10 + (drawn[:, :, 2] - drawn[:, :, 0])[digits.images[0] == 0].mean()  # the digit's pixels, not those around them
    assert {"room_objects.jpeg", "shap_room_box1.jpeg", "shap_room_box2.jpeg", "report.pdf", "report.ipynb"} <= set(told["scene"])
    assert "shap_room_box3.jpeg" not in told["scene"]  # max_objects
    (room,) = told["things"]
    assert {one["label"] for one in room["objects"]} <= {"tall", "wide"}
    (line,) = told["local"][0]["explanations"]
    for place, one in enumerate(room["objects"]):  # the part of the picture that raises an object's score most lies in its box
        best = max(line["attributions"], key=lambda held: held["attribution"][place])["description"]["bounding_box"]
        left, top, right, bottom = one["bounding_box"]
        assert max(best[0], left) < min(best[2], right)
        assert max(best[1], top) < min(best[3], bottom)


def test_monitors(run_script: Run, tmp_path: Path) -> None:
    names = ["target", "f0", "f1", "f2", "group"]
    if ADULT.exists():
        names = ["rich", "education-num", "age", "hours-per-week", "white"]
        frame = pl.read_csv(ADULT, n_rows=500).with_columns(
            rich=(pl.col("income-per-year") == ">50K").cast(int), white=(pl.col("race") == "White").cast(int)
        )
        frame.select(names).write_csv(tmp_path / "table.csv")
    told: Any = ChainMap(*run_script("v2", "v2_monitor.py"))
    assert told["DefaultModelMonitor"] == "CompletedWithViolations", told
    assert [names[1], "baseline_drift_check"] in told["data_violations"]
    assert told["statistics"] == names
    assert told["ModelQualityMonitor"] == "CompletedWithViolations", told
    assert {"accuracy", "precision"} <= set(told["quality_violations"])
    assert told["ModelBiasMonitor"] == "CompletedWithViolations", told
    assert told["bias_violations"] == [[names[-1], "bias_drift_check"]]
    assert told["ModelExplainabilityMonitor"] == "CompletedWithViolations", told
    (drifted,) = told["attributions"]["violations"]
    assert (drifted["label"], drifted["metric_name"], drifted["constraint_check_type"]) == ("label0", "shap", "feature_attribution_drift_check")
    assert float(re.findall(r"^Feature attribution drift (.+) exceeds threshold 0.9$", drifted["description"])[0]) < 0.9
    assert {"analysis.json", "constraint_violations.json", "report.html"} <= set(told["explained"])
    assert told["left"] == 0
