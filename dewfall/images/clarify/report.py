"""report.html, report.pdf and report.ipynb: what analysis.json says, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dewfall.images.clarify import shap
from dewfall.images.clarify.dataset import Dataset
from dewfall.ml import metrics
from dewfall.ml.plots import curves, dependence, fairness, matrices, shapley
from dewfall.ml.reports import html, notebook, pdf
from dewfall.ml.reports.document import Block, Chart, Heading, Report, Table, Text

STAGES = {"pre_training_bias_metrics": "Pre-training bias metrics", "post_training_bias_metrics": "Post-training bias metrics"}
FAILED = {"kernel_shap": "Global explanations: Kernel SHAP", "pdp": "Partial dependence plots"}
SWARM = 20_000  # rows × features above which no beeswarm is drawn
VALUES = 20


def write(settings: dict[str, Any], output: Path, blocks: list[Block], rows: int, what: str = "records") -> None:
    """The three copies of the report."""
    name = str(settings.get("name") or "report")
    report = Report(str(settings.get("title") or "SageMaker AI Analysis Report"), blocks, f"{rows:,} {what}")
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{name}.html").write_text(html.write(report))
    (output / f"{name}.ipynb").write_text(notebook.write(report))
    (output / f"{name}.pdf").write_bytes(pdf.write(report))


def blocks(
    document: dict[str, Any], data: Dataset, predicted: list[Any] | None, scores: Any, found: shap.Found | None, positive: list[Any]
) -> list[Block]:
    """The report's sections, those that there are."""
    made: list[Block] = [Heading("Dataset"), Table(["column", "type", "missing", "distinct"], _columns(data))]
    if data.label is not None:
        made += [Text(f"Label {data.label}"), _distribution(data.label, data.frame[data.label].to_list())]
        made += _performance(data, predicted, scores, positive)
    for stage, title in STAGES.items():
        if stage in document:
            made += [Heading(title), *_bias(document[stage])]
    failed = {name: entry["error"] for name, entry in document.get("explanations", {}).items() if isinstance(entry, dict) and "error" in entry}
    for name, error in failed.items():
        made += [Heading(FAILED[name]), Text(error, "bad")]
    made += _segments(document.get("segments", []))
    if found is not None:
        made += [Heading("Global explanations: Kernel SHAP"), *_shap(document, found)]
    entries = document.get("explanations", {}).get("pdp", [])
    if entries and "pdp" not in failed:
        made.append(Heading("Partial dependence plots"))
        made += [Text(f"{e['feature_name']}: {e['error']}", "bad") if "error" in e else Chart(dependence.from_analysis(e)) for e in entries]
    return made


def _columns(data: Dataset) -> list[list[Any]]:
    frame = data.frame
    return [[name, str(frame[name].dtype), frame[name].null_count(), frame[name].n_unique()] for name in frame.columns]


def _distribution(name: str, values: list[Any]) -> Table:
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])[:VALUES]
    return Table([name, "records", "share"], [[str(value), count, count / len(values)] for value, count in ranked])


def _performance(data: Dataset, predicted: list[Any] | None, scores: Any, positive: list[Any]) -> list[Block]:
    assert data.label is not None
    labels = data.frame[data.label].to_list()
    guessed = predicted if predicted is not None else data.frame[data.predicted].to_list() if data.predicted else None
    if guessed is None or any(value is None for value in [*labels, *guessed]):
        return []
    made: list[Block] = [Heading("Model performance")]
    try:
        matrix = metrics.confusion(labels, guessed)
    except ValueError as error:
        return [*made, Text(str(error), "bad")]
    if len(matrix.classes) <= VALUES:
        made += [Table(["measure", "value"], [[name, value] for name, value in metrics.averages(matrix).items()]), Chart(matrices.confusion(matrix))]
    yes = [str(value) in {str(one) for one in positive} for value in labels]
    if scores is not None and scores.shape[1] == 1 and any(yes) and not all(yes):
        made.append(Chart(curves.roc(yes, scores[:, 0])))
    return made


def _bias(stage: dict[str, Any]) -> list[Block]:
    if "error" in stage:
        return [Text(stage["error"], "bad")]
    made: list[Block] = [Text(f"Label {stage['label']}, positive value or threshold: {stage['label_value_or_threshold']}")]
    for facet, values in stage["facets"].items():
        for value in values:
            title = f"Facet {facet}, value or threshold {value['value_or_threshold']}"
            held = value["metrics"]
            rows = [[m["name"], m["description"], m["value"] if m["value"] is not None else m.get("error")] for m in held]
            marks = frozenset(i for i, m in enumerate(held) if m.get("error"))
            made += [Heading(title, 2), Table(["metric", "description", "value"], rows, marks), Chart(fairness.bias(held, title))]
    return made


def _segments(segments: list[dict[str, Any]]) -> list[Block]:
    made: list[Block] = []
    for config in segments:
        made.append(Heading(f"Segments of {config['name']}"))
        for part in config["segments"]:
            made.append(Heading(f"Segment {part['segment']}: {part['rows']} records", 2))
            if part["report"] is None:
                made.append(Text(part["error"], "bad"))
            else:
                made += [block for stage in STAGES if stage in part["report"] for block in _bias(part["report"][stage])]
    return made


def _shap(document: dict[str, Any], found: shap.Found) -> list[Block]:
    made: list[Block] = []
    for label in found.labels:
        entry = document["explanations"]["kernel_shap"][label]
        made.append(Text(f"{label}: expected value {entry['expected_value']:.5g}"))
        values = entry.get("global_shap_values")
        if values:
            made.append(Chart(shapley.overall(list(values.values()), list(values), output=label)))
        top = list(entry.get("global_top_shap_text", {}).items())[:VALUES]
        if top:
            made.append(Table(["text", "mean SHAP value"], [[text, value] for text, value in top]))
    if len(found.local) > 1 and 0 < found.local.shape[0] * found.local.shape[1] <= SWARM and np.isfinite(found.local).all():
        made.append(Chart(shapley.beeswarm(found.local[:, :, 0], found.rows, found.names), f"every record, {found.labels[0]}"))
    return made
