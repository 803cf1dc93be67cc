"""The monitor's image: captured lines as tables, scripts around them, ground truth, and whole analyses of files."""

from __future__ import annotations

import base64
import doctest
import json
from pathlib import Path
from typing import Any

import pytest

from dewfall.images.clients import make_session
from dewfall.images.contract import UserError
from dewfall.images.monitor import clarified, data, model, outcome, records, scripts, settings, truth, unlabelled
from dewfall.images.monitor.settings import Settings

CAPTURE = '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}'


def captured(sent: str, answered: str, event: str = "e", kind: str = "text/csv", at: str = "2026-05-04T09:10:00Z", encoding: str = "CSV") -> str:
    def side(text: str, mode: str) -> dict[str, str]:
        held = base64.b64encode(text.encode()).decode() if encoding == "BASE64" else text
        return {"observedContentType": kind, "mode": mode, "data": held, "encoding": encoding}

    return json.dumps(
        {
            "captureData": {"endpointInput": side(sent, "INPUT"), "endpointOutput": side(answered, "OUTPUT")},
            "eventMetadata": {"eventId": event, "inferenceTime": at},
            "eventVersion": "0",
        }
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


def given(home: Path, text: str, form: str = CAPTURE, **variables: str) -> Settings:
    source = home / "processing" / "input" / "endpoint"
    source.mkdir(parents=True, exist_ok=True)
    (source / "lines.jsonl").write_text(text)
    return settings.read({"dataset_format": form, "dataset_source": "/opt/ml/processing/input/endpoint", **variables})


def rows(held: Settings) -> list[dict[str, Any]]:
    return [row for table in records.batches(held) for row in table.to_dicts()]


def test_a_captured_line_is_its_output_and_then_its_input(home: Path) -> None:
    assert rows(given(home, captured("1,2.5", "0.9"))) == [{"_c0": "0.9", "_c1": "1", "_c2": "2.5"}]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (captured("1", "2", encoding="BASE64"), {"_c0": "2", "_c1": "1"}),
        (captured('{"a": {"b": 1}, "c": [2, "x"]}', '{"p": true}', kind="application/json"), {"p": "true", "a.b": "1", "c_0": "2", "c_1": "x"}),
    ],
)
def test_other_encodings(home: Path, line: str, row: dict[str, str]) -> None:
    assert rows(given(home, line)) == [row]


def test_several_records_of_one_request(home: Path) -> None:
    assert [row["_c1"] for row in rows(given(home, captured("1\n2\n", "8\n9\n")))] == ["1", "2"]


def test_the_window_is_kept(home: Path) -> None:
    text = "\n".join(captured(hour, "0", at=f"2026-05-04T{hour}:00:00Z") for hour in ("08", "09", "10"))
    held = given(home, text, start_time="2026-05-04T09:00:00Z", end_time="2026-05-04T10:00:00Z")
    assert [row["_c1"] for row in rows(held)] == ["09"]


def test_a_line_that_is_none(home: Path) -> None:
    with pytest.raises(UserError, match=r"Line 2 of lines\.jsonl is no captured record"):
        rows(given(home, captured("1", "2") + "\n{}"))


def test_a_preprocessing_script_makes_the_rows(home: Path) -> None:
    script = home / "pre.py"
    script.write_text(
        "def preprocess_handler(record, logger):\n    return {str(i).zfill(3): v for i, v in enumerate(record.endpoint_input.data.split(','))}"
    )
    handler = scripts.preprocessor(script)
    (table,) = records.batches(given(home, captured("5,6", "1")), handler)
    assert table.to_dicts() == [{"000": "5", "001": "6"}]


@pytest.mark.parametrize(("text", "said"), [("x = 1", "has no function preprocess_handler"), ("1/0", "cannot be loaded: ZeroDivisionError")])
def test_a_script_that_does_not_work(home: Path, text: str, said: str) -> None:
    (home / "pre.py").write_text(text)
    with pytest.raises(UserError, match=said):
        scripts.preprocessor(home / "pre.py")


