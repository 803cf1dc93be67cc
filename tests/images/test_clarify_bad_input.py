"""Clarify's job on data and models that do not fit: the error in analysis.json and in the report, and everything else computed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from dewfall.images.clarify.__main__ import run
from dewfall.images.clients import make_session
from dewfall.images.contract import UserError

Rows = list[list[str]]
NAMES = ["y", "sex", "age", "job"]
GOOD = [f"{i % 3 == 0:d},{'fm'[i % 2]},{20 + i},{i % 4}" for i in range(60)]
CONFIG: dict[str, Any] = {
    "dataset_type": "text/csv",
    "headers": NAMES,
    "label": "y",
    "label_values_or_threshold": [1],
    "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}],
    "group_variable": "job",
    "methods": {
        "pre_training_bias": {"methods": "all"},
        "post_training_bias": {"methods": "all"},
        "shap": {"baseline": [["f", 30, 1]], "num_samples": 20},
        "pdp": {"features": ["age"], "grid_resolution": 3},
        "report": {"name": "report"},
    },
    "predictor": {"endpoint_name": "e", "content_type": "text/csv", "accept_type": "text/csv"},
}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An endpoint behind botocore's client, which answers by `.answer(rows)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            body = server.answer([line.split(",") for line in text.splitlines()]).encode()  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Content-Type", "text/csv")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.answer = by_age  # type: ignore[attr-defined]
    for name, value in (("ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}"), ("REGION", "us-east-1"), ("ACCESS_KEY_ID", "a")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def by_age(rows: Rows) -> str:
    return "\n".join(str(min(0.99, float(row[1] or 0) / 50)) for row in rows)


def analysed(folder: Path, lines: list[str], **changes: Any) -> tuple[dict[str, Any], str]:
    """What analysis.json holds, and the report's text."""
    (folder / "data").mkdir()
    (folder / "data" / "rows.csv").write_text("\n".join(lines) + "\n")
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    run(folder / "config.json", folder / "data", folder / "out", make_session())
    return json.loads((folder / "out" / "analysis.json").read_text()), (folder / "out" / "report.html").read_text()


def metrics(document: dict[str, Any], stage: str = "pre") -> dict[str, Any]:
    (value,) = document[f"{stage}_training_bias_metrics"]["facets"]["sex"]
    return {metric["name"]: metric for metric in value["metrics"]}


def replaced(change: Callable[[int, list[str]], list[str]]) -> list[str]:
    return [",".join(change(i, line.split(","))) for i, line in enumerate(GOOD)]


def test_good_data_have_no_errors(model: Any, tmp_path: Path) -> None:
    document, _ = analysed(tmp_path, GOOD)
    assert not [name for name, metric in metrics(document).items() if "error" in metric]
    assert set(document["explanations"]) == {"kernel_shap", "pdp"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda rows: "0.5\n" * (len(rows) + 1), "The model returned"),
        (lambda rows: "\n".join("nan" for _ in rows), "scores that are not finite"),
        (lambda rows: "\n".join("yes" for _ in rows), "is not a score"),
        (lambda rows: "\n".join("0.5" if i else "0.1,0.9" for i, _ in enumerate(rows)), "different numbers of scores"),
    ],
)
def test_a_predictor_that_answers_wrongly(model: Any, tmp_path: Path, answer: Any, said: str) -> None:
    model.answer = answer
    document, report = analysed(tmp_path, GOOD)
    assert metrics(document)["DPL"]["value"] is not None
    assert all(metric["value"] is None and said in metric["error"] for metric in metrics(document, "post").values())
    assert said in document["explanations"]["kernel_shap"]["error"]
    assert said in document["explanations"]["pdp"]["error"]
    assert said in report.replace("&#39;", "'")


def test_a_predictor_that_answers_wrongly_and_nothing_else_to_do(model: Any, tmp_path: Path) -> None:
    model.answer = lambda rows: "nan"
    with pytest.raises(UserError, match="not finite"):
        analysed(tmp_path, GOOD, methods={"shap": CONFIG["methods"]["shap"]})


