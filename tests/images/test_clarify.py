"""Clarify's pieces: what a configuration may say, what a dataset becomes, what a model is asked and answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from dewfall.images.clarify import bias, config, dataset, pdp, predictor, requests, series, shap, texts
from dewfall.images.clarify.__main__ import check_outputs
from dewfall.images.clarify.config import Analysis, check
from dewfall.images.clarify.requests import Answers, Form
from dewfall.images.contract import UserError

BIAS: dict[str, Any] = {"pre_training_bias": {"methods": "all"}}
CSV: dict[str, Any] = {
    "dataset_type": "text/csv",
    "label": "y",
    "label_values_or_threshold": [1],
    "facet": [{"name_or_index": "sex"}],
    "methods": BIAS,
}
LINES: dict[str, Any] = CSV | {"dataset_type": "application/jsonlines", "features": "data", "label": "y", "headers": ["age", "sex", "y"]}
TABLE = pl.DataFrame({"y": [1, 0, 1, 0], "age": [20.0, 30.0, 40.0, 50.0], "sex": ["f", "m", "f", "m"]})


def never(uri: str) -> Any:
    raise AssertionError(uri)


def loaded(document: dict[str, Any], folder: Path, text: str) -> dataset.Dataset:
    (folder / "data").write_text(text)
    return dataset.load(check(document), folder, never)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": {}}, "methods must name at least one analysis"),
        ({"lable": "y"}, "unknown member 'lable'"),
        ({"dataset_type": "text/xml"}, "dataset_type 'text/xml' is not one of"),
        ({"facet": None}, "facet is required for bias metrics"),
        ({"facet": []}, "facet is required for bias metrics"),
        ({"facet": [{}]}, "every facet needs name_or_index"),
        ({"methods": {"shap": {}}}, "predictor is required"),
        ({"methods": {"shap": {}}, "predictor": {"model_name": "m"}}, "instance_type is required with model_name"),
        ({"dataset_type": "application/jsonlines"}, r"features \(a JMESPath expression\) is required"),
        ({"methods": {"asymmetric_shapley_value": {}}, "predictor": {"endpoint_name": "e"}}, "needs time_series_data_config"),
        ({"version": "2.0"}, "only 1.0"),
        ({"headers": ["y", "sex", "y"]}, "headers has the name 'y' more than once"),
        ({"headers": "y"}, "headers must be a list, not 'y'"),
        ({"facet": {"name_or_index": "sex"}}, "facet must be a list, not"),
        ({"facet": ["sex"]}, r"facet\[0\] must be an object, not 'sex'"),
        ({"facet": [{"name_or_index": "sex", "value_or_threshold": 1}]}, r"facet\[0\].value_or_threshold must be a list, not 1"),
        ({"label_values_or_threshold": 1}, "label_values_or_threshold must be a list, not 1"),
        ({"label_values_or_threshold": [None]}, r"label_values_or_threshold\[0\] must be given, not None"),
        ({"probability_threshold": "0.5"}, "probability_threshold must be a number, not '0.5'"),
        ({"methods": ["shap"]}, "methods must be an object"),
        ({"methods": {"pre_training_bias": ["CI"]}}, "methods.pre_training_bias must be an object"),
        ({"methods": {"pdp": {"grid_resolution": True}}}, "methods.pdp.grid_resolution must be a whole number, not True"),
        ({"methods": BIAS | {"report": {"name": "../report"}}}, "the name '../report' is that of a file"),
        ({"segment_config": [{"name_or_index": "age"}]}, "every segment_config needs segments"),
        ({"predictor": {"model_name": "m", "initial_instance_count": "1"}}, "predictor.initial_instance_count must be a whole number, not '1'"),
    ],
)
def test_a_wrong_configuration_is_told(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check(CSV | change)


def test_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="add an input named analysis_config"):
        config.read(tmp_path / "analysis_config.json")
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(UserError, match="its input holds mine"):
        config.read(tmp_path / "analysis_config.json")


def test_results_that_would_go_nowhere(tmp_path: Path) -> None:
    job, outputs = tmp_path / "processingjobconfig.json", [{"OutputName": "a", "S3Output": {"LocalPath": "/opt/ml/processing/output/"}}]
    check_outputs(job)
    job.write_text(json.dumps({"ProcessingOutputConfig": {"Outputs": outputs}}))
    check_outputs(job)
    job.write_text(json.dumps({"ProcessingOutputConfig": {"Outputs": []}}))
    with pytest.raises(UserError, match="its outputs have none"):
        check_outputs(job)


@pytest.mark.parametrize(
    ("headers", "text", "names"),
    [
        (None, "y,age,sex\n1,20,f\n0,30,m\n", ["y", "age", "sex"]),
        (None, "1,20,3\n0,30,4\n", ["column_0", "column_1", "column_2"]),
        (["y", "age", "sex"], "1,20,f\n0,30,m\n", ["y", "age", "sex"]),
        (["y", "age", "sex"], "y,age,sex\n1,20,f\n0,30,m\n", ["y", "age", "sex"]),
    ],
)
def test_headers_of_csv(tmp_path: Path, headers: Any, text: str, names: list[str]) -> None:
    document = CSV | {"headers": headers, "label": 0, "facet": [{"name_or_index": 2}]}
    found = loaded(document, tmp_path, text)
    assert (found.frame.columns, found.frame.height) == (names, 2)
    assert (found.label, found.features) == (names[0], tuple(names[1:]))


def test_json_lines_of_different_lengths_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="have different numbers of features"):
        loaded(LINES, tmp_path, '{"data": [1, 2], "y": 1}\n{"data": [1], "y": 0}\n')


def test_json_lines_become_the_same_table(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"data": [row["age"], row["sex"]], "y": row["y"]}) for row in TABLE.to_dicts())
    found = loaded(LINES, tmp_path, lines)
    assert found.frame.select(TABLE.columns).equals(TABLE)
    assert (found.features, found.label) == (("age", "sex"), "y")


def test_a_json_document_is_read_by_expressions(tmp_path: Path) -> None:
    text = json.dumps({"rows": [{"data": [row["age"], row["sex"]], "y": row["y"]} for row in TABLE.to_dicts()]})
    found = loaded(LINES | {"dataset_type": "application/json", "features": "rows[*].data", "label": "rows[*].y"}, tmp_path, text)
    assert found.frame.select(TABLE.columns).equals(TABLE)


def test_columns_that_the_model_does_not_get(tmp_path: Path) -> None:
    document = CSV | {"joinsource_name_or_index": "id", "excluded_columns": ["age"], "predicted_label": "said"}
    found = loaded(document, tmp_path, "id,y,age,sex,said\na,1,2,f,1\nb,0,3,m,0\n")
    assert (found.features, found.join, found.predicted) == (("sex",), "id", "said")


@pytest.mark.parametrize(
    ("document", "text", "said"),
    [
        (CSV, "", "The dataset has no rows"),
        (CSV, "a,b\n1,2\n", "label: the column 'y' is not present in the dataset"),
        (CSV | {"headers": ["y"]}, "1,2\n", "1 names are given, but the file data has 2 columns"),
        (CSV | {"label": 7}, "y,b\n1,2\n", "the dataset has no column 7"),
        (LINES, "{nonsense", "is not valid JSON"),
        (CSV | {"dataset_type": "application/x-parquet"}, "PAR1junk", "The file data cannot be read as Parquet"),
        (LINES, '{"x": 1}', "the expression 'data' finds nothing"),
    ],
)
def test_a_dataset_that_does_not_fit(tmp_path: Path, document: dict[str, Any], text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        loaded(document, tmp_path, text)


def form(kind: str, **members: Any) -> Form:
    return Form(kind, kind, ("age", "sex"), **members)


@pytest.mark.parametrize(
    ("made", "body"),
    [
        (form(config.CSV), "20,f\n30.5,\n"),
        (form(config.JSON_LINES, content_template='{"x":$features}'), '{"x":[20, "f"]}\n{"x":[30.5, null]}'),
        (form(config.JSON, content_template='{"i":$records}', record_template="$features"), '{"i":[[20, "f"],[30.5, null]]}'),
        (form(config.JSON, content_template="$records", record_template="$features_kvp"), '[{"age": 20, "sex": "f"},{"age": 30.5, "sex": null}]'),
        (form(config.JSON, content_template="$records", record_template='{"a":"${age}"}'), '[{"a":20},{"a":30.5}]'),
    ],
)
def test_bodies_of_requests(made: Form, body: str) -> None:
    assert made.body([[20.0, "f"], [30.5, None]]).decode() == body


PAIR = '{"p":[{"s":[0.3,0.7],"l":1},{"s":[0.6,0.4],"l":0}]}'


@pytest.mark.parametrize(
    ("made", "answer", "scores", "labels"),
    [
        (form(config.CSV), "0.1\n0.9\n", [[0.1], [0.9]], None),
        (form(config.CSV), "0.1,0.9", [[0.1], [0.9]], None),
        (form(config.CSV, label=0, probability=1), "a,0.1\nb,0.9\n", [[0.1], [0.9]], ["a", "b"]),
        (form(config.JSON_LINES, probability="score"), '{"score":0.1}\n{"score":0.9}', [[0.1], [0.9]], None),
        (form(config.JSON, content_template="$records", probability="p[*].s", label="p[*].l"), PAIR, [[0.3, 0.7], [0.6, 0.4]], [1, 0]),
    ],
)
def test_answers(made: Form, answer: str, scores: Any, labels: Any) -> None:
    found = requests.read_answer(made, answer.encode(), made.accept, 2)
    assert found.scores is not None
    assert (found.scores.tolist(), found.labels) == (scores, labels)


def test_one_record_of_a_json_answer() -> None:
    found = requests.read_answer(form(config.JSON, content_template="$records", probability="p[*].s"), b'{"p":[{"s":0.3}]}', config.JSON, 1)
    assert found.scores is not None
    assert found.scores.tolist() == [[0.3]]


@pytest.mark.parametrize(
    ("made", "answer", "said"),
    [
        (form(config.CSV), "0.1\n", "The model returned 1 predictions"),
        (form(config.CSV, probability=3), "1,2\n1,2\n", "probability index 3 is not in the model's answer '1,2'"),
        (form(config.CSV), "yes\nno\n", "is not a score: set the predictor's probability and label"),
        (form(config.JSON_LINES, probability="p"), '{"q":1}\n{"q":1}', "probability 'p' finds nothing"),
        (form(config.JSON_LINES), "<html>", "not valid JSON"),
    ],
)
def test_answers_that_do_not_fit(made: Form, answer: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        requests.read_answer(made, answer.encode(), made.accept, 2)


@pytest.mark.parametrize(
    ("answers", "headers", "labels"),
    [
        (Answers(np.array([[0.4], [0.6]]), None), [], [0, 1]),
        (Answers(np.array([[0.4], [0.6]]), None), ["no", "yes"], ["no", "yes"]),
        (Answers(np.array([[0.4, 0.6], [0.9, 0.1]]), None), ["no", "yes"], ["yes", "no"]),
        (Answers(np.array([[0.4, 0.6], [0.9, 0.1]]), [["a", "b"], ["a", "b"]]), [], ["b", "a"]),
        (Answers(None, ["a", "b"]), [], ["a", "b"]),
        (Answers(np.array([[40.0], [60.0]]), None), [], [40.0, 60.0]),
    ],
)
def test_predicted_labels(answers: Answers, headers: list[str], labels: list[Any]) -> None:
    analysis = Analysis(CSV, {}, {"label_headers": headers})
    assert predictor.predicted_labels(analysis, answers, [1] if labels != [40.0, 60.0] else [50]) == labels


def test_bias_takes_the_models_labels_and_says_what_fails() -> None:
    analysis = check(CSV | {"methods": {"post_training_bias": {"methods": ["DPPL", "CDDPL"]}}, "predictor": {"endpoint_name": "e"}})
    held = dataset.Dataset(pl.concat([TABLE] * 15), ("age", "sex"), "y")
    facets = bias.report(analysis, held, [1, 0, 1, 1] * 15)["post_training_bias_metrics"]["facets"]["sex"]
    found = {metric["name"]: metric for metric in facets[0]["metrics"]}
    assert found["DPPL"]["value"] == pytest.approx(0.5 - 1.0)
    assert (found["CDDPL"]["value"], found["CDDPL"]["error"]) == (None, "Group variable is empty or not provided")


def test_shap_writes_local_values_and_its_baseline(tmp_path: Path) -> None:
    analysis = check(CSV | {"methods": {"shap": {"save_local_shap_values": True, "num_clusters": 1}}, "predictor": {"endpoint_name": "e"}})
    held = dataset.Dataset(pl.DataFrame({"a": [1.0, 3.0], "b": [0.0, 4.0], "id": ["p", "q"]}), ("a", "b"), None, None, "id")
    found = shap.explain(analysis, held, lambda rows: np.asarray(rows)[:, :1] * 2 + np.asarray(rows)[:, 1:], tmp_path, never)
    assert found.document["label0"]["global_shap_values"] == {"a": pytest.approx(2.0), "b": pytest.approx(2.0)}
    assert (tmp_path / "explanations_shap" / "baseline.csv").read_text() == "a,b\n2.0,2.0\n"
    assert (tmp_path / "explanations_shap" / "out.csv").read_text().splitlines()[0] == "a_label0,b_label0,id"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"baseline": [[1]]}, "a baseline row has 1 values, but the model gets 2 features"),
        ({"baseline": [[1, "x"]]}, "values that are not numbers"),
        ({"agg_method": "sum"}, "agg_method 'sum' is not one of"),
        ({"num_samples": 0}, "num_samples must be a positive whole number"),
        ({"features_to_explain": ["c"]}, "names 'c', which is not a feature"),
    ],
)
def test_shap_settings_that_do_not_fit(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    analysis = check(CSV | {"methods": {"shap": settings}, "predictor": {"endpoint_name": "e"}})
    held = dataset.Dataset(pl.DataFrame({"a": [1.0, 3.0], "b": [0.0, 4.0]}), ("a", "b"))
    with pytest.raises(UserError, match=said):
        shap.explain(analysis, held, lambda rows: np.asarray(rows)[:, 0], tmp_path, never)


def test_tokens_of_a_text_share_its_score(tmp_path: Path) -> None:
    settings = {"text_config": {"granularity": "token", "language": "en"}, "baseline": [["", 0]]}
    analysis = check(CSV | {"methods": {"shap": settings}, "predictor": {"endpoint_name": "e"}})
    held = dataset.Dataset(pl.DataFrame({"review": ["good bad good"], "stars": [3]}), ("review", "stars"))

    def scores(rows: Any) -> Any:
        return np.array([row[0].count("good") - row[0].count("bad") + 0.5 * float(row[1]) for row in rows], dtype=np.float64)[:, None]

    found = shap.explain(analysis, held, scores, tmp_path, never)
    review, stars = json.loads((tmp_path / "explanations_shap" / "out.jsonl").read_text())["explanations"]
    pieces = [
        (one["description"]["partial_text"], one["description"]["start_idx"], round(one["attribution"][0], 9)) for one in review["attributions"]
    ]
    assert pieces == [("good", 0, 1.0), ("bad", 5, -1.0), ("good", 9, 1.0)]
    assert stars["attributions"][0]["attribution"][0] == pytest.approx(1.5)
    assert found.document["label0"]["global_top_shap_text"] == {"good": pytest.approx(1.0), "bad": pytest.approx(1.0)}


@pytest.mark.parametrize(
    ("granularity", "pieces"),
    [("sentence", ["One two.", "Three!"]), ("paragraph", ["One two. Three!", "Four"])],
)
def test_pieces_of_a_text(granularity: str, pieces: list[str]) -> None:
    row = np.array(["One two. Three!" + ("\n\nFour" if granularity == "paragraph" else "")], dtype=object)
    assert [player.text for player in texts.players(row, [True], granularity)] == pieces


def test_partial_dependence_of_numbers_categories_and_texts() -> None:
    frame = pl.DataFrame({"a": list(map(float, range(60))), "c": ["x", "y"] * 30, "t": [f"text {i}" for i in range(60)]})
    held = dataset.Dataset(frame, ("a", "c", "t"))
    analysis = check(CSV | {"methods": {"pdp": {"grid_resolution": 3, "features": ["a", "c", "t"]}}, "predictor": {"endpoint_name": "e"}})
    a, c, t = pdp.explain(analysis, held, lambda rows: np.array([row[0] + (row[1] == "y") for row in rows], dtype=np.float64)[:, None], None)
    assert (a["data_type"], c["data_type"], t["data_type"]) == ("numerical", "categorical", "free_text")
    assert (len(a["feature_values"]), len(a["model_predictions"][0])) == (3, 3)
    assert c["model_predictions"][0][1] - c["model_predictions"][0][0] == pytest.approx(1.0)
    assert t["error"] == "PDP is not supported for free text features"


SERIES = {"item_id": "[*].id", "timestamp": "[*].t", "target_time_series": "[*].y", "related_time_series": ["[*].r"], "static_covariates": ["[*].s"]}
ITEMS = [
    {"id": "a", "t": ["2026-01-01", "2026-01-02"], "y": [1, 2], "r": [5, 6], "s": 7},
    {"id": "b", "t": ["2026-01-01"], "y": [3], "r": [4], "s": 8},
]


def test_series_of_item_records_and_of_timestamp_records_are_the_same() -> None:
    analysis = Analysis({"time_series_data_config": SERIES | {"dataset_format": "item_records"}})
    nested = series.read(analysis, [("d", json.dumps(ITEMS).encode())])
    flat = [{"id": i["id"], "t": t, "y": y, "r": r, "s": i["s"]} for i in ITEMS for t, y, r in zip(i["t"], i["y"], i["r"], strict=True)]  # type: ignore[call-overload]
    assert nested == series.read(analysis, [("d", json.dumps(flat).encode())])
    assert (nested[0].target, nested[0].related, nested[0].static) == ([1.0, 2.0], [[5.0], [6.0]], [7.0])
    # as the SDK's TimeSeriesDataConfig writes them: one list over all items' steps
    steps = [{"id": i["id"], "s": i["s"], "steps": [row for row in flat if row["id"] == i["id"]]} for i in ITEMS]
    places = SERIES | {"timestamp": "[*].steps[].t", "target_time_series": "[*].steps[].y", "related_time_series": ["[*].steps[].r"]}
    for form in ("item_records", "ITEM_RECORDS"):
        assert nested == series.read(Analysis({"time_series_data_config": places | {"dataset_format": form}}), [("d", json.dumps(steps).encode())])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target_time_series": "[*].y[0]"}, "where numbers are needed|different lengths"),
        ({"static_covariates": ["[*].id"]}, "static_covariates finds"),
        ({"static_covariates": ["[*].none || [`[]`, `[]`]"]}, "static_covariates finds an empty list for item a in d: every item needs a number"),
        ({"item_id": "[*].[id]"}, r"item_id finds \['a'\] in d: it must find one text or number for each item"),
        ({"timestamp": "[*].none"}, "find different numbers"),
    ],
)
def test_series_that_do_not_fit(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        series.read(Analysis({"time_series_data_config": SERIES | change}), [("d", json.dumps(ITEMS).encode())])