def test_a_baseline_and_what_has_changed_since(home: Path) -> None:
    baseline = given(home, "p,a,b\n" + "".join(f"0.{i % 10},{i},x\n" for i in range(50)), '{"csv": {"header": true}}')
    assert data.run(baseline, None) is None
    limits = json.loads((baseline.output / "constraints.json").read_text())
    assert [(one["name"], one["inferred_type"]) for one in limits["features"]] == [("p", "Fractional"), ("a", "Integral"), ("b", "String")]
    for name in ("constraints", "statistics"):
        (home / f"{name}.json").write_text((baseline.output / f"{name}.json").read_text())
    lines = "\n".join(captured(f"{i + 500},x", f"0.{i % 10}") for i in range(50))
    held = given(home, lines, baseline_constraints=str(home / "constraints.json"), baseline_statistics=str(home / "statistics.json"))
    found = data.run(held, None)
    assert found is not None
    assert [(one["feature_name"], one["constraint_check_type"]) for one in found] == [("a", "baseline_drift_check")]
    assert [one["name"] for one in json.loads((held.output / "statistics.json").read_text())["features"]] == ["p", "a", "b"]


def test_places_in_a_bias_configuration_are_those_of_its_headers() -> None:
    assert doctest.testmod(clarified).failed == 0
    with pytest.raises(UserError, match="facet: headers has no place 3; it has 1"):
        clarified.by_name({"headers": ["y"], "facet": [{"name_or_index": 3}]})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"headers": ["a", "y"], "label": "y"}, "label_values_or_threshold is required for bias metrics"),
        ({"label_values_or_threshold": [1], "facet": "a"}, "facet must be a list, not 'a'"),
        ([], "holds no JSON object"),
    ],
)
def test_a_bias_configuration_that_is_none(home: Path, document: Any, said: str) -> None:
    folder = home / "processing" / "input" / "config"
    folder.mkdir(parents=True)
    (folder / "analysis_config.json").write_text(json.dumps(document))
    held = given(home, captured("1", "0.9"))
    with pytest.raises(UserError, match=said):
        clarified.run(held, None, None)


def test_no_data(home: Path) -> None:
    with pytest.raises(UserError, match="empty dataset"):
        data.run(given(home, ""), None)


def test_model_quality_of_ground_truth_that_came_later(home: Path) -> None:
    folder = home / "processing" / "groundtruth" / "0"
    folder.mkdir(parents=True)
    told = [
        {"groundTruthData": {"data": str(i % 2), "encoding": "CSV"}, "eventMetadata": {"eventId": f"e{i}"}, "eventVersion": "0"} for i in range(8)
    ]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, told)))
    lines = "\n".join(captured("1", "0.9" if i % 4 else "0.1", f"e{i}") for i in range(10))
    held = given(home, lines, analysis_type="MODEL_QUALITY", problem_type="BinaryClassification", probability_attribute="0")
    assert model.run(held, None) is None
    found = json.loads((held.output / "statistics.json").read_text())["binary_classification_metrics"]
    assert (found["accuracy"]["value"], found["recall"]["value"], found["confusion_matrix"]["0"]) == (0.75, 1.0, {"0": 2, "1": 2})
    merged = (home / "processing" / "merge" / "part-00000.jsonl").read_text().splitlines()
    assert len(merged) == 8
    assert json.loads(merged[0])["groundTruthData"]["data"] == "0"


def test_no_dimension_is_empty() -> None:
    entry = {"value_or_threshold": "", "metrics": [{"name": "CI", "value": 0.5}]}
    (found,) = clarified.metrics_of({"pre_training_bias_metrics": {"label": "y", "label_value_or_threshold": "", "facets": {"a": [entry]}}})
    assert {value for name, value in found.dimensions if name.endswith("Value")} == {"none"}


