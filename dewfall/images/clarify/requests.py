"""Rows → the bodies of requests by content type and templates; the model's answers → scores and labels per row.

text/csv                  1,2,a
application/jsonlines     content_template with $features, one line a row
application/json          content_template with $records (all) or $record (one a request), each made by record_template
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.clarify import config
from dewfall.images.contract import UserError

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Form:
    """How one model wants its rows and answers."""

    content_type: str
    accept: str
    names: tuple[str, ...]  # of the features
    content_template: str = ""
    record_template: str = ""
    label: Any = None  # index or JMESPath
    probability: Any = None
    label_headers: tuple[str, ...] = ()

    @property
    def one_by_one(self) -> bool:
        """Whether a request holds a single row."""
        return self.content_type == config.JSON and "$records" not in self.content_template

    def body(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """A request's body. Raises UserError for a template that does not fit."""
        plain = [[_plain(value) for value in row] for row in rows]
        if self.content_type == config.CSV:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([["" if value is None else value for value in row] for row in plain])
            return text.getvalue().encode()
        if self.content_type == config.JSON_LINES:
            return "\n".join(_filled(self.content_template, {"features": json.dumps(row)}, "$features") for row in plain).encode()
        if self.content_type == config.JSON:
            records = [self._record(row) for row in plain]
            if self.one_by_one:
                return _filled(self.content_template, {"record": records[0]}, "$record").encode()
            return _filled(self.content_template, {"records": "[" + ",".join(records) + "]"}, "$records").encode()
        raise UserError(f"predictor: content_type {self.content_type} is not supported for tabular data.")

    def _record(self, row: list[Any]) -> str:
        template = self.record_template or "$features"
        if "$features_kvp" in template:
            pairs = json.dumps(dict(zip(self.names, row, strict=True)))
            return Template(template).safe_substitute(features_kvp=pairs)
        if "$features" in template:
            return Template(template).safe_substitute(features=json.dumps(row), feature_names=json.dumps(list(self.names)))
        found = template
        for name, value in zip(self.names, row, strict=True):
            found = found.replace(f'"${{{name}}}"', json.dumps(value)).replace(f"${{{name}}}", json.dumps(value))
        if found == template:
            raise UserError('predictor: record_template needs one of $features, $features_kvp or "${feature name}" placeholders.')
        return found


@dataclass(frozen=True, slots=True)
class Answers:
    """scores (n, k), NaN-free, or None where the model gives labels alone; labels: n predicted labels, or None."""

    scores: Numbers | None
    labels: list[Any] | None


def read_answer(form: Form, body: bytes, kind: str, rows: int) -> Answers:
    """The answer to a request of `rows` rows. Raises UserError saying what the answer lacks."""
    kind = (kind or form.accept).split(";")[0].strip().lower()
    text = body.decode("utf-8", "replace")
    if kind in (config.CSV, "text/plain", "text/html"):
        scores, labels = _from_csv(form, text, rows)
    elif kind in (config.JSON_LINES, "application/x-jsonlines", config.JSON):
        scores, labels = _from_json(form, text, lines=kind != config.JSON)
    else:
        raise UserError(f"predictor: the model answered with content type {kind}; text/csv, application/jsonlines and application/json can be read.")
    for what, found in (("probability", scores), ("label", labels)):
        if found is not None and len(found) != rows:
            raise UserError(f"The model returned {len(found)} predictions ({what}) for {rows} records.")
    return Answers(_table(scores), labels)


def join(parts: Sequence[Answers]) -> Answers:
    """The answers of several requests."""
    scores = [part.scores for part in parts if part.scores is not None]
    labels = [label for part in parts if part.labels is not None for label in part.labels]
    if len({score.shape[1] for score in scores}) > 1:
        raise UserError("The model returned different numbers of scores for different records.")
    return Answers(np.concatenate(scores) if scores else None, labels if any(part.labels is not None for part in parts) else None)


def _from_csv(form: Form, text: str, rows: int) -> tuple[list[Any] | None, list[Any] | None]:
    lines = [row for row in csv.reader(io.StringIO(text)) if row]
    if len(lines) != rows and sum(map(len, lines)) == rows:  # 0.1,0.2 for two rows, as some containers answer
        lines = [[value] for line in lines for value in line]
    labels = None if form.label is None else [_cell(line, form.label, "label") for line in lines]
    if form.probability is not None:
        return [_scores(_cell(line, form.probability, "probability")) for line in lines], labels
    return (None if form.label is not None else [_scores(line) for line in lines]), labels


def _cell(line: list[str], place: Any, member: str) -> Any:
    try:
        return _value(line[int(place)])
    except (IndexError, ValueError):
        raise UserError(f"predictor: {member} index {place} is not in the model's answer '{','.join(line)[:100]}'.") from None


def _from_json(form: Form, text: str, *, lines: bool) -> tuple[list[Any] | None, list[Any] | None]:
    try:
        documents = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else [json.loads(text)]
    except ValueError as error:
        raise UserError(f"The model's answer is not valid JSON: {error}: {text[:100]}") from None
    labels = None if form.label is None else _searched(documents, form.label, "label", lines=lines, one_by_one=form.one_by_one)
    if form.probability is not None:
        return [_scores(found) for found in _searched(documents, form.probability, "probability", lines=lines, one_by_one=form.one_by_one)], labels
    if labels is not None:
        return None, labels
    found = documents[0] if not lines and isinstance(documents[0], list) else documents
    return [_scores(one) for one in found], None


def _searched(documents: list[Any], expression: Any, member: str, *, lines: bool, one_by_one: bool) -> list[Any]:
    """Per row what a JMESPath expression finds: in its line, or at its place of the one document's list."""
    import jmespath

    try:
        found = [jmespath.search(str(expression), document) for document in documents]
    except jmespath.exceptions.JMESPathError as error:
        raise UserError(f"predictor: {member} '{expression}' is not a JMESPath expression: {error}") from None
    if not lines and isinstance(found[0], list) and not one_by_one:
        found = found[0]
    if any(one is None for one in found):
        raise UserError(f"predictor: {member} '{expression}' finds nothing in the model's answer {json.dumps(documents[0])[:200]}.")
    return found


def _scores(value: Any) -> list[float]:
    held = value if isinstance(value, list) else [value]
    if isinstance(value, str) and value.strip().startswith("["):
        held = json.loads(value)
    while len(held) == 1 and isinstance(held[0], list):
        held = held[0]
    try:
        return [float(one) for one in held]
    except (TypeError, ValueError):
        raise UserError(f"The model's answer '{str(value)[:100]}' is not a score: set the predictor's probability and label.") from None


def _table(scores: list[list[float]] | None) -> Numbers | None:
    if scores is None:
        return None
    if len({len(row) for row in scores}) > 1:
        raise UserError("The model returned different numbers of scores for different records.")
    table = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(table).all():
        raise UserError("The model returned scores that are not finite.")
    return table


def _filled(template: str, values: dict[str, str], needed: str) -> str:
    if needed not in template:
        raise UserError(f"predictor: content_template must have the placeholder {needed}.")
    return Template(template).safe_substitute(values)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value


def _value(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
