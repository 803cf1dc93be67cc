"""DataProcessing: which part of a record is sent, how an answer is joined to its record, which part of that is kept.

A CSV row is an array to a filter, as AWS has it. The steps of a path are those of rules/json_filters.py.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
KINDS = (CSV, JSON, JSON_LINES)
Steps = list[list[Any]]


class BadRecord(ValueError):
    """A record or an answer is not what its content type says, or a filter finds nothing in it."""


@dataclass(frozen=True, slots=True)
class Processing:
    """What a job's DataProcessing asks for. `kind` of the input, `accept` of the output: CSV, JSON, JSON_LINES or another.

    `stamp`: the time that is written beside an inference id of each record; empty where none is asked for.
    """

    kind: str
    accept: str
    input_steps: Steps
    output_steps: Steps
    join: bool
    stamp: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether answers are kept as they come."""
        return not self.join and not self.output_steps and not self.stamp

    def outgoing(self, record: bytes) -> bytes:
        """What is sent of a record."""
        if not self.input_steps:
            return record
        return _text(pick(_value(record, self.kind), self.input_steps), self.kind)

    def answer(self, answer: bytes, originals: list[bytes], content_type: str) -> bytes:
        """What is written of the answer to these records, given as they were before filtering."""
        if self.is_plain:
            return answer
        kind = self._kind_of_answer(content_type)
        one = kind == JSON and (len(originals) == 1 or _is_one(answer))
        answers = [answer] if one else [line.rstrip(b"\r") for line in answer.split(b"\n") if line.strip()]
        if self.join and len(answers) != len(originals):
            raise BadRecord(
                f"The number of records in the output ({len(answers)}) is not that of the input ({len(originals)}), so they cannot be joined"
            )
        joined = [self._joined(original, one, kind) for original, one in zip(originals, answers, strict=True)] if self.join else answers
        kept = [_text(pick(_value(record, kind), self.output_steps), kind) for record in joined] if self.output_steps else joined
        if self.stamp:
            kept = [self._stamped(record, kind) for record in kept]
        return b"\n".join(kept) + (b"\n" if answer.endswith(b"\n") else b"")

    def _kind_of_answer(self, content_type: str) -> str:
        """What was asked for, else what the container says if that is a kind we know, else what was sent."""
        kinds = [header.split(";")[0].strip().lower() for header in (self.accept, content_type)]
        return next((kind for kind in kinds if kind in KINDS), self.kind)

    def _joined(self, original: bytes, answer: bytes, kind: str) -> bytes:
        if kind == CSV:
            return original + b"," + answer
        given, told = _value(original, self.kind), _value(answer, kind)
        if isinstance(given, dict):
            return _text({**given, "SageMakerOutput": told}, kind)
        return _text({"SageMakerInput": given, "SageMakerOutput": told}, kind)

    def _stamped(self, record: bytes, kind: str) -> bytes:
        """With an inference id and the job's start, as the last columns or members."""
        inference = str(uuid.uuid4())
        if kind == CSV:
            return record + f",{inference},{self.stamp}".encode()
        value = _value(record, kind)
        members = value if isinstance(value, dict) else {"SageMakerOutput": value}
        return _text({**members, "SageMakerInferenceId": inference, "SageMakerInferenceTime": self.stamp}, kind)


def _is_one(answer: bytes) -> bool:
    """Whether the answer is one JSON document, not one per line."""
    try:
        json.loads(answer)
    except ValueError:
        return False
    return True


def pick(value: Any, steps: Steps) -> Any:
    """The part of a value that a path names. Steps after one that picks several go on within each of them."""
    if not steps:
        return value
    (kind, *what), rest = steps[0], steps[1:]
    found = PICKERS[kind](value, *what)
    if not rest or (kind == "names" and len(what[0]) == 1) or (kind == "indexes" and len(what[0]) == 1):
        return pick(found, rest)
    return {name: pick(one, rest) for name, one in found.items()} if isinstance(found, dict) else [pick(one, rest) for one in found]


def _names(value: Any, names: list[str]) -> Any:
    if not isinstance(value, dict):
        raise BadRecord(f"The filter names {names}, but the record is no JSON object")
    if len(names) > 1:
        return {name: value[name] for name in names if name in value}
    if names[0] not in value:
        raise BadRecord(f"The record has no {names[0]!r}")
    return value[names[0]]


def _indexes(value: Any, places: list[int]) -> Any:
    if not isinstance(value, list):
        raise BadRecord("The filter has an index, but the record is no array")
    try:
        return value[places[0]] if len(places) == 1 else [value[place] for place in places]
    except IndexError:
        raise BadRecord(f"The filter's index is beyond the record's {len(value)} values") from None


def _slice(value: Any, start: int | None, end: int | None) -> Any:
    if not isinstance(value, list):
        raise BadRecord("The filter has a slice, but the record is no array")
    return value[start:end]


def _all(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list):
        return value
    raise BadRecord("The filter has *, but the record is neither object nor array")


PICKERS: dict[str, Callable[..., Any]] = {"names": _names, "indexes": _indexes, "slice": _slice, "all": _all}


def _value(record: bytes, kind: str) -> Any:
    text = record.decode("utf-8", "surrogateescape")
    if kind == CSV:
        return next(csv.reader([text]), []) if '"' in text else text.split(",")
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRecord(f"The record is not JSON: {error}") from None


def _text(value: Any, kind: str) -> bytes:
    if kind != CSV:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
    values = value if isinstance(value, list) else [value]
    plain = ",".join(values)
    if '"' not in plain and plain.count(",") == len(values) - 1:
        return plain.encode("utf-8", "surrogateescape")
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(values)
    return row.getvalue().encode("utf-8", "surrogateescape")