@pytest.mark.parametrize(
    ("lines", "failing", "said"),
    [
        (replaced(lambda i, row: ["1", *row[1:]]), "CDDL", "No negative labels in set"),
        (replaced(lambda i, row: ["0", *row[1:]]), "CDDL", "No positive labels in set"),
        (replaced(lambda i, row: [row[0], "m", *row[2:]]), "CI", "CI: facet set is empty"),
        (replaced(lambda i, row: [row[0], "f", *row[2:]]), "CI", "CI: negated facet set is empty"),
        (replaced(lambda i, row: [row[0], "", *row[2:]]), "CI", "CI: facet set is empty"),
    ],
    ids=["one class", "the other class", "no such facet", "nobody else", "no facets"],
)
def test_labels_and_facets_that_are_not_there(model: Any, tmp_path: Path, lines: list[str], failing: str, said: str) -> None:
    document, report = analysed(tmp_path, lines, methods={name: CONFIG["methods"][name] for name in ("pre_training_bias", "shap", "report")})
    assert said in metrics(document)[failing]["error"]
    assert said in report
    assert "kernel_shap" in document["explanations"]
    assert any(metric["value"] is not None for metric in metrics(document).values()) or "error" not in document["explanations"]["kernel_shap"]


@pytest.mark.parametrize("kind", ["text/csv", "application/jsonlines"])
def test_a_facet_column_without_any_value(model: Any, tmp_path: Path, kind: str) -> None:
    lines = replaced(lambda i, row: [row[0], "", *row[2:]])
    if kind != "text/csv":
        lines = [json.dumps({"x": [None, int(age), int(job)], "y": int(y)}) for y, _, age, job in (line.split(",") for line in lines)]
    names = {} if kind == "text/csv" else {"headers": [*NAMES[1:], "y"], "features": "x"}
    facets = [{"name_or_index": "sex"}, {"name_or_index": "job", "value_or_threshold": [1, 2]}]
    methods = {"pre_training_bias": {"methods": "all"}, "report": {"name": "report"}}
    document, report = analysed(tmp_path, lines, dataset_type=kind, facet=facets, methods=methods, **names)
    found = document["pre_training_bias_metrics"]["facets"]
    assert (found["sex"][0]["value_or_threshold"], metrics(document)["DPL"]["error"]) == ("nan", "Facet set is empty.")
    assert "Facet set is empty." in report
    assert {one["name"]: one["value"] for one in found["job"][0]["metrics"]}["CI"] == 0.0


@pytest.mark.parametrize(
    "lines",
    [
        replaced(lambda i, row: ["" if i % 5 == 0 else row[0], *row[1:]]),
        replaced(lambda i, row: [row[0], "" if i % 5 == 0 else row[1], *row[2:]]),
        replaced(lambda i, row: [*row[:2], "nan" if i % 5 == 0 else "inf" if i % 7 == 0 else row[2], row[3]]),
        replaced(lambda i, row: [*row[:2], "40", row[3]]),
        replaced(lambda i, row: [*row[:3], "x" if i % 2 else row[3]]),
        replaced(lambda i, row: [*row[:2], "" if i == 3 else row[2], ""]),
    ],
    ids=["missing labels", "missing facets", "nan and infinity", "constant", "mixed types", "an empty column"],
)
def test_values_that_are_odd_leave_the_bias_metrics_standing(model: Any, tmp_path: Path, lines: list[str]) -> None:
    document, report = analysed(tmp_path, lines)
    for name in ("CI", "DPL", "KS"):
        assert metrics(document)[name]["value"] is not None
    assert metrics(document, "post")["DPPL"]["value"] is not None
    shap = document["explanations"]["kernel_shap"]
    assert "error" in shap or shap["label0"]["global_shap_values"].keys() == {"sex", "age", "job"}
    for entry in document["explanations"]["pdp"]:
        assert "error" not in entry or entry["error"] in report


def test_a_single_row(model: Any, tmp_path: Path) -> None:
    document, _ = analysed(tmp_path, GOOD[:1])
    assert metrics(document)["CI"]["error"] == "CI: negated facet set is empty. Check that x[~facet] has non-zero length."
    assert "label0" in document["explanations"]["kernel_shap"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": "none"}, "label: the column 'none' is not present in the dataset"),
        ({"facet": [{"name_or_index": "none"}]}, "facet: the column 'none' is not present in the dataset"),
    ],
)
def test_columns_that_are_not_there_end_the_job(model: Any, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        analysed(tmp_path, GOOD, methods={"pre_training_bias": {}, "report": {"name": "report"}}, **changes)
