"""The dataset in any of its formats as one table: features, label, predicted label, facets, join key, with a name for every column."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dewfall.images.clarify import config
from dewfall.images.clarify.config import Analysis
from dewfall.images.contract import UserError

if TYPE_CHECKING:
    import polars as pl

PREDICTED = "predicted_label"
SCAN_ROWS = 10_000  # from which a column's type is read


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table and what its columns are. features: columns that the model gets, in their order."""

    frame: pl.DataFrame
    features: tuple[str, ...]
    label: str | None = None
    predicted: str | None = None
    join: str | None = None


def load(analysis: Analysis, folder: Path, fetch: Any) -> Dataset:
    """The dataset of a job; `fetch(uri)` gives the bodies of an S3 location, by key. Raises UserError naming what does not fit."""
    bodies = fetch(analysis.document["dataset_uri"]) if analysis.get("dataset_uri") else [(p.name, p.read_bytes()) for p in _files(folder)]
    if not bodies:
        raise UserError("The dataset has no files: check the S3 location of the input 'dataset' (or dataset_uri).")
    frame = read_bodies(analysis, bodies)
    frame = _beside(analysis, frame, fetch, "facet_dataset_uri", "facet_headers")
    frame = _beside(analysis, frame, fetch, "predicted_label_dataset_uri", "predicted_label_headers")
    if not frame.height:
        raise UserError("The dataset has no rows.")
    return arrange(analysis, frame)


def arrange(analysis: Analysis, frame: pl.DataFrame) -> Dataset:
    """Tell the columns apart. Raises UserError for a column that is not there."""
    label = column(frame, analysis.get("label"), "label") if _is_tabular(analysis) else _named(frame, _name_of(analysis, 0, "label"))
    predicted = None
    if analysis.get("predicted_label") is not None:
        predicted = column(frame, analysis.get("predicted_label"), "predicted_label") if _is_tabular(analysis) else _named(frame, PREDICTED)
    elif analysis.get("predicted_label_dataset_uri"):
        predicted = column(frame, (analysis.get("predicted_label_headers") or [PREDICTED])[0], "predicted_label_headers")
    join = column(frame, analysis.get("joinsource_name_or_index"), "joinsource_name_or_index")
    excluded = {column(frame, one, "excluded_columns") for one in analysis.get("excluded_columns", ())}
    beside = set(analysis.get("facet_headers", ())) if analysis.get("facet_dataset_uri") else set()
    features = tuple(name for name in frame.columns if name not in {label, predicted, join, *excluded, *beside})
    return Dataset(frame, features, label, predicted, join)


def column(frame: pl.DataFrame, asked: Any, member: str) -> str | None:
    """A column by name or index; None where none is asked for. Raises UserError naming the member."""
    if asked is None:
        return None
    if isinstance(asked, int) and not isinstance(asked, bool):
        if not 0 <= asked < frame.width:
            raise UserError(f"{member}: the dataset has no column {asked}; it has {frame.width}.")
        return frame.columns[asked]
    if str(asked) not in frame.columns:
        raise UserError(f"{member}: the column '{asked}' is not present in the dataset. Its columns are {', '.join(frame.columns[:30])}.")
    return str(asked)


def read_bodies(analysis: Analysis, bodies: Sequence[tuple[str, bytes]]) -> pl.DataFrame:
    """All files as one table."""
    import polars as pl

    if analysis.kind == config.CSV:
        frames = [read_csv(body, analysis.get("headers"), name) for name, body in bodies if body.strip()]
    elif analysis.kind == config.PARQUET:
        frames = [_renamed(_read_parquet(body, name), analysis.get("headers"), name) for name, body in bodies]
    elif analysis.kind in (config.JSON_LINES, config.JSON):
        frames = [_read_json(analysis, body, name) for name, body in bodies if body.strip()]
    else:
        raise UserError(f"dataset_type {analysis.kind} cannot be read as a table.")
    if not frames:
        raise UserError("The dataset has no rows.")
    widths = {frame.width for frame in frames}
    if len(widths) > 1:
        raise UserError(f"The dataset's files have different numbers of columns: {', '.join(map(str, sorted(widths)))}.")
    names = frames[0].columns
    return pl.concat([frame.rename(dict(zip(frame.columns, names, strict=True))) for frame in frames], how="vertical_relaxed")


def read_csv(body: bytes, headers: Sequence[str] | None, name: str) -> pl.DataFrame:
    """A CSV body; its first row is a header where it says the given headers, or where none are given and it looks like one."""
    import polars as pl

    options: dict[str, Any] = {"infer_schema_length": SCAN_ROWS, "truncate_ragged_lines": False}
    try:
        first = pl.read_csv(io.BytesIO(body), has_header=False, n_rows=1, infer_schema_length=0).row(0)
        has_header = list(first) == list(headers) if headers else _is_header(first)
        frame = pl.read_csv(io.BytesIO(body), has_header=has_header, **options)
    except pl.exceptions.ComputeError as error:
        try:
            frame = pl.read_csv(io.BytesIO(body), has_header=has_header, infer_schema_length=None)
        except (pl.exceptions.ComputeError, UnboundLocalError):
            raise UserError(f"The file {name} cannot be read as CSV: {str(error).splitlines()[0]}") from None
    except pl.exceptions.NoDataError:
        raise UserError(f"The file {name} is empty.") from None
    except OSError as error:  # compressed, and broken
        raise UserError(f"The file {name} cannot be read as CSV: {error}") from None
    return _renamed(frame, headers, name) if headers or has_header else frame.rename({old: f"column_{i}" for i, old in enumerate(frame.columns)})


