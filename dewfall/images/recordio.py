"""RecordIO-protobuf, the format of AWS's own algorithms, read and written by hand on NumPy arrays.

A frame is magic 0xCED7230A, length, payload, padding to four bytes; the payload is the protobuf message `Record` (maps of tensors called
features and label). Bodies of records that look alike, the common case, are read and written as one array operation, without a loop.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = 0xCED7230A
LENGTH_MASK = (1 << 29) - 1
HEADER = struct.Struct("<II")
VALUES = "values"
WIDEST = 1 << 24
# Fields of `Value`: which tensor, and how its numbers are stored.
TENSORS: dict[int, np.dtype[Any]] = {2: np.dtype("<f4"), 3: np.dtype("<f8"), 7: np.dtype("<i4")}
FIELDS = {"f4": 2, "f8": 3, "i4": 7}
PACKED_FIXED = (2, 3)


class RecordError(ValueError):
    """The bytes are not RecordIO-protobuf."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value of a record: numbers, and for sparse ones their positions and the shape."""

    values: NDArray[Any]
    keys: NDArray[np.uint64] | None = None
    shape: tuple[int, ...] = ()
    content: bytes | None = None  # of a `Bytes` value

    def width(self) -> int:
        """How many columns this is: the product of the shape, else the number of values."""
        return math.prod(self.shape) if self.shape else len(self.values)

    def dense(self) -> NDArray[Any]:
        """All columns, zeros where a sparse one has nothing."""
        if self.keys is None:
            return self.values
        if self.width() > WIDEST:
            raise RecordError(f"a sparse value has {self.width()} columns, too many to be dense")
        row = np.zeros(self.width(), self.values.dtype)
        row[self.keys.astype(np.int64)] = self.values
        return row


