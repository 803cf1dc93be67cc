"""Data sets and captured requests as tables whose values are text: types are judged afterwards, value by value.

A captured record becomes one row of its output's columns and then its input's (output_columns_position START), named _c0, _c1 … where its
data is CSV, and by path where it is JSON.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl

from dewfall.images.contract import UserError
from dewfall.images.monitor import transformed
from dewfall.images.monitor.settings import Settings

BATCH = 100_000  # rows
Row = dict[str, Any]


@dataclass(slots=True)
class Capture:
    """One captured exchange."""

    input: str = ""
    output: str = ""
    input_type: str = ""
    output_type: str = ""
    event: dict[str, Any] = field(default_factory=dict)
    truth: str | None = None
    document: dict[str, Any] = field(default_factory=dict)
    place: str = ""  # its file's folder below the endpoint's: variant and hour

    @property
    def key(self) -> str:
        """What ground truth names it by: the inference id where the caller gave one, else the event id."""
        return str(self.event.get("inferenceId") or self.event.get("eventId") or "")


def batches(settings: Settings, preprocess: Callable[..., Any] | None = None) -> Iterator[pl.DataFrame]:
    """The data set in tables of at most BATCH rows, all columns text. Raises UserError for files that cannot be read."""
    kind = next(iter(settings.format))
    if kind == "sagemakerCaptureJson":
        yield from _gathered(_captured_rows(settings, preprocess))
    elif kind == "csv":
        yield from _csv(settings) if preprocess is None else _gathered(_csv_rows(settings, preprocess))
    elif kind == "json":
        read = _json_rows if (settings.format["json"] or {}).get("lines", True) else _json_documents
        yield from _gathered(row for path in files(settings.source) for row in read(path, preprocess))
    elif kind == "parquet":
        yield from _parquet(settings, preprocess)
    else:
        raise UserError(f"dataset_format '{kind}' is not one of csv, json, parquet, sagemakerCaptureJson.")


def captures(settings: Settings) -> Iterator[Capture]:
    """Captured exchanges of the window, in the order of their files."""
    if settings.is_transformed:
        yield from (found for found in map(read_capture, transformed.exchanges(settings.source, settings.format)) if _is_within(settings, found))
        return
    for path in files(settings.source):
        below = path.parent.relative_to(settings.source).parts if path.is_relative_to(settings.source) and path != settings.source else ()
        place = "/".join(below[1:] if below[:1] == (settings.endpoint,) else below)
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines):
                if not line.strip():
                    continue
                try:
                    found = read_capture(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise UserError(f"Line {number + 1} of {path.name} is no captured record: {error}") from None
                if _is_within(settings, found):
                    found.place = place
                    yield found


def read_capture(document: dict[str, Any]) -> Capture:
    """A line of a capture file, or of merged captures and ground truth."""
    data = document["captureData"]
    one, other = data.get("endpointInput") or {}, data.get("endpointOutput") or data.get("batchTransformOutput") or {}
    truth = document.get("groundTruthData")
    return Capture(
        _text(one),
        _text(other),
        one.get("observedContentType", ""),
        other.get("observedContentType", ""),
        document.get("eventMetadata", {}),
        None if truth is None else _text(truth),
        document,
    )


def files(folder: Path) -> list[Path]:
    """The data files below a folder, in order of path; a file itself."""
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))


def flatten(text: str, kind: str, start: int = 0) -> list[Row]:
    """Data as rows: CSV cells by place from `start`, JSON leaves by path (`a.b`, `a_0`)."""
    if "json" in kind.lower():
        documents = [json.loads(line) for line in text.splitlines() if line.strip()] if "lines" in kind.lower() else [json.loads(text)]
        return [dict(_leaves(document)) for document in documents]
    cells = [row for row in csv.reader(io.StringIO(text)) if row]
    return [{f"_c{start + i}": value for i, value in enumerate(row)} for row in cells]


def column(names: Sequence[str], wanted: str, what: str) -> str:
    """The column that an attribute names, or counts from 0. Raises UserError with the attribute's name and the columns that there are."""
    if wanted in names:
        return wanted
    if wanted.isdigit() and int(wanted) < len(names):
        return names[int(wanted)]
    raise UserError(f"{what}: the column '{wanted}' is not in the data set. Its columns are {', '.join(names[:30])}.")


