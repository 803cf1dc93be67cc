"""Training data of a channel as one table: features and labels from CSV, libsvm, RecordIO-protobuf or Parquet files.

The built-in algorithms share it, so that content types, label_size and data errors mean the same in each.
"""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.contract import Channel, UserError
from dewfall.images.formats import CSV, LIBSVM, PARQUET, RECORDIO, X_LIBSVM, FormatError, media_type, read_csv, read_libsvm_labels
from dewfall.images.recordio import RecordError, read_matrix

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Table:
    """features: rows × columns, dense or csr; labels: (rows,) or None; weights: (rows,) or None."""

    features: Any
    labels: NDArray[Any] | None = None
    weights: NDArray[Any] | None = None

    @property
    def rows(self) -> int:
        return int(self.features.shape[0])

    @property
    def columns(self) -> int:
        return int(self.features.shape[1])


def read_table(channel: Channel, *, label_size: int = 1, default: str = CSV, dtype: Any = np.float32, weighted: bool = False) -> Table:
    """Everything in a channel. `label_size` columns of a CSV come first (a content type's own label_size wins); `weighted`: then one of weights.

    UserError with AWS's kind of message when there is nothing, or it is not what the content type says.
    """
    kind, parameters = media_type(channel.content_type) if channel.content_type else (default, {})
    size = str(parameters.get("label_size", label_size))
    if not size.isdigit():
        raise UserError(f"The label_size of content type '{channel.content_type}' must be a whole number.")
    labels = int(size)
    bodies = [_plain(body) for body in channel.bodies(framed=kind == RECORDIO)]
    bodies = [body for body in bodies if body]
    if not bodies:
        raise UserError(f"No data file found for channel '{channel.name}'. Please verify the S3 location of the channel.")
    try:
        parts = [_read(body, kind, labels, dtype, weighted) for body in bodies]
    except (FormatError, RecordError) as error:
        message = f"Unable to read data channel '{channel.name}'. Requested content-type is '{channel.content_type or default}'."
        raise UserError(f"{message} Please verify the data matches the requested content-type. (caused by {error})") from None
    return _joined(parts, channel.name)


def _plain(body: bytes) -> bytes:
    if not body.startswith(GZIP_MAGIC):
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error):
        raise UserError("A file of the training data is compressed with gzip, but cannot be unpacked. Please verify the data.") from None


def _read(body: bytes, kind: str, label_size: int, dtype: Any, weighted: bool) -> Table:
    if kind == CSV:
        return _split(read_csv(body, dtype=dtype), label_size, weighted)
    if kind in (LIBSVM, X_LIBSVM):
        features, labels = read_libsvm_labels(body)
        return Table(features, None if np.isnan(labels).all() else labels)
    if kind == RECORDIO:
        matrix = read_matrix(body)
        return Table(matrix.features, matrix.labels)
    if kind == PARQUET:
        return _split(_read_parquet(body, dtype), label_size, weighted)
    raise UserError(f"Content type '{kind}' is not supported. Use {CSV}, {LIBSVM}, {RECORDIO} or {PARQUET}.")


def _read_parquet(body: bytes, dtype: Any) -> NDArray[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return np.column_stack([np.asarray(column.to_numpy(), dtype) for column in parquet.read_table(io.BytesIO(body)).columns])
    except (pa.ArrowException, OSError, TypeError, ValueError) as error:
        raise FormatError(f"the Parquet file must have columns of numbers: {error}") from None


def _split(rows: NDArray[Any], label_size: int, weighted: bool) -> Table:
    if not label_size:
        return Table(rows)
    if rows.shape[1] <= label_size:
        raise FormatError(f"{rows.shape[1]} columns are too few for {label_size} of labels and at least one of features")
    labels = rows[:, 0] if label_size == 1 else rows[:, :label_size]
    if not weighted:
        return Table(rows[:, label_size:], labels)
    return Table(rows[:, label_size + 1 :], labels, rows[:, label_size])


def _joined(parts: list[Table], channel: str) -> Table:
    if len(parts) == 1:
        return parts[0]
    if any(hasattr(part.features, "tocsr") for part in parts):
        from scipy.sparse import csr_matrix, vstack

        width = max(part.columns for part in parts)
        grown = [csr_matrix((m.data, m.indices, m.indptr), shape=(m.shape[0], width)) for m in (csr_matrix(part.features) for part in parts)]
        features = vstack(grown, format="csr")
    else:
        if len({part.columns for part in parts}) > 1:
            raise UserError(f"The files of channel '{channel}' differ in their number of columns.")
        features = np.concatenate([part.features for part in parts])
    return Table(features, _stacked([part.labels for part in parts]), _stacked([part.weights for part in parts]))


def _stacked(parts: list[NDArray[Any] | None]) -> NDArray[Any] | None:
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if len(found) == len(parts) else None