@dataclass(frozen=True, slots=True)
class Record:
    """One message: maps of tensors, and its texts."""

    features: dict[str, Tensor] = field(default_factory=dict)
    label: dict[str, Tensor] = field(default_factory=dict)
    uid: str = ""
    metadata: str = ""
    configuration: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Many records as one matrix: features (rows × columns, dense or csr) and labels (rows,) or (rows × labels) or None."""

    features: Any
    labels: NDArray[Any] | None


# ---------------------------------------------------------------- reading


def frames(data: bytes | memoryview) -> Iterator[memoryview]:
    """The payloads, parts of a split one (MXNet's continuation flags) joined."""
    view, at, parts = memoryview(data), 0, b""
    while at < len(view):
        if len(view) - at < 8:
            raise RecordError("the RecordIO stream ends within a header")
        magic, word = HEADER.unpack_from(view, at)
        if magic != MAGIC:
            raise RecordError(f"Invalid magic number in the RecordIO stream at byte {at}")
        length, flag = word & LENGTH_MASK, word >> 29
        if at + 8 + length > len(view):
            raise RecordError("the RecordIO stream ends within a record")
        payload = view[at + 8 : at + 8 + length]
        at += 8 + (length + 3) // 4 * 4
        if flag == 0:
            yield payload
            continue
        parts = bytes(payload) if flag == 1 else parts + struct.pack("<I", MAGIC) + bytes(payload)
        if flag == 3:
            yield memoryview(parts)


def read_records(data: bytes | memoryview) -> Iterator[Record]:
    """Each record by itself."""
    for payload in frames(data):
        yield parse_record(payload)


def read_matrix(data: bytes | memoryview) -> Matrix:
    """All records' `values` features as one matrix: dense float32/64/int32 array, or a scipy csr matrix when they are sparse."""
    try:
        fast = _read_alike(data)
        return fast if fast is not None else _read_one_by_one(data)
    except (ValueError, IndexError, OverflowError) as error:
        raise RecordError(f"the records cannot be read: {error}") from None


def _read_one_by_one(data: bytes | memoryview) -> Matrix:
    records = list(read_records(data))
    if not records:
        return Matrix(np.zeros((0, 0), np.float32), None)
    features = [_values(record.features, "features") for record in records]
    matrix = _sparse_matrix(features) if any(tensor.keys is not None for tensor in features) else _dense_matrix(features)
    if not all(record.label for record in records):
        return Matrix(matrix, None)
    labels = _dense_matrix([_values(record.label, "label") for record in records])
    return Matrix(matrix, labels[:, 0] if labels.shape[1] == 1 else labels)


def _values(tensors: dict[str, Tensor], what: str) -> Tensor:
    if VALUES in tensors:
        return tensors[VALUES]
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    raise RecordError(f"a record has no `values` among its {what}")


def _dense_matrix(tensors: list[Tensor]) -> NDArray[Any]:
    rows = [tensor.dense() for tensor in tensors]
    if len({len(row) for row in rows}) > 1:
        raise RecordError("the records differ in their number of values")
    return np.stack(rows)


def _sparse_matrix(tensors: list[Tensor]) -> Any:
    from scipy.sparse import csr_matrix

    keys = [np.arange(len(tensor.values), dtype=np.uint64) if tensor.keys is None else tensor.keys for tensor in tensors]
    starts = np.concatenate([[0], np.cumsum([len(key) for key in keys])])
    width = max(tensor.width() if tensor.shape else int(key.max(initial=0)) + 1 for tensor, key in zip(tensors, keys, strict=True))
    values = np.concatenate([tensor.values for tensor in tensors])
    return csr_matrix((values, np.concatenate(keys).astype(np.int64), starts), shape=(len(tensors), width))


def parse_record(payload: memoryview | bytes) -> Record:
    """One protobuf `Record`."""
    view = memoryview(payload)
    features: dict[str, Tensor] = {}
    label: dict[str, Tensor] = {}
    texts = {3: "", 4: "", 5: ""}
    for number, value in _fields(view):
        if number in (1, 2) and isinstance(value, memoryview):
            name, tensor = _parse_entry(value)
            (features if number == 1 else label)[name] = tensor
        elif number in texts and isinstance(value, memoryview):
            texts[number] = str(value, "utf-8")
    return Record(features, label, texts[3], texts[4], texts[5])


def _parse_entry(view: memoryview) -> tuple[str, Tensor]:
    name, tensor = "", Tensor(np.zeros(0, np.float32))
    for number, value in _fields(view):
        if number == 1 and isinstance(value, memoryview):
            name = str(value, "utf-8")
        elif number == 2 and isinstance(value, memoryview):
            tensor = _parse_value(value)
    return name, tensor


def _parse_value(view: memoryview) -> Tensor:
    for number, value in _fields(view):
        if number in TENSORS and isinstance(value, memoryview):
            return _parse_tensor(value, number)
        if number == 9 and isinstance(value, memoryview):
            parts = [bytes(part) for field_number, part in _fields(value) if field_number == 1 and isinstance(part, memoryview)]
            return Tensor(np.zeros(0, np.uint8), content=b"".join(parts))
    return Tensor(np.zeros(0, np.float32))


def _parse_tensor(view: memoryview, kind: int) -> Tensor:
    values: list[NDArray[Any]] = []
    keys: list[NDArray[np.uint64]] = []
    shape: list[int] = []
    for number, value in _fields(view):
        if number == 1:
            values.append(_numbers(value, kind))
        elif number == 2:
            keys.append(_unsigned(value))
        elif number == 3:
            shape.extend(int(size) for size in _unsigned(value))
    joined = np.concatenate(values) if values else np.zeros(0, TENSORS[kind])
    return Tensor(joined, np.concatenate(keys) if keys else None, tuple(shape))


def _numbers(value: memoryview | int, kind: int) -> NDArray[Any]:
    if kind in PACKED_FIXED:
        raw = value if isinstance(value, memoryview) else struct.pack("<I" if kind == 2 else "<Q", value)
        return np.frombuffer(raw, TENSORS[kind])
    return _unsigned(value).astype(np.uint32).view(np.int32)


def _unsigned(value: memoryview | int) -> NDArray[np.uint64]:
    """Packed varints, decoded together: bytes without the high bit end a number."""
    if isinstance(value, int):
        return np.array([value], np.uint64)
    raw = np.frombuffer(value, np.uint8)
    if not len(raw) or raw.max() < 0x80:
        return raw.astype(np.uint64)
    ends = np.flatnonzero(raw < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(ends[-1] + 1) - np.repeat(starts, ends - starts + 1)
    shifted = (raw[: ends[-1] + 1] & 0x7F).astype(np.uint64) << (place * 7).astype(np.uint64)
    return np.add.reduceat(shifted, starts)


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Field numbers with raw values: a view for length-delimited ones, an integer for varints and fixed ones."""
    at, end = 0, len(view)
    try:
        while at < end:
            key, at = _varint(view, at)
            wire = key & 7
            if wire == 2:
                length, at = _varint(view, at)
                if at + length > end:
                    raise RecordError("a protobuf field goes beyond its message")
                yield key >> 3, view[at : at + length]
                at += length
            elif wire == 0:
                number, at = _varint(view, at)
                yield key >> 3, number
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
                yield key >> 3, int.from_bytes(view[at : at + size], "little")
                at += size
            else:
                raise RecordError(f"unknown protobuf wire type {wire}")
    except IndexError:
        raise RecordError("a protobuf message ends too early") from None


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    number = view[at]
    at += 1
    if number < 0x80:
        return number, at
    number &= 0x7F
    shift = 7
    while True:
        byte = view[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


# ---------------------------------------------------------------- reading records that are alike


def _read_alike(data: bytes | memoryview) -> Matrix | None:
    """The whole body as one reshaped array when every frame has the first one's length and layout (dense numbers), else None."""
    raw = np.frombuffer(data, np.uint8)
    if len(raw) < 8:
        return None
    magic, length = HEADER.unpack_from(data, 0)
    size = 8 + (length + 3) // 4 * 4
    if magic != MAGIC or length > LENGTH_MASK or len(raw) % size:
        return None
    spans = _spans(memoryview(data)[8 : 8 + length])
    if spans is None:
        return None
    grid = raw.reshape(-1, size)
    fixed = np.ones(size, bool)
    fixed[8 + length :] = False
    for start, stop, _ in spans.values():
        fixed[8 + start : 8 + stop] = False
    where = np.flatnonzero(fixed)
    if len(grid) > 1 and not (grid[:, where] == grid[0, where]).all():
        return None
    taken = {name: np.ascontiguousarray(grid[:, 8 + start : 8 + stop]).view(dtype) for name, (start, stop, dtype) in spans.items()}
    labels = taken.get("label")
    return Matrix(taken["features"], labels[:, 0] if labels is not None and labels.shape[1] == 1 else labels)


def _spans(payload: memoryview) -> dict[str, tuple[int, int, np.dtype[Any]]] | None:
    """Where the numbers of a dense record lie; None unless it has one float tensor of features, and at most one of labels."""
    found: dict[str, tuple[int, int, np.dtype[Any]]] = {}
    for number, value in _fields(payload):
        if number not in (1, 2):
            continue
        name = "features" if number == 1 else "label"
        span = None if name in found or not isinstance(value, memoryview) else _span(payload, value)
        if span is None:
            return None
        found[name] = span
    return found if "features" in found else None


def _span(payload: memoryview, entry: memoryview) -> tuple[int, int, np.dtype[Any]] | None:
    for number, value in _fields(entry):
        if number != 2 or not isinstance(value, memoryview):
            continue
        parts = [(kind, tensor) for kind, tensor in _fields(value) if kind in PACKED_FIXED and isinstance(tensor, memoryview)]
        if len(parts) != 1:
            return None
        kind, tensor = parts[0]
        inner = list(_fields(tensor))
        if len(inner) != 1 or inner[0][0] != 1 or not isinstance(inner[0][1], memoryview):
            return None
        numbers = inner[0][1]
        start = _address(numbers) - _address(payload)
        return start, start + len(numbers), TENSORS[kind]
    return None


def _address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).ctypes.data) if len(view) else 0