def test_a_dataset_format_that_is_none(home: Path) -> None:
    with pytest.raises(UserError, match="dataset_format: csv must be an object"):
        given(home, "1", '{"csv": true}')


def judged(home: Path, ages: list[int], threshold: int, constraints: dict[str, Any], **variables: str) -> Settings:
    """A window of records with ground truth, a bias configuration with a threshold for their one feature, and a baseline."""
    for place in ("groundtruth/0", "input/config", "baseline/constraints"):
        (home / "processing" / place).mkdir(parents=True)
    told = [
        {"groundTruthData": {"data": str(i % 2), "encoding": "CSV"}, "eventMetadata": {"eventId": f"e{i}"}, "eventVersion": "0"}
        for i in range(len(ages))
    ]
    (home / "processing" / "groundtruth" / "0" / "t.jsonl").write_text("\n".join(map(json.dumps, told)))
    (home / "processing" / "baseline" / "constraints" / "constraints.json").write_text(json.dumps(constraints))
    facet = {"name_or_index": 0, "value_or_threshold": [threshold]}
    document = {"headers": ["age", "y"], "label": "y", "label_values_or_threshold": [1], "facet": [facet]}
    (home / "processing" / "input" / "config" / "analysis_config.json").write_text(json.dumps(document))
    lines = "\n".join(captured(str(age), "0.9" if i % 4 else "0.1", f"e{i}") for i, age in enumerate(ages))
    common = {"problem_type": "BinaryClassification", "baseline_constraints": "/opt/ml/processing/baseline/constraints"}
    return given(home, lines, probability_attribute="0", **common, **variables)


@pytest.mark.parametrize("kind", ["bias", "quality"])
def test_a_baseline_of_another_kind_does_not_pass(home: Path, kind: str) -> None:
    held = judged(home, [i % 3 for i in range(8)], 1, {"version": 0.0, "features": []})
    with pytest.raises(UserError, match="The baseline constraints cannot be held against"):
        model.run(held, None) if kind == "quality" else clarified.run(held, None, None)


@pytest.mark.parametrize(("ages", "text"), [([20, 30, 35, 22], "(35, 40]"), ([20, 30, 40, 22], ""), ([20, 30, 45, 50], "(40, 50]")])
def test_a_window_in_which_nobody_is_above_the_threshold(home: Path, ages: list[int], text: str) -> None:
    entry = {"value_or_threshold": "(40, 68]", "metrics": [{"name": "CI", "value": -0.1}, {"name": "DPL", "value": 0.9}]}
    held = judged(home, ages, 40, {"pre_training_bias_metrics": {"label": "y", "facets": {"age": [entry]}, "label_value_or_threshold": "1"}})
    assert clarified.run(held, None, None) == []
    (found,) = json.loads((held.output / "analysis.json").read_text())["pre_training_bias_metrics"]["facets"]["age"]
    assert found["value_or_threshold"] == text


def test_metrics_are_told_even_where_the_baseline_has_none_of_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"publish_cloudwatch_metrics": "Enabled", "sagemaker_monitoring_schedule_name": "s"}
    held = judged(home, [20, 30, 45, 50], 40, {"version": 0.0, "features": []}, **variables)
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1", "AWS_REGION": "us-east-1"}  # the lines are written all the same
    for name, value in (nowhere | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="The baseline constraints cannot be held against"):
        clarified.run(held, make_session(), None)
    assert "bias_metric_CI" in (home / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl").read_text()


def test_ground_truth_of_nobody(home: Path) -> None:
    with pytest.raises(UserError, match="No captured record of the window has ground truth"):
        model.run(given(home, captured("1", "0.5"), analysis_type="MODEL_QUALITY", problem_type="Regression"), None)


def test_ground_truth_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"x": 1}')
    with pytest.raises(UserError, match=r"eventMetadata\.eventId and groundTruthData are needed"):
        truth.read(tmp_path)


