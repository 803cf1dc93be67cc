"""XGBoost's training data: CSV, libsvm, Parquet and RecordIO-protobuf files of a channel, read as its container reads them.

Apart from the other algorithms' reading, because delimiters are guessed, libsvm lines carry weights and query groups, and messages differ.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.contract import Channel, UserError
from dewfall.images.formats import media_type, read_number_table

Numbers = NDArray[np.float32]
NAMES = {
    "csv": "csv",
    "text/csv": "csv",
    "libsvm": "libsvm",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "parquet": "parquet",
    "application/x-parquet": "parquet",
    "recordio-protobuf": "recordio-protobuf",
    "application/x-recordio-protobuf": "recordio-protobuf",
}


@dataclass(frozen=True, slots=True)
class Table:
    """features: (n, d) float32, a NumPy array or, from sparse files, a scipy CSR matrix; labels, weights: (n,) or None."""

    features: Any
    labels: Numbers | None = None
    weights: Numbers | None = None
    groups: NDArray[np.int64] | None = None

    @property
    def rows(self) -> int:
        return int(self.features.shape[0])

    def taken(self, rows: NDArray[Any]) -> "Table":
        """Some of the rows."""
        return Table(self.features[rows], *(None if part is None else part[rows] for part in (self.labels, self.weights, self.groups)))

    def joined(self, other: "Table") -> "Table":
        """These rows, then the other's."""
        pairs = ((self.labels, other.labels), (self.weights, other.weights), (self.groups, other.groups))
        rest = [None if one is None or two is None else np.concatenate([one, two]) for one, two in pairs]
        return Table(_joined([self.features, other.features]), *rest)


def content_kind(content_type: str) -> str:
    """The container's short name of a content type; libsvm when none is given. UserError for what it does not accept."""
    if not content_type:
        return "libsvm"
    name, options = media_type(content_type)
    if NAMES.get(name) == "csv" and options.get("label_size", "1") != "1":
        raise UserError(f"{content_type} is not an accepted csv ContentType. Optional parameter label_size must be equal to 1")
    if name not in NAMES:
        raise UserError(f"{content_type} is not an accepted ContentType: {', '.join(NAMES)}.")
    return NAMES[name]


def read(channel: Channel, *, weighted: bool) -> Table | None:
    """What a channel holds by its content type; None when it holds no rows."""
    kind = content_kind(channel.content_type)
    if channel.input_mode == "Pipe" and kind == "libsvm":
        raise UserError("Pipe mode not supported for LibSVM.")
    files = pieces(channel)
    if kind == "csv":
        return read_csv(files, weighted=weighted)
    return {"libsvm": read_libsvm, "parquet": read_parquet, "recordio-protobuf": read_recordio}[kind](files)


def pieces(channel: Channel) -> Iterator[tuple[str, bytes]]:
    """The channel's files by name; a pipe is one piece, unless each file was wrapped."""
    if channel.input_mode == "Pipe":
        framed = content_kind(channel.content_type) == "recordio-protobuf"
        yield from ((f"{channel.name}_0", body) for body in channel.bodies(framed=framed))
        return
    for path in channel.files():
        yield path.name, path.read_bytes()


def read_csv(files: Iterable[tuple[str, bytes]], *, weighted: bool = False) -> Table | None:
    """Rows without a header: label, weight if `weighted`, features; an empty cell is missing (NaN)."""
    parts = [_read_csv_file(name, body) for name, body in files if body.strip()]
    if not parts:
        return None
    table = _stacked(parts)
    first = 1 + int(weighted)
    if table.shape[1] <= first:
        raise UserError(f"Failed to load csv data with exception:\n{table.shape[1]} columns hold no features")
    return Table(table[:, first:], table[:, 0].copy(), table[:, 1].copy() if weighted else None)


def _read_csv_file(name: str, body: bytes) -> Numbers:
    line = body.lstrip(b"\r\n").split(b"\n", 1)[0].decode(errors="replace").rstrip("\r")
    delimiter = find_delimiter(line)
    _refuse_header(line, delimiter, name)
    quick = read_number_table(body, delimiter, np.float32)
    if quick is not None:
        return quick
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    columns = [f"f{i}" for i in range(len(next(csv.reader([line], delimiter=delimiter))))]
    try:
        found = arrow_csv.read_csv(
            pa.BufferReader(body),
            read_options=arrow_csv.ReadOptions(column_names=columns),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.float64()), null_values=["", "NA", "NaN", "nan", "null", "NULL", "?"]
            ),
        )
    except pa.ArrowInvalid as error:
        raise UserError(f"Failed to load csv data with exception:\n{error}")
    return np.column_stack([column.to_numpy().astype(np.float32) for column in found.columns])


