"""The series that DeepAR reads: JSON lines (perhaps gzipped) or Parquet, checked, and cut into windows."""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.contract import Channel, UserError
from dewfall.images.formats import media_type
from dewfall.ml.seasons import Frequency, calendar

MISSING = ("NaN", "nan", None)


@dataclass(frozen=True, slots=True)
class Series:
    """target (n,) with NaN where nothing was seen; dynamic (features, n or n + horizon)."""

    start: str
    target: NDArray[np.float32]
    categories: tuple[int, ...] = ()
    dynamic: NDArray[np.float32] | None = None


def read_channel(channel: Channel) -> list[Series]:
    """Every series of a channel. UserError names the record that is wrong."""
    found: list[Series] = []
    kind = media_type(channel.content_type)[0]
    for path in channel.files():
        body = path.read_bytes()
        is_parquet = kind.endswith("parquet") if kind not in ("", "auto") else path.suffix == ".parquet" or body[:4] == b"PAR1"
        try:
            found += [parse_series(record) for record in (_parquet(body) if is_parquet else _json_lines(body))]
        except ValueError as error:
            raise UserError(f"Error when reading file {path.name} of channel '{channel.name}': {error}")
    if not found:
        raise UserError(f"No data found in channel '{channel.name}'. Please verify the S3 location of the channel.")
    return found


def _json_lines(body: bytes) -> Iterable[Any]:
    try:
        plain = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    except (OSError, EOFError, zlib.error):
        raise ValueError("it is compressed with gzip, but cannot be unpacked") from None
    for number, line in enumerate(plain.splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError:
                raise ValueError(f"line {number} is not a JSON object") from None


def _parquet(body: bytes) -> Iterable[Any]:
    from pyarrow import ArrowException, parquet

    try:
        return [dict(row) for row in parquet.read_table(io.BytesIO(body)).to_pylist()]
    except (ArrowException, OSError) as error:
        raise ValueError(f"it is not Parquet: {error}") from None


def parse_series(record: Any) -> Series:
    """A record with start, target, perhaps cat and dynamic_feat. ValueError says what is wrong."""
    if not isinstance(record, dict) or "start" not in record or "target" not in record:
        raise ValueError("each time series needs the fields 'start' and 'target'")
    categories = record.get("cat")
    categories = () if categories is None else tuple(categories) if isinstance(categories, list) else (categories,)
    if not all(isinstance(kind, int) and kind >= 0 for kind in categories):
        raise ValueError("'cat' must be non-negative integers")
    dynamic = record.get("dynamic_feat")
    try:
        own = None if not dynamic else np.array([_numbers(row) for row in dynamic], np.float32)
        target = _numbers(record["target"])
    except (TypeError, ValueError):
        raise ValueError("'target' and the rows of 'dynamic_feat' must be arrays of numbers, those of one length") from None
    if own is not None and not np.isfinite(own).all():
        raise ValueError("missing values in 'dynamic_feat' are not supported")
    return Series(str(record["start"]), target, categories, own)


def _numbers(values: Sequence[Any]) -> NDArray[np.float32]:
    return np.array([np.nan if value in MISSING else value for value in values], np.float32)


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts windows of `context` known and `ahead` coming values, with `history` values before them, out of series."""

    frequency: Frequency
    context: int
    ahead: int
    history: int
    own: int  # dynamic features

    def prepared(self, series: Series) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(values with `history + context` unknown ones before and `ahead` after, features of all but the history)."""
        count = len(series.target)
        values = np.full(self.history + self.context + count + self.ahead, np.nan, np.float32)
        values[self.history + self.context : self.history + self.context + count] = series.target
        steps = self.context + count + self.ahead
        age = np.log10(2 + np.maximum(np.arange(steps) - self.context, 0)).astype(np.float32)
        parts = [calendar(series.start, self.frequency, -self.context, steps), age[:, None]]
        if self.own:
            given = np.zeros((steps, self.own), np.float32)
            dynamic = np.asarray(series.dynamic)
            length = min(dynamic.shape[1], count + self.ahead)
            given[self.context : self.context + length] = dynamic[:, :length].T
            parts.append(given)
        return values, np.concatenate(parts, axis=1)

    def window(self, prepared: tuple[NDArray[np.float32], NDArray[np.float32]], first: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The window whose first coming value is number `first` of the series."""
        values, features = prepared
        return values[first : first + self.history + self.context + self.ahead], features[first : first + self.context + self.ahead]
