"""What goes in and out of the model, taken apart per record: features of a request, documents of an answer, rows of the baseline."""

from __future__ import annotations

import ast
import csv
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.clarify.config import CSV, JSON_LINES
from dewfall.images.clarify.requests import Form, read_answer
from dewfall.images.contract import UserError

KINDS = {CSV: CSV, JSON_LINES: JSON_LINES, "application/x-jsonlines": JSON_LINES}


@dataclass(frozen=True, slots=True)
class Inference:
    """InferenceConfig, by our names."""

    features: str = ""  # JMESPath
    template: str = ""
    most_records: int = 0  # of a request; 0 = as many as the model takes
    payload: int = 6 * 1024 * 1024
    probability_index: int | None = None
    label_index: int | None = None
    probability: str = ""
    label: str = ""
    label_headers: tuple[str, ...] = ()
    feature_headers: tuple[str, ...] = ()
    feature_types: tuple[str, ...] = ()


def read_inference(config: dict[str, Any]) -> Inference:
    """From the AWS document."""
    return Inference(
        config.get("FeaturesAttribute") or "",
        config.get("ContentTemplate") or "",
        int(config.get("MaxRecordCount") or 0),
        int(config.get("MaxPayloadInMB") or 6) * 1024 * 1024,
        config.get("ProbabilityIndex"),
        config.get("LabelIndex"),
        config.get("ProbabilityAttribute") or "",
        config.get("LabelAttribute") or "",
        tuple(config.get("LabelHeaders") or ()),
        tuple(config.get("FeatureHeaders") or ()),
        tuple(config.get("FeatureTypes") or ()),
    )


def kind_of(content_type: str, what: str) -> str:
    """The media type, one of those that can be explained. Raises UserError."""
    found = KINDS.get(content_type.split(";")[0].strip().lower())
    if found is None:
        raise UserError(f"{what} '{content_type}' is not supported for explanations. Use text/csv or application/jsonlines.")
    return found


def read_features(text: str, kind: str, inference: Inference) -> list[list[Any]]:
    """The features of each record of a request or a baseline. Raises UserError."""
    if kind == CSV:
        return [[_value(cell) for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    found = []
    for line in text.splitlines():
        if line.strip():
            found.append(_json_features(line, inference.features))
    return found


def as_table(rows: list[list[Any]], what: str) -> NDArray[Any]:
    """(n, d): floats where all are numbers, else objects. Raises UserError where the rows differ in length."""
    if not rows or not rows[0]:
        raise UserError(f"{what} has no records.")
    sizes = sorted({len(row) for row in rows})
    if len(sizes) > 1:
        raise UserError(f"{what} has records of different numbers of features: {sizes[0]} and {sizes[-1]}.")
    if all(isinstance(value, (int, float)) for row in rows for value in row):
        return np.array(rows, dtype=np.float64)
    table = np.empty((len(rows), len(rows[0])), dtype=object)
    table[:] = rows
    return table


def make_form(inference: Inference, kind: str, accept: str, features: int) -> Form:
    """How the model wants its rows, and where its scores are."""
    is_csv = accept == CSV
    if kind == JSON_LINES and not inference.template:
        raise UserError("ContentTemplate is required in InferenceConfig for a model container that takes application/jsonlines.")
    return Form(
        kind,
        accept,
        tuple(map(str, range(features))),
        inference.template,
        probability=inference.probability_index if is_csv else inference.probability or None,
    )


def scores(form: Form, body: bytes, content_type: str, rows: int) -> NDArray[np.float64]:
    """(n, k). Raises UserError saying what the answer lacks."""
    found = read_answer(form, body, content_type, rows).scores
    assert found is not None
    return found


def documents(body: bytes, content_type: str, rows: int) -> list[Any]:
    """The model's answer per record, as EnableExplanations sees it: an array for CSV, an object for JSON Lines."""
    text = body.decode("utf-8", "replace")
    if kind_of(content_type or CSV, "The model container's content type") == CSV:
        lines: list[Any] = [[_value(cell) for cell in row] for row in csv.reader(io.StringIO(text)) if row]
        if len(lines) != rows and sum(map(len, lines)) == rows:
            lines = [[value] for line in lines for value in line]
    else:
        try:
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise UserError(f"The model's answer is not valid JSON Lines: {error}") from None
    if len(lines) != rows:
        raise UserError(f"The model returned {len(lines)} predictions for {rows} records.")
    return lines


def labels_of(inference: Inference, document: Any, outputs: int) -> list[str] | None:
    """The names of the model's scores: configured, else found in its answer; None where neither fits."""
    if inference.label_headers:
        return list(inference.label_headers) if len(inference.label_headers) == outputs else None
    found: Any = None
    if isinstance(document, list) and inference.label_index is not None and inference.label_index < len(document):
        found = _listed(document[inference.label_index])
    elif isinstance(document, dict) and inference.label:
        import jmespath

        found = jmespath.search(inference.label, document)
    named = found if isinstance(found, list) else [found]
    return [str(name) for name in named] if found is not None and len(named) == outputs else None


def _listed(value: Any) -> Any:
    """A list that a CSV cell holds as text, with either kind of quotes."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            return ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            return value
    return value


def _json_features(line: str, expression: str) -> list[Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise UserError(f"A record is not valid JSON: {error}: {line[:100]}") from None
    found = record
    if expression:
        import jmespath

        found = jmespath.search(expression, record)
    elif isinstance(record, dict):
        found = record.get("features")
    if not isinstance(found, list):
        raise UserError(f"FeaturesAttribute finds no list of features in the record {line[:100]}.")
    return found


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