def baselined(home: Path, **edits: Any) -> dict[str, str]:
    """A baseline of a and b, its constraints edited; as the variables of a run."""
    held = given(home, "a,b\n" + "".join(f"{i},{i % 3}\n" for i in range(60)), '{"csv": {"header": true}}')
    data.run(held, None)
    limits = json.loads((held.output / "constraints.json").read_text())
    limits["features"][0] |= edits
    (home / "limits.json").write_text(json.dumps(limits))
    (home / "before.json").write_text((held.output / "statistics.json").read_text())
    return {"baseline_constraints": str(home / "limits.json"), "baseline_statistics": str(home / "before.json")}


FAR = "\n".join(captured(f"{i % 3}", f"{i + 30}") for i in range(60))


@pytest.mark.parametrize(
    ("edits", "checks"),
    [
        ({}, ["baseline_drift_check"]),
        ({"monitoring_config_overrides": {"distribution_constraints": {"comparison_threshold": 0.9}}}, []),
        ({"monitoringConfigOverrides": {"evaluate_constraints": "Disabled"}}, []),
    ],
)
def test_a_features_own_limits(home: Path, edits: dict[str, Any], checks: list[str]) -> None:
    found = data.run(given(home, FAR, **baselined(home, **edits)), None)
    assert [one["constraint_check_type"] for one in found or []] == checks


@pytest.mark.parametrize("excluded", ["a", "0"])
def test_features_that_are_excluded(home: Path, excluded: str) -> None:
    held = given(home, FAR, **baselined(home), exclude_features_attribute=excluded)
    assert data.run(held, None) == []
    assert [one["name"] for one in json.loads((held.output / "statistics.json").read_text())["features"]] == ["b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "limits.json cannot be read"),
        ("[]", "holds no JSON object"),
        ('{"features": [{}]}', "a list of objects with a name"),
        ('{"features": [], "monitoring_config": {"datatype_check_threshold": "all"}}', "datatype_check_threshold of monitoring_config is 'all'"),
    ],
)
def test_constraints_that_are_none(home: Path, text: str, said: str) -> None:
    (home / "limits.json").write_text(text)
    with pytest.raises(UserError, match=said):
        data.run(given(home, FAR, baseline_constraints=str(home / "limits.json")), None)


def test_json_that_is_one_document(home: Path) -> None:
    text = json.dumps([{"a": 1, "b": {"c": "x"}}, {"a": 2, "b": {"c": "y"}}], indent=1)
    assert rows(given(home, text, '{"json": {"lines": false}}')) == [{"a": "1", "b.c": "x"}, {"a": "2", "b.c": "y"}]


def test_a_script_is_given_the_lines_of_a_csv_file(home: Path) -> None:
    (home / "pre.py").write_text("def preprocess_handler(record):\n    return {'n': record.split(',')[1]}")
    held = given(home, "a,b\n1,2\n3,4\n", '{"csv": {"header": true}}')
    (table,) = records.batches(held, scripts.preprocessor(home / "pre.py"))
    assert table["n"].to_list() == ["2", "4"]


@pytest.mark.parametrize(("told", "accuracy"), [("1\n0\n1\n", 1.0), ("1,1,1", 2 / 3)])
def test_each_record_of_a_request_has_a_label(home: Path, told: str, accuracy: float) -> None:
    write_truth(home, told)
    held = given(home, captured("1\n2\n3\n", "0.9\n0.2\n0.8\n"), analysis_type="MODEL_QUALITY", problem_type="BinaryClassification")
    model.run(held, None)
    found = json.loads((held.output / "statistics.json").read_text())["binary_classification_metrics"]
    assert found["accuracy"]["value"] == pytest.approx(accuracy)


def test_labels_that_are_too_few(home: Path) -> None:
    write_truth(home, "1,0")
    with pytest.raises(UserError, match="3 records, 3 answers and 2 labels"):
        model.run(given(home, captured("1\n2\n3\n", "0.9,0.2,0.8"), analysis_type="MODEL_QUALITY", problem_type="BinaryClassification"), None)