def find_delimiter(line: str) -> str:
    """The delimiter a line of numbers is written with; a comma when there is only one value."""
    return next((mark for mark in (",", ";", "\t", "|", " ") if mark in line.strip()), ",")


def _refuse_header(line: str, delimiter: str, name: str) -> None:
    for cell in line.split(delimiter):
        text = cell.strip().strip('"')
        if text in ("", "NA", "NULL", "null", "?"):
            continue
        try:
            float(text)
        except ValueError:
            raise UserError(
                f"Non-numeric value '{text}' found in the header line '{line[:50]}...' of file '{name}'. CSV format require no header line in it. "
                "If header line is already removed, XGBoost does not accept non-numeric value in the data."
            )


def _stacked(parts: list[Numbers]) -> Numbers:
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise UserError(f"Failed to load csv data with exception:\nfiles have different numbers of columns: {sorted(widths)}")
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def read_parquet(files: Iterable[tuple[str, bytes]]) -> Table | None:
    """The first column is the label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        read = [pq.ParquetFile(pa.BufferReader(body)).read() for _, body in files]
        parts = [np.column_stack([column.to_numpy().astype(np.float32) for column in table.columns]) for table in read if table.num_rows]
    except (pa.ArrowException, OSError, TypeError, ValueError) as error:
        raise UserError(f"Failed to load parquet data with exception:\n{error}")
    if not parts:
        return None
    table = _stacked(parts)
    return Table(np.ascontiguousarray(table[:, 1:]), table[:, 0].copy())


def read_libsvm(files: Iterable[tuple[str, bytes]]) -> Table | None:
    """Lines `label[:weight] [qid:n] index:value …`, indices as they stand, what is not named is missing."""
    from scipy.sparse import csr_matrix

    values: list[float] = []
    columns: list[int] = []
    groups: list[int] = []
    labels: list[float] = []
    weights: list[float] = []
    ends = [0]
    for name, line in _lines(files):
        head, *pairs = line.split()
        label, _, weight = head.partition(":")
        try:
            labels.append(float(label))
            weights.append(float(weight) if weight else 1.0)
            for pair in pairs:
                index, _, value = pair.partition(":")
                if index == "qid":
                    groups.append(int(value))
                    continue
                columns.append(_place(index))
                values.append(float(value))
        except ValueError:
            raise UserError(f"First line '{line[:50]}...' of file '{name}' is not 'LIBSVM' format. Please ensure the file is in 'LIBSVM' format.")
        ends.append(len(columns))
    if not labels:
        return None
    features = csr_matrix((np.array(values, dtype=np.float32), np.array(columns, dtype=np.int64), np.array(ends)))
    return Table(
        features,
        np.array(labels, dtype=np.float32),
        np.array(weights, dtype=np.float32) if any(weight != 1.0 for weight in weights) else None,
        np.array(groups) if len(groups) == len(labels) else None,
    )


def _place(index: str) -> int:
    place = int(index)
    if not 0 <= place < 2**31:
        raise ValueError(index)
    return place


def _lines(files: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
    for name, body in files:
        for line in body.decode("utf-8", "replace").splitlines():
            text = line.partition("#")[0].strip()
            if text:
                yield name, text


def read_recordio(files: Iterable[tuple[str, bytes]]) -> Table | None:
    """RecordIO-protobuf: the features "values" (dense or sparse) and the label "values" when every record has one."""
    from dewfall.images import recordio

    try:
        parts = [recordio.read_matrix(body) for _, body in files if body]
    except recordio.RecordError as error:
        raise UserError(f"Failed to load recordio-protobuf data with exception:\n{error}")
    if not parts:
        return None
    labels = [part.labels for part in parts if part.labels is not None]
    joined = _joined([part.features for part in parts]).astype(np.float32)
    return Table(joined, np.concatenate(labels).astype(np.float32) if len(labels) == len(parts) else None)


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    from scipy.sparse import csr_matrix, vstack

    width = max(part.shape[1] for part in parts)
    sparse = [csr_matrix(part) for part in parts]
    return vstack([csr_matrix((part.data, part.indices, part.indptr), shape=(part.shape[0], width)) for part in sparse], format="csr")
