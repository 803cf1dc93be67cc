"""Bias and attribution drift of what an endpoint was asked: captured records made into Clarify's table, its analyses, and the baseline's limits."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl

from dewfall.images import contract
from dewfall.images.clarify import bias, config, predictor, shap, shapes
from dewfall.images.clarify import report as pages
from dewfall.images.clarify.config import Analysis
from dewfall.images.clarify.dataset import Dataset
from dewfall.images.contract import UserError
from dewfall.images.monitor import data, model, outcome, records
from dewfall.images.monitor.outcome import Metric
from dewfall.images.monitor.records import Capture
from dewfall.images.monitor.settings import Settings
from dewfall.ml import datatypes, violations

PREDICTED = "predicted_label"
STAGES = {"pre_training_bias_metrics": "Pre-training", "post_training_bias_metrics": "Post-Training"}
NOTHING = "none"  # of a threshold that no value is above; CloudWatch takes no empty text
ALL = {"pre_training_bias": {"methods": "all"}, "post_training_bias": {"methods": "all"}}


def run(settings: Settings, session: Any, fetch: Any) -> list[dict[str, str]] | None:
    """One monitoring run of a bias or explainability schedule; its violations."""
    analysis = _analysis()
    explains = "shap" in analysis.methods
    captures = list(records.captures(settings)) if explains else model.merged(settings)
    if not captures:
        raise UserError(data.EMPTY)
    held = table(analysis, settings, captures, labelled=not explains)
    document: dict[str, Any] = {"version": "1.0"}
    found = None
    if explains:
        with ExitStack() as stack:
            asked = stack.enter_context(predictor.opened(analysis, held.features, session))
            found = shap.explain(analysis, held, asked.scores, settings.output, fetch)
        document["explanations"] = {"kernel_shap": found.document}
    else:
        document |= bias.report(analysis, held, None)
    outcome.write(settings.output, "analysis.json", document)
    sections = pages.blocks(document, held, None, None, found, list(analysis.get("label_values_or_threshold", [])))
    pages.write(analysis.methods.get("report") or {}, settings.output, sections, held.frame.height)
    outcome.publish(settings, "explainability" if explains else "bias", metrics_of(document), session)
    limits = data.document(settings.constraints) if settings.constraints else None
    try:
        broken = None if limits is None else (violations.attributions if explains else violations.bias)(document, limits)
    except ValueError as error:
        raise UserError(f"The baseline constraints cannot be held against the analysis: {error}.") from None
    if broken is not None:
        outcome.write(settings.output, "constraint_violations.json", {"version": "1.0", "violations": broken})
    return broken


def table(analysis: Analysis, settings: Settings, captures: list[Capture], *, labelled: bool) -> Dataset:
    """Clarify's table of captured records: features, and for bias the ground truth's label and the model's."""
    rows = [row for capture in captures for row in _features(capture, settings.attribute("features_attribute"))]
    width = len(rows[0])
    if any(len(row) != width for row in rows):
        raise UserError("Captured requests have different numbers of features.")
    names = _names(analysis, width)
    columns: dict[str, list[Any]] = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    label = str(analysis.get("label") or "label") if labelled else None
    if labelled:
        if len(rows) != len(captures):
            raise UserError("Captured requests hold several records each: bias needs one label per record.")
        columns[str(label)] = [model.label_of(capture, settings) for capture in captures]
        columns[PREDICTED] = _predicted(analysis, settings, captures, columns[str(label)])
    text = pl.DataFrame({name: [None if v is None else str(v) for v in values] for name, values in columns.items()})
    kinds = {name: held.inferred for name, held in datatypes.count(text).items()}
    frame = datatypes.cast(text, kinds)
    return Dataset(frame, tuple(names), label, PREDICTED if labelled else None)


def _analysis() -> Analysis:
    document = config_document(contract.folders().home / "processing" / "input" / "config")
    shapes.check(document)
    document = by_name(document)
    methods = document.get("methods") or dict(ALL)
    config.check_bias(Analysis({**document, "dataset_type": config.CAPTURE}, methods))
    return Analysis({**document, "dataset_type": config.CSV, "methods": methods}, methods, document.get("predictor") or {})