def whole(table: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """These columns in this order; those that the table lacks are missing in every row."""
    missing = [pl.lit(None, dtype=pl.String).alias(name) for name in columns if name not in table.columns]
    return table.with_columns(missing).select(columns) if missing else table.select(columns)


def inference_record(capture: Capture) -> Any:
    """What a preprocessing script is given: .endpoint_input.data, .endpoint_output.data, .event_metadata."""

    def side(data: str, kind: str) -> Any:
        return SimpleNamespace(data=data, encoding=_encoding(kind), observed_content_type=kind)

    event = SimpleNamespace(
        event_id=capture.event.get("eventId"), inference_id=capture.event.get("inferenceId"), inference_time=capture.event.get("inferenceTime")
    )
    return SimpleNamespace(
        endpoint_input=side(capture.input, capture.input_type),
        endpoint_output=side(capture.output, capture.output_type),
        event_metadata=event,
        event_version=capture.document.get("eventVersion", "0"),
    )


def _captured_rows(settings: Settings, preprocess: Callable[..., Any] | None) -> Iterator[Row]:
    sides = settings.format["sagemakerCaptureJson"].get("captureIndexNames") or ["endpointInput", "endpointOutput"]
    for capture in captures(settings):
        if preprocess is not None:
            yield from as_rows(preprocess(inference_record(capture)))
        else:
            yield from _exchange(capture, sides)


def _exchange(capture: Capture, sides: Sequence[str]) -> list[Row]:
    try:
        outputs = flatten(capture.output, capture.output_type) if "endpointOutput" in sides and capture.output else []
        width = len(outputs[0]) if outputs and "json" not in capture.output_type.lower() else 0
        inputs = flatten(capture.input, capture.input_type, width) if "endpointInput" in sides and capture.input else []
    except ValueError as error:
        raise UserError(f"A captured record cannot be read: {error}") from None
    if not outputs or not inputs:
        return outputs or inputs
    if len(outputs) != len(inputs):
        inputs = inputs[:1] * len(outputs) if len(inputs) == 1 else inputs
        outputs = outputs[:1] * len(inputs) if len(outputs) == 1 else outputs
    return [{**one, **other} for one, other in zip(outputs, inputs, strict=False)]


def as_rows(answer: Any) -> list[Row]:
    """What a preprocessing script returns: a row, a list of rows or of values, or nothing."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [answer]
    if isinstance(answer, list) and all(isinstance(one, dict) for one in answer):
        return answer
    if isinstance(answer, list):
        return [{f"_c{i}": value for i, value in enumerate(answer)}]
    raise UserError(f"preprocess_handler returned a {type(answer).__name__}; a dict or a list of dicts is expected.")


def _csv(settings: Settings) -> Iterator[pl.DataFrame]:
    header = bool((settings.format["csv"] or {}).get("header", True))
    names: list[str] | None = None
    for path in files(settings.source):
        if not path.stat().st_size:
            continue
        try:
            lazy = pl.scan_csv(path, has_header=header, infer_schema=False)
            held = lazy.collect_schema().names()
            names = names or (held if header else [f"_c{i}" for i in range(len(held))])
            if len(held) != len(names):
                raise UserError(f"The file {path.name} has {len(held)} columns, files before it have {len(names)}.")
            for frame in lazy.collect_batches(chunk_size=BATCH):
                yield frame.rename(dict(zip(held, names, strict=True)))
        except pl.exceptions.PolarsError as error:
            raise UserError(f"The file {path.name} cannot be read as CSV: {str(error).splitlines()[0]}") from None


def _csv_rows(settings: Settings, preprocess: Callable[..., Any]) -> Iterator[Row]:
    """Rows that a script makes of a CSV file's lines; it is given each as text, without the header."""
    header = bool((settings.format["csv"] or {}).get("header", True))
    for path in files(settings.source):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines):
                if line.strip() and not (header and number == 0):
                    yield from as_rows(preprocess(line.rstrip("\r\n")))


def _parquet(settings: Settings, preprocess: Callable[..., Any] | None) -> Iterator[pl.DataFrame]:
    for path in files(settings.source):
        try:
            table = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(f"The file {path.name} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
        if preprocess is None:
            yield from table.iter_slices(BATCH)
        else:
            yield from _gathered(row for given in table.iter_rows(named=True) for row in as_rows(preprocess(given)))


def _json_documents(path: Path, preprocess: Callable[..., Any] | None) -> Iterator[Row]:
    """Rows of a file that is one JSON document: a list of records, an object with such a list, or one record."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"The file {path.name} is not valid JSON: {error}") from None
    if isinstance(found, dict) and len(found) == 1 and isinstance(next(iter(found.values())), list):
        found = next(iter(found.values()))
    for record in found if isinstance(found, list) else [found]:
        yield from as_rows(preprocess(record)) if preprocess is not None else [dict(_leaves(record))]


def _json_rows(path: Path, preprocess: Callable[..., Any] | None) -> Iterator[Row]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                document = json.loads(line)
            except ValueError as error:
                raise UserError(f"Line {number + 1} of {path.name} is not valid JSON: {error}") from None
            yield from as_rows(preprocess(document)) if preprocess is not None else [dict(_leaves(document))]


def _gathered(rows: Iterator[Row]) -> Iterator[pl.DataFrame]:
    held: list[Row] = []
    names: list[str] = []
    for row in rows:
        names += [name for name in row if name not in names]
        held.append(row)
        if len(held) >= BATCH:
            yield _table(held, names)
            held = []
    if held:
        yield _table(held, names)


def _table(rows: list[Row], names: list[str]) -> pl.DataFrame:
    return pl.DataFrame({name: [_cell(row.get(name)) for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String))


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from _leaves(one, f"{path}_{place}" if path else f"_c{place}")
    else:
        yield path or "_c0", value


def _text(side: dict[str, Any]) -> str:
    data = side.get("data", "")
    if not isinstance(data, str):
        return json.dumps(data)
    return base64.b64decode(data).decode("utf-8", "replace") if side.get("encoding") == "BASE64" else data


def _encoding(kind: str) -> str:
    return "JSON" if "json" in kind.lower() else "CSV" if "csv" in kind.lower() else "BASE64"


def _is_within(settings: Settings, capture: Capture) -> bool:
    text = capture.event.get("inferenceTime")
    if not text or (settings.start is None and settings.end is None):
        return True
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        raise UserError(f"A captured record cannot be read: its inferenceTime {text!r} is no ISO 8601 time.") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return (settings.start is None or at >= settings.start) and (settings.end is None or at < settings.end)
