"""Clarify's bias report of a table: every facet value, before and after training, as analysis.json holds it.

Facets, labels and groups are read once into codes; each facet costs one table of counts, whatever number of values and metrics it has.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from dewfall.ml import bias, facets, fliptest

NO_FEATURES = "FlipTest does not support non-numeric columns"
NO_VALUE = "nan"  # what stands for the value of a facet that has none
NO_THRESHOLD = "Threshold values must be provided for continuous features"


@dataclass(frozen=True, slots=True)
class Facet:
    """A column whose values may be treated unequally. values: the sensitive ones, or one threshold; none: each value against the rest."""

    column: str
    values: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What Clarify's analysis_config asks. positive: label values, or one exclusive lower bound. methods: None means all of the stage.

    failure: why there are no predictions; every metric after training then has it as its error, and the others stand.
    level: with a number between 0 and 1, every metric (but FT) gets its bootstrap "confidence_interval" of `draws` draws.
    """

    label: str
    positive: Sequence[Any]
    facets: Sequence[Facet]
    predicted: str | None = None
    group: str | None = None
    pre_methods: Sequence[str] | None = None
    post_methods: Sequence[str] | None = None
    level: float | None = None
    draws: int = 1000
    seed: int = 0
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class _Rows:
    label: facets.Mask
    label_text: str
    predicted: facets.Mask | None
    failure: str | None
    groups: facets.Codes | None


def bias_report(frame: pl.DataFrame, question: Question) -> dict[str, Any]:
    """The members "pre_training_bias_metrics" and, when predictions are named, "post_training_bias_metrics" of analysis.json.

    frame: rows with the named columns; all others are the flip test's features. Missing labels are negative, missing facets belong to
    the rest, rows without a group are left out of CDDL and CDDPL, as in smclarify. Infinite values are "Infinity" and "-Infinity".
    A metric that cannot be computed has value None and "error"; the others stand. A facet without any value has one entry, "nan" unless a
    value was asked for, with smclarify's errors. Raises ValueError for an unknown column or metric, for an empty table, and when no
    positive label value is given.

    >>> frame = pl.DataFrame({"y": [1, 0, 1, 0], "sex": ["f", "f", "m", "m"]})
    >>> report = bias_report(frame, Question("y", [1, 9], [Facet("sex")], pre_methods=["DPL"]))
    >>> report["pre_training_bias_metrics"]["facets"]["sex"][0]["metrics"][0]["value"]
    0.0
    """
    _check(frame, question)
    rows = _read(frame, question)
    stages = {"pre_training_bias_metrics": _methods(question.pre_methods, bias.PRE_TRAINING)}
    if question.predicted is not None or question.failure is not None:
        stages["post_training_bias_metrics"] = _methods(question.post_methods, [*bias.POST_TRAINING, "FT"])
    tables = [(facet, *held) for facet in question.facets for held in _tables(frame, facet, rows)]
    return {
        stage: {
            "label": question.label,
            "facets": {
                name: [
                    {"value_or_threshold": text, "metrics": _metrics(frame, question, facet, rows, counts, chosen, names)}
                    for facet, text, counts, chosen in tables
                    if facet.column == name
                ]
                for name in dict.fromkeys(facet.column for facet in question.facets)
            },
            "label_value_or_threshold": rows.label_text,
        }
        for stage, names in stages.items()
        if names
    }


def segment_reports(
    frame: pl.DataFrame, question: Question, name: str, segments: Sequence[Sequence[Any]], aliases: Sequence[str] | None = None
) -> Any:
    """The report of each segment of a column: [{"segment": its name, "rows": n, "report": as bias_report | None, "error": text}].

    segments, aliases: see facets.split. A segment whose report fails has its error; the others stand. Raises ValueError as facets.split.

    >>> frame = pl.DataFrame({"y": [1, 0, 1, 0], "sex": ["f", "m", "f", "m"], "age": [20.0, 30.0, 70.0, 80.0]})
    >>> [s["segment"] for s in segment_reports(frame, Question("y", [1, 9], [Facet("sex")]), "age", [["[0, 40]"]])]
    ['[0, 40]', '__default__']
    """
    if name not in frame.columns:
        raise ValueError(f"name: segment column {name} is not present in the dataset")
    found = []
    for segment in facets.split(frame[name], segments, aliases):
        held = {"segment": segment.text, "rows": int(segment.rows.sum())}
        try:
            found.append(held | {"report": bias_report(frame.filter(pl.Series(segment.rows)), question)})
        except ValueError as failure:
            found.append(held | {"report": None, "error": str(failure)})
    return found


