"""Pre- and post-training bias of the dataset, as analysis.json holds it, and per segment where segments are configured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from dewfall.images.clarify.config import Analysis
from dewfall.images.clarify.dataset import Dataset, column
from dewfall.images.contract import UserError
from dewfall.ml.bias_report import Facet, Question, bias_report, segment_reports

STAGES = ("pre_training_bias", "post_training_bias")
LEVEL = 0.95


def report(analysis: Analysis, dataset: Dataset, predicted: list[Any] | None, failure: str | None = None) -> dict[str, Any]:
    """The bias members of analysis.json. predicted: the model's labels, where the dataset does not hold them; failure: why there are none.

    Raises UserError where Clarify ends the job; a metric that cannot be computed has its error beside it.
    """
    frame, name = dataset.frame, dataset.predicted
    if predicted is not None:
        name = _free("predicted_label", frame.columns)
        frame = frame.with_columns(pl.Series(name, predicted, strict=False))
    if "post_training_bias" in analysis.methods and name is None and failure is None:
        raise UserError("post_training_bias: there are no predicted labels: give predicted_label or a predictor.")
    question = replace(_question(analysis, dataset, name), failure=failure)
    kept = frame.select([c for c in frame.columns if c in {*dataset.features, dataset.label, name, *_facets(analysis, dataset), question.group}])
    try:
        found = bias_report(kept, question)
        segments = _segments(analysis, dataset, kept, question)
    except ValueError as error:
        raise UserError(_sentence(error)) from None
    return found | ({"segments": segments} if segments else {})


def _question(analysis: Analysis, dataset: Dataset, predicted: str | None) -> Question:
    methods = analysis.methods
    facets = [
        Facet(name, given.get("value_or_threshold") or ()) for name, given in zip(_facets(analysis, dataset), analysis.document["facet"], strict=True)
    ]
    if dataset.label is None:
        raise UserError("label: the dataset has no such column.")
    return Question(
        dataset.label,
        analysis.document["label_values_or_threshold"],
        facets,
        predicted=predicted if "post_training_bias" in methods else None,
        group=column(dataset.frame, analysis.get("group_variable"), "group_variable"),
        pre_methods=_names(methods.get("pre_training_bias"), asked="pre_training_bias" in methods),
        post_methods=_names(methods.get("post_training_bias"), asked=True),
        level=LEVEL,
    )


def _names(method: Any, *, asked: bool) -> list[str] | None:
    """Metric names of a stage: None means all, [] none."""
    if not asked:
        return []
    wanted = (method or {}).get("methods", "all")
    wanted = [wanted] if isinstance(wanted, str) else list(wanted or ["all"])
    return None if wanted == ["all"] else wanted


def _facets(analysis: Analysis, dataset: Dataset) -> list[str]:
    return [str(column(dataset.frame, given["name_or_index"], "facet")) for given in analysis.get("facet", ())]


def _segments(analysis: Analysis, dataset: Dataset, frame: pl.DataFrame, question: Question) -> list[dict[str, Any]]:
    found = []
    for given in analysis.get("segment_config", ()):
        name = str(column(dataset.frame, given["name_or_index"], "segment_config"))
        reports = segment_reports(frame, question, name, given["segments"], given.get("display_aliases"))
        found.append({"config_name": given.get("config_name", name), "name": name, "segments": reports})
    return found


def _free(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text if text.endswith((".", "!")) else text + "."