def write_truth(home: Path, told: str) -> None:
    folder = home / "processing" / "groundtruth" / "0"
    folder.mkdir(parents=True)
    line = {"groundTruthData": {"data": told, "encoding": "CSV"}, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"}
    (folder / "t.jsonl").write_text(json.dumps(line))


def test_a_run_leaves_a_page_its_distances_and_a_trend_for_the_next(home: Path) -> None:
    held = given(home, FAR, **baselined(home), sagemaker_monitoring_schedule_name="s", end_time="2026-05-04T10:00:00Z")
    former = {"runs": [{"time": f"2026-05-04T0{i}:00:00Z", "values": {"a": 0.1 * i}} for i in (7, 8)]}
    (home / "processing" / "history").mkdir()
    (home / "processing" / "history" / "trend.json").write_text(json.dumps(former))
    data.run(held, None)
    (move, _) = json.loads((held.output / "drift.json").read_text())["features"]
    assert (move["name"], move["linf"], move["wasserstein"]) == ("a", 0.5, 30.0)
    runs = json.loads((held.output / "trend.json").read_text())["runs"]
    assert [run["time"][11:13] for run in runs] == ["07", "08", "10"]
    page = (held.output / "report.html").read_text()
    assert [f">{title}</h2>" in page for title in ("Drift against the baseline", "The last 3 runs", "Columns")] == [True] * 3
    assert len(page) < 2_000_000


def test_model_quality_has_a_page_too(home: Path) -> None:
    rows = "label,p\n" + "".join(f"{i % 2},{(i % 2 + i % 5) / 5}\n" for i in range(40))
    attributes = {"ground_truth_attribute": "label", "probability_attribute": "p", "problem_type": "BinaryClassification"}
    held = given(home, rows, '{"csv": {"header": true}}', analysis_type="MODEL_QUALITY", **attributes)
    model.run(held, None)
    page = (held.output / "report.html").read_text()
    assert [text in page for text in ("Confusion matrix", "ROC curve", "A baseline")] == [True] * 3


def test_what_to_expect_before_labels_arrive(home: Path) -> None:
    folder = home / "processing" / "groundtruth" / "0"
    folder.mkdir(parents=True)
    told = [{"groundTruthData": {"data": str(int(i % 10 > 3)), "encoding": "CSV"}, "eventMetadata": {"eventId": f"e{i}"}} for i in range(60)]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, told)))
    lines = "\n".join(captured("1", "0.9" if i % 10 > 3 else "0.1", f"e{i}") for i in range(100))
    held = given(home, lines, analysis_type="MODEL_QUALITY", problem_type="BinaryClassification", probability_attribute="0")
    assert unlabelled.estimate(held, ["1", "0"] * 30, [0.9, 0.1] * 30) == (40, dict.fromkeys(("accuracy", "precision", "recall", "f1", "auc"), 1.0))
    model.run(held, None)
    assert "40 requests of the window have no ground truth yet" in (held.output / "report.html").read_text()


def test_metrics_without_a_server_do_not_end_the_analysis(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_tcp_port: int
) -> None:
    for name, value in {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_tcp_port}", "AWS_MAX_ATTEMPTS": "1", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    variables = {"publish_cloudwatch_metrics": "Enabled", "sagemaker_monitoring_schedule_name": "s"}
    assert data.run(given(home, FAR, **baselined(home), **variables), make_session()) != []
    assert "Metrics were not published" in capsys.readouterr().err
    lines = (home / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["MetricName"] == "feature_data_a"


def test_what_is_no_number_is_not_published(home: Path) -> None:
    held = given(home, "", sagemaker_monitoring_schedule_name="s", publish_cloudwatch_metrics="Enabled")
    outcome.write_lines(held, [outcome.Metric("a", value=float("nan")), outcome.Metric("b", value=float("inf"))])
    (line,) = (home / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl").read_text().splitlines()
    assert (json.loads(line)["MetricName"], json.loads(line)["Value"]) == ("b", 2.0**360)