def _check(frame: pl.DataFrame, question: Question) -> None:
    if frame.height == 0:
        raise ValueError("frame: there are no rows")
    for facet in question.facets:
        if facet.column not in frame.columns:
            raise ValueError(f"Facet column {facet.column} is not present in the dataset")
    named = {"label": question.label, "predicted": question.predicted, "group": question.group}
    for name, held in named.items():
        if held is not None and held not in frame.columns:
            raise ValueError(f"{name}: column {held} is not present in the dataset")
    if not question.positive:
        raise ValueError(facets.NO_LABEL_VALUES)


def _methods(wanted: Sequence[str] | None, known: Any) -> list[str]:
    names = sorted(known if wanted is None else wanted)
    if not set(names) <= set(known):
        raise ValueError(f"Invalid metric_name: metrics should be one of the registered metrics{list(known)}")
    return names


def _read(frame: pl.DataFrame, question: Question) -> _Rows:
    label = facets.choose(frame[question.label], question.positive)
    groups = None if question.group is None else facets.encode(frame[question.group]).codes
    rows = _Rows(label.rows, label.text, None, question.failure, groups)
    if question.predicted is None:
        return rows
    try:
        return replace(rows, predicted=facets.choose_predicted(frame[question.predicted], frame[question.label], question.positive).rows)
    except ValueError as failure:
        return replace(rows, failure=str(failure))


def _tables(frame: pl.DataFrame, facet: Facet, rows: _Rows) -> list[tuple[str, bias.Counts, facets.Mask]]:
    """(printed value, counts, rows of the value) per value of the facet."""
    column = facets.column(frame[facet.column])
    if column.null_count() == len(column):
        text, nobody = ",".join(map(str, facet.values)) or NO_VALUE, np.zeros(len(column), dtype=bool)
        return [(text, bias.tabulate(nobody, rows.label, rows.predicted, rows.groups), nobody)]
    if facet.values or facets.is_continuous(column):
        if not facet.values:
            raise ValueError(f"facets: {facet.column}: {NO_THRESHOLD}")
        chosen = facets.choose(column, facet.values)
        return [(chosen.text, bias.tabulate(chosen.rows, rows.label, rows.predicted, rows.groups), chosen.rows)]
    coded = facets.encode(column)
    table = bias.tabulate_values(coded.codes, rows.label, rows.predicted, rows.groups, values=len(coded.values))
    return [(str(value), bias.one_against_rest(table, i), coded.codes == i) for i, value in enumerate(coded.values)]


def _metrics(
    frame: pl.DataFrame, question: Question, facet: Facet, rows: _Rows, counts: bias.Counts, chosen: facets.Mask, names: list[str]
) -> list[dict[str, Any]]:
    counted = [name for name in names if name != "FT"]
    found = bias.measure(counts, counted)
    if "FT" in names:
        found.append(_flip_test(frame, question, facet, rows, chosen))
    if rows.failure is not None and not set(names) <= set(bias.PRE_TRAINING):
        return [{"name": m["name"], "description": m["description"], "value": None, "error": rows.failure} for m in sorted(found, key=_name)]
    if question.level is not None:
        bounds = bias.intervals(counts, counted, level=question.level, draws=question.draws, seed=question.seed)
        found = [m | {"confidence_interval": list(held)} if (held := bounds.get(m["name"])) and m["value"] is not None else m for m in found]
    return [m | {"value": _printed(m["value"])} for m in sorted(found, key=_name)]


def _name(metric: dict[str, Any]) -> str:
    return str(metric["name"])


def _printed(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return value
    return "Infinity" if value > 0 else "-Infinity"


def _flip_test(frame: pl.DataFrame, question: Question, facet: Facet, rows: _Rows, chosen: facets.Mask) -> dict[str, Any]:
    named = {"name": "FT", "description": fliptest.DESCRIPTION}
    features = frame.drop([name for name in (facet.column, question.label, question.predicted) if name is not None])
    if rows.predicted is None:
        return named | {"value": None, "error": rows.failure}
    try:
        divided = chosen.any() and not chosen.all()  # where it is not, that is said first
        if divided and not all(kind.is_numeric() or kind == pl.Boolean for kind in features.dtypes):
            raise ValueError(NO_FEATURES)
        table = features.select(pl.all().cast(pl.Float64, strict=False)).to_numpy() if features.width else np.empty((frame.height, 0))
        return named | {"value": fliptest.flip_test(table, chosen, rows.predicted)}
    except ValueError as failure:
        return named | {"value": None, "error": str(failure)}