# ---------------------------------------------------------------- writing


def frame(payload: bytes) -> bytes:
    """One RecordIO frame."""
    return HEADER.pack(MAGIC, len(payload)) + payload + b"\0" * (-len(payload) % 4)


def write_matrix(features: Any, labels: NDArray[Any] | None = None) -> bytes:
    """Records of a dense array or scipy sparse matrix, each with its label(s) when given."""
    marks = None if labels is None else np.asarray(labels).reshape(len(labels), -1)
    if hasattr(features, "tocsr"):
        return _write_sparse(features.tocsr(), marks)
    rows = np.asarray(features)
    rows = rows.reshape(1, -1) if rows.ndim == 1 else rows
    return write_answers({VALUES: rows}, {} if marks is None else {VALUES: marks})


def write_answers(features: Mapping[str, NDArray[Any]], label: Mapping[str, NDArray[Any]]) -> bytes:
    """Records from columns by name (rows × n each): algorithms answer with `features={}` and label maps such as {"score": …}."""
    columns = [(1, name, _floats(array)) for name, array in features.items()] + [(2, name, _floats(array)) for name, array in label.items()]
    if not columns:
        return b""
    count = len(columns[0][2])
    if any(array.dtype.kind == "i" for _, _, array in columns):
        return b"".join(frame(b"".join(_entry(number, name, Tensor(array[row])) for number, name, array in columns)) for row in range(count))
    pieces: list[NDArray[np.uint8]] = []
    for number, name, array in columns:
        head = _entry_head(number, name, array)
        pieces += [np.broadcast_to(np.frombuffer(head, np.uint8), (count, len(head))), np.ascontiguousarray(array).view(np.uint8).reshape(count, -1)]
    length = sum(piece.shape[1] for piece in pieces)
    start, end = np.frombuffer(HEADER.pack(MAGIC, length), np.uint8), np.zeros(-length % 4, np.uint8)
    whole = [np.broadcast_to(start, (count, 8)), *pieces, np.broadcast_to(end, (count, len(end)))]
    return np.concatenate(whole, axis=1).tobytes()


