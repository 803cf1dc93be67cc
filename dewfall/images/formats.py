"""Request and answer bodies: CSV, JSON, JSON lines, npy, libsvm, RecordIO-protobuf ↔ arrays, as AWS's algorithms read and write them.

One place knows content types, so that every algorithm accepts the same things and refuses the rest alike. One CSV row, the
commonest request by far, is parsed without a library.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CSV = "text/csv"
LIBSVM = "text/libsvm"
X_LIBSVM = "text/x-libsvm"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
NPY = "application/x-npy"
NPZ = "application/x-npz"
RECORDIO = "application/x-recordio-protobuf"
PARQUET = "application/x-parquet"
OCTETS = "application/octet-stream"
ANY = "*/*"
SMALL = 4_096  # bytes of a CSV up to which Python itself is the quickest reader
LARGE = 1_048_576  # and from which a table's reader is
NULLS = ("", "NA", "nan", "NaN", "null", "None", "?")


class FormatError(ValueError):
    """The body is not what its content type says: status 400."""


class UnsupportedFormat(ValueError):
    """A content type that nobody here reads or writes: status 415 for requests, 406 for answers."""


# ---------------------------------------------------------------- content types


def media_type(header: str) -> tuple[str, dict[str, str]]:
    """`text/csv; label_size=0` → ("text/csv", {"label_size": "0"}), both in lower case."""
    kind, *rest = header.split(";")
    pairs = (part.partition("=") for part in rest)
    return kind.strip().lower(), {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in pairs if key.strip()}


def choose_accept(accept: str, offered: Sequence[str], default: str) -> str:
    """The first of `offered` that an Accept header names (parameters kept off); `default` for none or `*/*`; UnsupportedFormat otherwise."""
    wanted = [media_type(part)[0] for part in accept.split(",") if part.strip()]
    if not wanted:
        return default
    for kind in wanted:
        if kind == ANY:
            return default
        if kind in offered:
            return kind
        if kind.endswith("/*"):
            near = [name for name in offered if name.startswith(kind[:-1])]
            if near:
                return default if default in near else near[0]
    raise UnsupportedFormat(f"Accept type {accept} is not supported. Please use one of {', '.join(offered)}")


# ---------------------------------------------------------------- reading


def read_features(body: bytes, content_type: str, *, default: str = CSV, dtype: Any = np.float32) -> Any:
    """A request's rows by content type as a dense array (rows × columns), or a scipy csr matrix of float32 where they come sparse.

    Reads csv, json (`instances`), jsonlines, libsvm, npy and recordio-protobuf. FormatError, UnsupportedFormat.
    """
    kind = media_type(content_type)[0] if content_type else default
    reader = READERS.get(kind)
    if reader is None:
        raise UnsupportedFormat(f"Content type {content_type} is not supported")
    return reader(body, dtype=dtype) if kind in EXACT else reader(body)


def read_csv(body: bytes, *, delimiter: str = ",", dtype: Any = np.float32) -> NDArray[Any]:
    """Numbers without a header, rows × columns; an empty field is NaN."""
    if not body.strip(b" \r\n"):
        raise FormatError("The CSV has no rows")
    if len(body) > SMALL:
        return _read_large_csv(body, delimiter, dtype)
    try:
        text = body.decode()
        rows = [[float(cell) if cell else np.nan for cell in line.split(delimiter)] for line in text.splitlines() if line and not line.isspace()]
    except ValueError:
        return _read_large_csv(body, delimiter, dtype)
    if len({len(row) for row in rows}) > 1:
        raise FormatError(f"The rows of the CSV differ in their number of columns: {sorted({len(row) for row in rows})}")
    return np.array(rows, dtype).reshape(len(rows), -1)


def _read_large_csv(body: bytes, delimiter: str, dtype: Any) -> NDArray[Any]:
    quick = _read_plain_csv(body, delimiter, dtype) if len(body) < LARGE else None
    if quick is None:
        quick = read_number_table(body, delimiter, dtype)
    if quick is not None:
        return quick
    from pyarrow import ArrowInvalid, csv

    try:
        table = csv.read_csv(
            io.BytesIO(body if body.endswith(b"\n") else body + b"\n"),
            read_options=csv.ReadOptions(autogenerate_column_names=True, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(null_values=list(NULLS)),
        )
        columns = [np.asarray(column.to_numpy(zero_copy_only=False)).astype(dtype) for column in table.columns]
    except ArrowInvalid as error:
        raise FormatError(f"The CSV cannot be read: {str(error).splitlines()[0]}") from None
    except ValueError as error:
        raise FormatError(f"could not convert CSV data to float: {error}") from None
    return np.column_stack(columns) if columns else np.zeros((0, 0), dtype)


def _read_plain_csv(body: bytes, delimiter: str, dtype: Any) -> NDArray[Any] | None:
    """A CSV with a number in every cell, in a quarter of the time that a table's reader takes to begin; None for any other."""
    import pyarrow as pa
    from pyarrow import compute

    text = body.rstrip(b"\n")
    whole = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(text)], np.int32)), pa.py_buffer(text))
    try:
        cells = compute.split_pattern(compute.list_flatten(compute.split_pattern(whole, "\n")), delimiter)
        found = compute.cast(compute.list_flatten(cells), pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    if len(found) % len(cells) or np.any(np.diff(cells.offsets.to_numpy()) != len(found) // len(cells)):
        return None
    return np.asarray(found.reshape(len(cells), -1).astype(dtype, copy=False))


def read_number_table(body: bytes, delimiter: str, dtype: Any) -> NDArray[Any] | None:
    """A plain CSV of numbers by the fastest reader there is, C-ordered; None for one that is not plain, whose errors others explain.

    Plain: no quotes, every line with the same number of cells, each cell a number or one of NULLS (NaN).
    """
    import polars as pl
    from polars.exceptions import PolarsError

    width = body.partition(b"\n")[0].count(delimiter.encode()) + 1
    if b'"' in body or width < 2:
        return None
    kind = pl.Float32 if np.dtype(dtype) == np.float32 else pl.Float64
    names = {f"c{place}": kind for place in range(width)}
    try:
        table = pl.read_csv(body, has_header=False, separator=delimiter, schema=names, null_values=list(NULLS))
    except PolarsError:
        return None
    if body.count(delimiter.encode()) != table.height * (width - 1):
        return None
    found: NDArray[Any] = table.to_numpy(order="c").astype(dtype, copy=False)
    return found


def read_json(body: bytes, *, dtype: Any = np.float32) -> Any:
    """`{"instances": [{"features": [...]} | {"data": {"features": {"values", "keys", "shape"}}} | [...]]}`, also a plain list of rows."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise FormatError(f"The JSON cannot be read: {error}") from None
    instances = document.get("instances") if isinstance(document, dict) else document
    if isinstance(instances, list) and instances and not isinstance(instances[0], (dict, list)):
        instances = [instances]
    if not isinstance(instances, list):
        raise FormatError('JSON requests need a list called "instances"')
    return _rows([_instance(instance) for instance in instances], dtype)


def read_jsonlines(body: bytes, *, dtype: Any = np.float32) -> Any:
    """One instance of the JSON format per line."""
    try:
        documents = [json.loads(line) for line in body.splitlines() if line.strip()]
    except ValueError as error:
        raise FormatError(f"The JSON lines cannot be read: {error}") from None
    return _rows([_instance(document) for document in documents], dtype)


def _instance(instance: Any) -> Any:
    """The list of numbers, or the dictionary of a sparse one."""
    if isinstance(instance, dict) and "data" in instance:
        instance = instance["data"]
    if isinstance(instance, dict) and "features" in instance:
        instance = instance["features"]
    if isinstance(instance, dict) and "values" in instance:
        return instance if "keys" in instance else instance["values"]
    if isinstance(instance, list):
        return instance
    raise FormatError('An instance needs "features": a list of numbers, or an object with "values"')


def _rows(instances: list[Any], dtype: Any) -> Any:
    if not instances:
        raise FormatError("The request has no instances")
    try:
        if any(isinstance(instance, dict) for instance in instances):
            return _sparse_rows(instances)
        return np.array(instances, dtype).reshape(len(instances), -1)
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"The instances are not rows of numbers of one length: {error}") from None


def _sparse_rows(instances: list[Any]) -> Any:
    from scipy.sparse import csr_matrix

    values: list[float] = []
    keys: list[int] = []
    starts = [0]
    width = 0
    for instance in instances:
        sparse = instance if isinstance(instance, dict) else {"values": instance, "keys": range(len(instance))}
        values.extend(sparse["values"])
        keys.extend(int(key) for key in sparse["keys"])
        starts.append(len(values))
        shape = sparse.get("shape")
        size = (shape[0] if isinstance(shape, list) else shape) if shape else max(sparse["keys"], default=-1) + 1
        width = max(width, int(size))
    return csr_matrix((np.array(values, np.float32), np.array(keys, np.int64), starts), shape=(len(instances), width))


def read_libsvm(body: bytes, *, columns: int = 0) -> Any:
    """Rows of `[label] index:value …` as a csr matrix (indices as they stand); see read_libsvm_labels for the labels."""
    return read_libsvm_labels(body, columns=columns)[0]


def read_libsvm_labels(body: bytes, *, columns: int = 0) -> tuple[Any, NDArray[np.float32]]:
    """(csr matrix of features, labels); a row that begins with index:value has label NaN; `label:weight` keeps the label."""
    from scipy.sparse import csr_matrix

    labels: list[float] = []
    starts = [0]
    pairs: list[str] = []
    try:
        for line in body.decode().splitlines():
            cells = line.partition("#")[0].split()
            if not cells:
                continue
            first_is_label = ":" not in cells[0]
            labels.append(float(cells[0]) if first_is_label else np.nan)
            pairs += [cell for cell in cells[first_is_label:] if not cell.startswith("qid:")]
            starts.append(len(pairs))
        keys = [pair.partition(":") for pair in pairs]
        where = np.array([int(key) for key, _, _ in keys], np.int64)
        values = np.array([float(value) for _, _, value in keys], np.float32)
    except ValueError as error:
        raise FormatError(f"The libsvm data cannot be read: {error}") from None
    width = max(columns, int(where.max(initial=-1)) + 1)
    return csr_matrix((values, where, starts), shape=(len(labels), width)), np.array(labels, np.float32)


def read_npy(body: bytes) -> NDArray[Any]:
    """An array in NumPy's own format; pickled objects are refused."""
    try:
        array = np.load(io.BytesIO(body), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"The npy data cannot be read: {error}") from None
    return np.asarray(array)


def _read_npy_rows(body: bytes, *, dtype: Any = np.float32) -> NDArray[Any]:
    array = read_npy(body)
    return np.asarray(array.reshape(1, -1) if array.ndim < 2 else array, dtype)


def read_recordio(body: bytes) -> Any:
    """The `values` features of every record."""
    from dewfall.images.recordio import RecordError, read_matrix

    try:
        return read_matrix(body).features
    except RecordError as error:
        raise FormatError(str(error)) from None


READERS: dict[str, Callable[..., Any]] = {
    CSV: read_csv,
    JSON: read_json,
    JSON_LINES: read_jsonlines,
    "application/x-jsonlines": read_jsonlines,
    LIBSVM: read_libsvm,
    X_LIBSVM: read_libsvm,
    NPY: _read_npy_rows,
    RECORDIO: read_recordio,
}
EXACT = {CSV, JSON, JSON_LINES, "application/x-jsonlines", NPY}  # read to whatever precision is asked for


# ---------------------------------------------------------------- writing


def write_csv(rows: Any) -> bytes:
    """Rows of numbers or texts, one line each with a newline at its end; a vector gives one column."""
    array = np.asarray(rows)
    array = array.reshape(-1, 1) if array.ndim < 2 else array
    lines = array if array.dtype == np.float32 else array.tolist()
    return "".join(",".join(map(str, row)) + "\n" for row in lines).encode()


def write_json(document: Any) -> bytes:
    """JSON; arrays and NumPy numbers become lists and numbers."""
    return _encoder.encode(document).encode()


def write_jsonlines(documents: Iterable[Any]) -> bytes:
    """One JSON document per line, each with a newline at its end."""
    return b"".join(write_json(document) + b"\n" for document in documents)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


_encoder = json.JSONEncoder(default=_plain)


def write_npy(array: Any) -> bytes:
    """An array in NumPy's own format."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def write_predictions(predictions: Sequence[Mapping[str, Any]], kind: str, *, csv: Sequence[str] = (), name: str = "predictions") -> bytes:
    """The answer of AWS's algorithms: predictions like `{"score": 0.4, "predicted_label": 0}` in the chosen content type.

    JSON `{"predictions": [...]}`, JSON lines one prediction a line, CSV the members `csv` (default: all) in order,
    RecordIO-protobuf label maps. UnsupportedFormat for other types.
    """
    if kind == JSON:
        return write_json({name: list(predictions)})
    if kind in (JSON_LINES, "application/x-jsonlines"):
        return write_jsonlines(predictions)
    if kind == CSV:
        return "".join(",".join(_flat(prediction, csv or tuple(prediction))) + "\n" for prediction in predictions).encode()
    if kind == RECORDIO:
        from dewfall.images.recordio import write_answers

        members = list(predictions[0]) if predictions else []
        columns = {member: np.asarray([prediction[member] for prediction in predictions], np.float32) for member in members}
        return write_answers({}, columns)
    raise UnsupportedFormat(f"Accept type {kind} is not supported")


def _flat(prediction: Mapping[str, Any], members: Sequence[str]) -> list[str]:
    cells: list[str] = []
    for member in members:
        value = prediction[member]
        plain = value.tolist() if hasattr(value, "tolist") else value
        cells += map(str, plain if isinstance(plain, (list, tuple)) else [plain])
    return cells