def by_name(document: dict[str, Any]) -> dict[str, Any]:
    """Label, facets and group variable that are places in `headers` by their names: in captured records the columns stand elsewhere.

    >>> by_name({"headers": ["y", "age", "sex"], "label": 0, "facet": [{"name_or_index": 2}]})
    {'headers': ['y', 'age', 'sex'], 'label': 'y', 'facet': [{'name_or_index': 'sex'}]}
    """
    headers = document.get("headers") or []

    def named(place: Any, member: str) -> Any:
        if not isinstance(place, int) or not headers:
            return place
        if not 0 <= place < len(headers):
            raise UserError(f"{member}: headers has no place {place}; it has {len(headers)}.")
        return headers[place]

    found = {member: named(document[member], member) for member in ("label", "group_variable") if member in document}
    facets = [{**one, "name_or_index": named(one.get("name_or_index"), "facet")} for one in document.get("facet") or ()]
    return document | found | ({"facet": facets} if facets else {})


def config_document(folder: Path) -> dict[str, Any]:
    """The analysis configuration of the job definition's ConfigUri."""
    return data.document(folder)


def _names(analysis: Analysis, width: int) -> list[str]:
    label = analysis.get("label")
    headers = [str(name) for name in analysis.get("headers") or () if name != label]
    if headers and len(headers) != width:
        raise UserError(f"headers: {len(headers)} features are named, but captured requests have {width}.")
    return headers or [f"column_{i}" for i in range(width)]


def _features(capture: Capture, attribute: str | None) -> list[list[Any]]:
    if "json" not in capture.input_type.lower():
        return [list(row.values()) for row in records.flatten(capture.input, capture.input_type)]
    import jmespath

    lines = "lines" in capture.input_type.lower()
    try:
        documents = [json.loads(line) for line in capture.input.splitlines() if line.strip()] if lines else [json.loads(capture.input)]
        found = [
            jmespath.search(attribute, document) if attribute else list(records.flatten(json.dumps(document), "json")[0].values())
            for document in documents
        ]
    except jmespath.exceptions.JMESPathError as error:
        raise UserError(f"FeaturesAttribute '{attribute}' is not a JMESPath expression: {error}") from None
    except ValueError as error:
        raise UserError(f"A captured record is not valid JSON: {error}") from None
    rows = found[0] if len(found) == 1 and found[0] and isinstance(found[0][0], list) else found
    if not all(isinstance(row, list) for row in rows):
        raise UserError(f"FeaturesAttribute '{attribute}' finds no list of features in a captured request.")
    return list(rows)


def _predicted(analysis: Analysis, settings: Settings, captures: list[Capture], labels: list[Any]) -> list[Any]:
    inference, probability = settings.attribute("inference_attribute"), settings.attribute("probability_attribute")
    if inference is not None:
        return [model.picked(capture.output, capture.output_type, inference) for capture in captures]
    scores = [model.score(model.picked(capture.output, capture.output_type, probability), "probability_attribute") for capture in captures]
    return model.thresholded(scores, labels, settings)


def metrics_of(document: dict[str, Any]) -> list[Metric]:
    """CloudWatch's metrics of an analysis, those that are values."""
    found = [metric for stage, title in STAGES.items() if stage in document for metric in _bias_metrics(document[stage], title)]
    for label, entry in document.get("explanations", {}).get("kernel_shap", {}).items():
        method = (("ExplainabilityMethod", "KernelShap"), ("Label", label))
        found.append(Metric("ExpectedValue", value=entry["expected_value"], dimensions=(*method, ("ValueType", "ExpectedValue"))))
        found += [
            Metric(f"feature_{name}", value=value, dimensions=(*method, ("ValueType", "GlobalShapValues")))
            for name, value in entry.get("global_shap_values", {}).items()
        ]
    return found


def _bias_metrics(stage: dict[str, Any], title: str) -> list[Metric]:
    label = (("Label", str(stage["label"])), ("LabelValue", str(stage["label_value_or_threshold"]) or NOTHING))
    return [
        Metric(
            f"bias_metric_{metric['name']}",
            value=violations.INFINITIES.get(metric["value"], math.nan) if isinstance(metric["value"], str) else metric["value"],
            dimensions=(("BiasStage", title), *label, ("Facet", facet), ("FacetValue", str(value["value_or_threshold"]) or NOTHING)),
        )
        for facet, values in stage["facets"].items()
        for value in values
        for metric in value["metrics"]
        if metric["value"] is not None
    ]