def write_records(records: Iterable[Record]) -> bytes:
    """Records as they are."""
    return b"".join(frame(record_bytes(record)) for record in records)


def record_bytes(record: Record) -> bytes:
    """One protobuf `Record`."""
    parts = [_entry(1, name, tensor) for name, tensor in record.features.items()]
    parts += [_entry(2, name, tensor) for name, tensor in record.label.items()]
    texts = ((3, record.uid), (4, record.metadata), (5, record.configuration))
    parts += [_delimited(number, text.encode()) for number, text in texts if text]
    return b"".join(parts)


def _floats(array: NDArray[Any]) -> NDArray[Any]:
    rows = np.asarray(array)
    rows = rows.reshape(len(rows), -1)
    if rows.dtype.kind == "f":
        return rows.astype("<f8" if rows.dtype.itemsize == 8 else "<f4", copy=False)
    return rows.astype("<i4")


def _entry_head(number: int, name: str, array: NDArray[Any]) -> bytes:
    """What stands before the numbers of a dense tensor of this width."""
    size = array.shape[1] * array.dtype.itemsize
    values = b"\x0a" + _encode(size)
    tensor = _key(FIELDS[array.dtype.str[1:]], 2) + _encode(len(values) + size) + values
    entry = _delimited(1, name.encode()) + b"\x12" + _encode(len(tensor) + size) + tensor
    return _key(number, 2) + _encode(len(entry) + size) + entry


def _entry(number: int, name: str, tensor: Tensor) -> bytes:
    if tensor.content is not None:
        value = _delimited(9, _delimited(1, tensor.content))
    else:
        kind = tensor.values.dtype.str[1:]
        packed = tensor.values.tobytes() if kind in ("f4", "f8") else _encode_all(tensor.values)
        body = _delimited(1, packed)
        if tensor.keys is not None:
            body += _delimited(2, _encode_all(tensor.keys))
        if tensor.shape:
            body += _delimited(3, b"".join(_encode(size) for size in tensor.shape))
        value = _delimited(FIELDS[kind], body)
    return _delimited(number, _delimited(1, name.encode()) + _delimited(2, value))


def _write_sparse(matrix: Any, labels: NDArray[Any] | None) -> bytes:
    values, columns, starts = _floats(matrix.data.reshape(-1, 1))[:, 0], matrix.indices, matrix.indptr
    marks = None if labels is None else _floats(labels)
    parts = []
    for row in range(matrix.shape[0]):
        cut = slice(starts[row], starts[row + 1])
        payload = _entry(1, VALUES, Tensor(values[cut], columns[cut].astype(np.uint64), (matrix.shape[1],)))
        if marks is not None:
            payload += _entry(2, VALUES, Tensor(marks[row]))
        parts.append(frame(payload))
    return b"".join(parts)


def _key(number: int, wire: int) -> bytes:
    return _encode(number << 3 | wire)


def _delimited(number: int, content: bytes) -> bytes:
    return _key(number, 2) + _encode(len(content)) + content


def _encode(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _encode_all(numbers: NDArray[Any]) -> bytes:
    return b"".join(_encode(int(number) & 0xFFFFFFFFFFFFFFFF) for number in numbers.tolist())
