"""Kinds of values in columns of text (Integral, Fractional, String), counted value by value, as Model Monitor's type check needs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

INTEGRAL, FRACTIONAL, STRING, UNKNOWN = "Integral", "Fractional", "String", "Unknown"
MISSING = ("", "null", "NULL", "NaN", "nan", "None", "NA", "N/A")


@dataclass(slots=True)
class Kinds:
    """How many of a column's values are whole numbers, other numbers, anything else; and how many are missing."""

    integral: int = 0
    fractional: int = 0
    text: int = 0
    missing: int = 0

    @property
    def present(self) -> int:
        return self.integral + self.fractional + self.text

    @property
    def inferred(self) -> str:
        """The narrowest kind that all present values have."""
        if not self.present:
            return UNKNOWN
        if self.text:
            return STRING
        return FRACTIONAL if self.fractional else INTEGRAL

    def match(self, kind: str) -> float:
        """The share of present values that are of a kind, [0, 1]; whole numbers are Fractional too, everything is String."""
        if not self.present or kind in (STRING, UNKNOWN):
            return 1.0
        fitting = self.integral + (self.fractional if kind == FRACTIONAL else 0)
        return fitting / self.present


def count(batches: pl.DataFrame | Iterable[pl.DataFrame]) -> dict[str, Kinds]:
    """The kinds of every column, of a table of text (or of typed columns) given whole or in batches.

    Empty text, "null", "NaN" and "NA" are missing. Columns that a later batch lacks keep what was counted.

    >>> held = count(pl.DataFrame({"a": ["1", "2.5", "x", ""]}))["a"]
    >>> (held.integral, held.fractional, held.text, held.missing, held.inferred, round(held.match("Integral"), 3))
    (1, 1, 1, 1, 'String', 0.333)
    """
    found: dict[str, Kinds] = {}
    for batch in [batches] if isinstance(batches, pl.DataFrame) else batches:
        for name in batch.columns:
            _count(found.setdefault(name, Kinds()), batch[name])
    return found


def cast(batch: pl.DataFrame, kinds: dict[str, str]) -> pl.DataFrame:
    """The table with its columns in the given kinds; what does not fit becomes missing.

    >>> cast(pl.DataFrame({"a": ["1", "x"]}), {"a": "Integral"})["a"].to_list()
    [1, None]
    """
    return batch.select([_cast(batch[name], kinds.get(name, STRING)) for name in batch.columns])


def _count(kinds: Kinds, series: pl.Series) -> None:
    if series.dtype.is_float():
        series = series.fill_nan(None)
        kinds.fractional += series.len() - series.null_count()
        kinds.missing += series.null_count()
        return
    if series.dtype.is_integer():
        kinds.integral += series.len() - series.null_count()
        kinds.missing += series.null_count()
        return
    text = _text(series)
    missing = text.null_count()
    numbers = text.cast(pl.Float64, strict=False)
    whole = int((text.str.contains(r"^[+-]?\d+$") & text.is_not_null()).sum())
    known = text.len() - numbers.null_count()
    kinds.integral += whole
    kinds.fractional += known - whole
    kinds.text += text.len() - missing - known
    kinds.missing += missing


def _text(series: pl.Series) -> pl.Series:
    """Values as text without outer spaces, missing ones as null."""
    if series.dtype == pl.Boolean:
        return series.replace_strict({True: "true", False: "false"}, return_dtype=pl.String)
    text = series.cast(pl.String).str.strip_chars()
    return text.set(text.is_in(MISSING), None)


def _cast(series: pl.Series, kind: str) -> pl.Series:
    if kind == INTEGRAL:
        return series if series.dtype.is_integer() else _text(series).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    if kind == FRACTIONAL:
        return series.cast(pl.Float64) if series.dtype.is_numeric() else _text(series).cast(pl.Float64, strict=False)
    return _text(series)
