"""Inputs and outputs of transform jobs as exchanges for the monitors that need the model's answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dewfall.images.contract import UserError
from dewfall.images.monitor import model, records, settings
from dewfall.images.monitor.settings import Settings

ID = "7c9e6679-7425-40de-944b-e07fc1f90ae{}"
AT = "2026-05-04T09:10:00Z"
CSV = '{"csv": {"header": false}}'
JSON = '{"json": {"lines": true}}'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


def given(home: Path, files: dict[str, str], form: str = CSV, **variables: str) -> Settings:
    source = home / "processing" / "input" / "batch"
    source.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    held = {"dataset_format": form, "dataset_source": "/opt/ml/processing/input/batch", "dewfall_batch_transform": "Enabled", **variables}
    return settings.read(held)


def pairs(held: Settings) -> list[tuple[str, str, str]]:
    return [(one.input, one.output, one.key) for one in records.captures(held)]


def test_csv_records_lie_beside_their_answers_without_the_ids(home: Path) -> None:
    files = {
        "0/input/a.csv": "1,2\n3,4\n",
        "0/output/a.csv.out": f"0.9,{ID.format(1)},{AT}\n0.1,{ID.format(2)},{AT}\n",
        "1/input/deep/b.csv": "5,6\n",
        "1/output/b.csv.out": '"x,y",0.5\n',
        "1/input/failed.csv": "7,8\n",
    }
    assert pairs(given(home, files)) == [("1,2", "0.9", ID.format(1)), ("3,4", "0.1", ID.format(2)), ("5,6", '"x,y",0.5', "")]


def test_json_records_lose_the_ids_too(home: Path) -> None:
    answer = {"p": 0.5, "SageMakerInferenceId": ID.format(1), "SageMakerInferenceTime": AT}
    files = {"0/input/a": '{"x": [1]}\n{"x": [2]}', "0/output/a.out": f"{json.dumps(answer)}\n" * 2}
    assert pairs(given(home, files, JSON))[0] == ('{"x": [1]}', '{"p": 0.5}', ID.format(1))
    whole = {"0/input/a": '{"x": [1]}', "0/output/a.out": json.dumps(answer, indent=1)}
    many = {"1/input/b": '{"instances": [{"x": 1}, {"x": 2}]}', "1/output/b.out": '{"predictions": [{"p": 3}, {"p": 4}]}'}
    assert pairs(given(home, many, JSON))[2:] == [('{"x": 1}', '{"p": 3}', ""), ('{"x": 2}', '{"p": 4}', "")]
    (home / "processing" / "input" / "batch" / "1" / "output" / "b.out").unlink()
    assert pairs(given(home, whole, JSON)) == [('{"x": [1]}', '{"p": 0.5}', ID.format(1))]


def test_a_header_and_the_window_are_left_out(home: Path) -> None:
    files = {"0/input/a": "h\n1\n2", "0/output/a.out": f"p\n3,{ID.format(1)},{AT}\n4,{ID.format(2)},2026-05-04T10:10:00Z"}
    held = given(home, files, '{"csv": {"header": true}}', start_time="2026-05-04T09:00:00Z", end_time="2026-05-04T10:00:00Z")
    assert pairs(held) == [("1", "3", ID.format(1))]


@pytest.mark.parametrize(
    ("files", "form", "said"),
    [
        ({"0/input/a": "1\n2", "0/output/a.out": "3"}, CSV, "The input a has 2 records, its output 1"),
        ({"0/input/b": "1", "0/output/a.out": "3"}, CSV, "has 0 inputs of its name"),
        ({"0/input/a": "1", "0/output/a.out": "3"}, '{"parquet": {}}', "is Parquet"),
        ({"0/input/a": "{", "0/output/a.out": "{"}, JSON, "is not valid JSON"),
    ],
)
def test_files_that_do_not_belong_together(home: Path, files: dict[str, str], form: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        pairs(given(home, files, form))


def test_model_quality_needs_ids(home: Path) -> None:
    folder = home / "processing" / "groundtruth"
    folder.mkdir(parents=True)

    def truth(number: int) -> dict[str, Any]:
        return {"groundTruthData": {"data": str(number % 2), "encoding": "CSV"}, "eventMetadata": {"eventId": ID.format(number)}}

    (folder / "t.jsonl").write_text("\n".join(json.dumps(truth(number)) for number in range(4)))
    lines = "".join(f"{0.9 if number > 1 else 0.2},{ID.format(number)},{AT}\n" for number in range(4))
    variables = {"analysis_type": "MODEL_QUALITY", "problem_type": "BinaryClassification", "probability_attribute": "0"}
    held = given(home, {"0/input/a": "1\n" * 4, "0/output/a.out": lines}, **variables)
    assert model.run(held, None) is None
    found = json.loads((held.output / "statistics.json").read_text())["binary_classification_metrics"]
    assert found["accuracy"]["value"] == 0.5
    merged = [json.loads(line) for line in (home / "processing" / "merge" / "part-00000.jsonl").read_text().splitlines()]
    assert (merged[0]["captureData"]["batchTransformOutput"]["data"], merged[3]["groundTruthData"]["data"]) == ("0.2", "1")
    with pytest.raises(UserError, match="GenerateInferenceId"):
        model.run(given(home, {"0/output/a.out": "0.1\n" * 4}, **variables), None)