def _read_parquet(body: bytes, name: str) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(io.BytesIO(body))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"The file {name} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _is_header(first: Sequence[Any]) -> bool:
    """No cell is a number or empty, and none is there twice."""
    return len(set(first)) == len(first) and not any(cell is None or not str(cell).strip() or _is_number(str(cell)) for cell in first)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _renamed(frame: pl.DataFrame, headers: Sequence[str] | None, name: str) -> pl.DataFrame:
    if not headers:
        return frame
    if len(headers) != frame.width:
        raise UserError(f"headers: {len(headers)} names are given, but the file {name} has {frame.width} columns.")
    return frame.rename(dict(zip(frame.columns, map(str, headers), strict=True)))


def _read_json(analysis: Analysis, body: bytes, name: str) -> pl.DataFrame:
    """Features, label and predicted label found by JMESPath: in each line, or in the whole document."""
    try:
        if analysis.kind == config.JSON_LINES:
            records = [json.loads(line) for line in body.splitlines() if line.strip()]
        else:
            records = [json.loads(body)]
    except ValueError as error:
        raise UserError(f"The file {name} is not valid JSON: {error}") from None
    parts = {member: _found(analysis, member, records, name) for member in ("features", "label", "predicted_label")}
    rows = parts["features"]
    if rows is None or not all(isinstance(row, list) for row in rows):
        raise UserError(f"features: the expression '{analysis.get('features')}' must give a list of values for each record of {name}.")
    if len({len(row) for row in rows}) > 1:
        raise UserError(f"features: the records of {name} have different numbers of features.")
    columns = [list(values) for values in zip(*rows, strict=True)] if rows else []
    names = [_name_of_feature(analysis, i) for i in range(len(columns))]
    for member, title in (("label", _name_of(analysis, 0, "label")), ("predicted_label", PREDICTED)):
        values = parts[member]
        if values is not None:
            columns.append([value[0] if isinstance(value, list) and len(value) == 1 else value for value in values])
            names.append(title)
    return _frame(names, columns, name)


def _found(analysis: Analysis, member: str, records: list[Any], name: str) -> list[Any] | None:
    import jmespath

    expression = analysis.get(member)
    if expression is None:
        return None
    try:
        found = [jmespath.search(str(expression), record) for record in records]
    except jmespath.exceptions.JMESPathError as error:
        raise UserError(f"{member}: '{expression}' is not a JMESPath expression: {error}") from None
    if analysis.kind == config.JSON:
        found = found[0] if isinstance(found[0], list) else [None]
    if any(value is None for value in found):
        raise UserError(f"{member}: the expression '{expression}' finds nothing in the file {name}.")
    return found


def _frame(names: list[str], columns: list[list[Any]], name: str) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.DataFrame({title: pl.Series(title, values, strict=False) for title, values in zip(names, columns, strict=True)})
    except (TypeError, ValueError) as error:
        raise UserError(f"The records of {name} cannot be put into a table: {error}") from None


def _name_of_feature(analysis: Analysis, index: int) -> str:
    return _name_of(analysis, None, f"column_{index}", index)


def _name_of(analysis: Analysis, after: int | None, default: str, index: int = -1) -> str:
    """Headers of JSON datasets: the features' names, then the label's, then the predicted label's."""
    headers = analysis.get("headers") or []
    if after is None:
        return str(headers[index]) if index < len(headers) else default
    extra = sum(analysis.get(member) is not None for member in ("label", "predicted_label"))
    place = len(headers) - extra + after
    return str(headers[place]) if extra and 0 <= place < len(headers) else default


def _beside(analysis: Analysis, frame: pl.DataFrame, fetch: Any, uri: str, headers: str) -> pl.DataFrame:
    """A second file with as many rows, its columns put beside."""
    import polars as pl

    if not analysis.get(uri):
        return frame
    names = analysis.get(headers)
    parts = [read_csv(body, names, name) for name, body in fetch(analysis.document[uri])]
    other = pl.concat(parts, how="vertical_relaxed") if parts else pl.DataFrame()
    if other.height != frame.height:
        raise UserError(f"{uri}: it has {other.height} rows, but the dataset has {frame.height}.")
    if names is None and uri == "predicted_label_dataset_uri" and other.width == 1:
        other = other.rename({other.columns[0]: PREDICTED})
    return frame.hstack(other.rename({name: f"{name}_1" for name in other.columns if name in frame.columns}))


def _named(frame: pl.DataFrame, name: str) -> str | None:
    return name if name in frame.columns else None


def _is_tabular(analysis: Analysis) -> bool:
    return analysis.kind in (config.CSV, config.PARQUET)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))
