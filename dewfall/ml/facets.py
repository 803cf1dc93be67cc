"""Columns read the way Clarify reads them: which rows have the positive label, which belong to a facet value or a segment.

The bias metrics only need codes and yes-or-no; all rules about types, thresholds and intervals live here, once.
Source: the type rules of smclarify 0.5 (categorical, continuous, cast of given values) and Clarify's developer guide.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]
UNIQUE_SHARE = 0.05
NO_POSITIVE_PREDICTION = "No Label values are present in the predicted Label Column,Positive Predicted Index Series contains all False values"
NO_LABEL_VALUES = "Positive label values or thresholds are empty for Label column"
NOT_A_THRESHOLD = "Facet/label value provided must be a single numeric threshold for continuous data"
INTERVAL = re.compile(r"^\s*([\[(])\s*([^,]+?)\s*,\s*([^,]+?)\s*([\])])\s*$")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows were chosen (n,), and the choice as Clarify prints it: "1,2" for values, "(40, 68]" for a threshold."""

    rows: Mask
    text: str


@dataclass(frozen=True, slots=True)
class Coded:
    """codes (n,): the index of each row's value in `values`, which are in order of appearance; -1 where the value is missing."""

    codes: Codes
    values: list[Any]


def column(values: Any, name: str = "values") -> pl.Series:
    """Any one-dimensional column (Polars, pandas, NumPy, list) as a Polars series; NaN becomes null.

    Raises ValueError (naming the argument) when it is not one-dimensional. A mix of types becomes text.

    >>> column(["a", None, 3]).to_list()
    ['a', None, '3']
    """
    if isinstance(values, pl.Series):
        series = values
    else:
        array = values if isinstance(values, np.ndarray) else None
        if array is not None and array.ndim != 1:
            raise ValueError(f"{name}: expected one dimension, got {array.ndim}")
        plain = array if array is not None and array.dtype.kind in "biufU" else _plain(values)
        series = pl.Series(name, plain, strict=False)
    return series.fill_nan(None) if series.dtype.is_float() else series


def _plain(values: Any) -> Any:
    found = values.tolist() if hasattr(values, "tolist") else list(values)
    missing = [v is None or (isinstance(v, float) and math.isnan(v)) for v in found]
    kept = [v for v, gone in zip(found, missing, strict=True) if not gone]
    text = any(isinstance(v, str) for v in kept) and not all(isinstance(v, str) for v in kept)
    return [None if gone else str(v) if text else v for v, gone in zip(found, missing, strict=True)]


def is_continuous(values: Any, given: Sequence[Any] | None = None) -> bool:
    """Whether Clarify treats the column as continuous: one threshold cuts it, instead of values naming its categories.

    values: column (n,). given: the configured values; more than one means categories. Floats are continuous, integers when at least
    5 % of the present rows are distinct, everything else is categorical.

    >>> is_continuous([0.1, 0.2]), is_continuous([0, 1] * 50), is_continuous([1, 2, 3]), is_continuous([1, 2, 3], [1, 2])
    (True, False, True, False)
    """
    series = column(values)
    if given is not None and len(given) > 1:
        return False
    if series.dtype.is_float():
        return True
    if not series.dtype.is_integer():
        return False
    present = series.drop_nulls()
    if not len(present):
        return False
    low, high = _extremes(present)
    return high - low + 1 >= UNIQUE_SHARE * len(present) and present.n_unique() / len(present) >= UNIQUE_SHARE


def _extremes(present: pl.Series) -> tuple[int, int]:
    numbers = present.to_numpy()
    return int(numbers.min()), int(numbers.max())


def choose(values: Any, given: Sequence[Any], *, also: Any = None) -> Choice:
    """The rows whose value is one of `given` (categories) or lies above it (a continuous column, exclusive lower bound).

    values: column (n,). given: non-empty; for a continuous column one threshold, the interval reaches to the maximum: (thr, max].
    also: a second column whose maximum counts too (labels, when predictions are cut). Missing values are never chosen.
    Given values are cast to the column's type when none matches. Raises ValueError when `given` is empty or no threshold.

    >>> choose([10, 50, 68], [40]).text, choose(["a", "b"], ["b"]).rows.tolist()
    ('(40, 68]', [False, True])
    """
    if len(given) == 0:
        raise ValueError(NO_LABEL_VALUES)
    series = column(values)
    if is_continuous(series, given):
        return _above(series, given[0], also)
    rows = _among(series, given)
    return Choice(rows if rows.any() else _among(series, _cast(series, given)), ",".join(map(str, given)))


def _above(series: pl.Series, threshold: Any, also: Any) -> Choice:
    try:
        low = threshold if isinstance(threshold, int | float) else float(threshold)
    except (TypeError, ValueError):
        raise ValueError(NOT_A_THRESHOLD) from None
    numbers = _numbers(series)
    both = numbers if also is None else np.concatenate([numbers, _numbers(column(also))])
    present = both[~np.isnan(both)]
    if not len(present):
        raise ValueError("values: a continuous column without any value")
    top: float = float(present.max())
    if series.dtype.is_integer() and top.is_integer() and isinstance(low, int):
        top = int(top)
    breaks = sorted([low] if abs(top) == low else [low, top])
    if any(isinstance(b, float) for b in breaks):
        breaks = [float(b) for b in breaks]
    if len(breaks) == 1:
        return Choice(np.zeros(len(numbers), dtype=bool), "")
    return Choice((numbers > breaks[0]) & (numbers <= breaks[1]), f"({breaks[0]}, {breaks[1]}]")


def _among(series: pl.Series, given: Sequence[Any]) -> Mask:
    chosen = np.zeros(len(series), dtype=bool)
    for value in given:
        if not _comparable(series, value):
            continue
        found = (series == value).fill_null(False).to_numpy()
        chosen |= found
    return chosen


def _comparable(series: pl.Series, value: Any) -> bool:
    if value is None or isinstance(value, str):
        return value is not None and not (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null))
    return series.dtype.is_numeric() or series.dtype == pl.Boolean


def _cast(series: pl.Series, given: Sequence[Any]) -> list[Any]:
    if series.dtype == pl.Boolean:
        words = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
        return [words.get(str(v).lower()) for v in given]
    if not series.dtype.is_numeric():
        return [str(v) for v in given]
    return [_number(v) for v in given]


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _numbers(series: pl.Series) -> NDArray[np.float64]:
    return series.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)


def choose_predicted(predicted: Any, labels: Any, given: Sequence[Any]) -> Choice:
    """The rows predicted positive, by the rules of `choose`; predictions must be of the labels' kind.

    predicted, labels: columns (n,). Raises ValueError with smclarify's messages: when kinds differ, and when no row is predicted positive.

    >>> choose_predicted([1, 0, 0, 1] * 30, [1, 1, 0, 0] * 30, [1]).rows[:4].tolist()
    [True, False, False, True]
    """
    if is_continuous(predicted, given) != is_continuous(labels, given):
        raise ValueError("Predicted Label Column series datatype is not the same as Label Column series")
    chosen = choose(predicted, given, also=labels)
    if not chosen.rows.any():
        raise ValueError(NO_POSITIVE_PREDICTION)
    return chosen


def encode(values: Any) -> Coded:
    """Each row's value as a small integer, values in order of appearance.

    >>> encode(["b", "a", None, "b"])
    Coded(codes=array([ 0,  1, -1,  0]), values=['b', 'a'])
    """
    series = column(values)
    known = series.drop_nulls().unique(maintain_order=True)
    if len(series) == 0 or len(known) == 0:
        return Coded(np.full(len(series), -1, dtype=np.int64), [])
    if series.dtype == pl.Boolean or series.dtype.is_integer():
        found = _dense(series, known)
        if found is not None:
            return Coded(found, known.to_list())
    coded = series.rank("dense") if series.dtype.is_float() else series.cast(pl.String).cast(pl.Categorical).to_physical()
    order = coded.drop_nulls().unique(maintain_order=True).to_numpy().astype(np.int64)
    table = np.full(int(order.max()) + 2, -1, dtype=np.int64)
    table[order] = np.arange(len(order))
    return Coded(table[coded.cast(pl.Int64).fill_null(-1).to_numpy()], known.to_list())


def _dense(series: pl.Series, known: pl.Series) -> Codes | None:
    """Codes by one table look-up when the integers lie close together."""
    low, high = _extremes(known)
    if high - low > 1_000_000 or high >= 2**62:
        return None
    table = np.full(high - low + 2, -1, dtype=np.int64)
    table[known.cast(pl.Int64).to_numpy() - low] = np.arange(len(known))
    shifted = (series.cast(pl.Int64) - low).fill_null(high - low + 1).to_numpy()
    return np.asarray(table[shifted])


def read_interval(text: str) -> tuple[float, float, bool, bool]:
    """(low, high, low included, high included) of an interval as Clarify's segments write it: "[1, 4]", "(2, 5]".

    Raises ValueError (segments) when it is not one.

    >>> read_interval("(2, 5]")
    (2.0, 5.0, False, True)
    """
    found = INTERVAL.match(text)
    low, high = (_number(found[2]), _number(found[3])) if found else (None, None)
    if found is None or low is None or high is None or low > high:
        raise ValueError(f"segments: {text!r} is not an interval such as '[1, 4]' or '(2, 5]'")
    return low, high, found[1] == "[", found[4] == "]"


def split(values: Any, segments: Sequence[Sequence[Any]], aliases: Sequence[str] | None = None) -> list[Choice]:
    """Rows by segment; what no segment holds is the last one, `__default__`, when there are any such rows.

    values: column (n,). segments: each a list of categories, or of interval strings for a continuous column.
    aliases: the segments' names (one may be added for the default). Raises ValueError for an empty list or a broken interval.

    >>> [(s.text, int(s.rows.sum())) for s in split([1.0, 3.0, 9.0], [["[1, 4]"]])]
    [('[1, 4]', 2), ('__default__', 1)]
    """
    if not segments or any(not one for one in segments):
        raise ValueError("segments: every segment needs at least one value or interval")
    series = column(values)
    intervals = series.dtype.is_numeric() and any(isinstance(v, str) and INTERVAL.match(v) for one in segments for v in one)
    names = [*(aliases or [])]
    names += [",".join(map(str, one)) for one in segments[len(names) :]]
    masks = [_within(_numbers(series), one) if intervals else _either(series, one) for one in segments]
    rest = ~np.logical_or.reduce(masks)
    found = [Choice(rows, name) for rows, name in zip(masks, names, strict=False)]
    return [*found, Choice(rest, names[len(segments)] if len(names) > len(segments) else "__default__")] if rest.any() else found


def _within(numbers: NDArray[np.float64], intervals: Sequence[Any]) -> Mask:
    chosen = np.zeros(len(numbers), dtype=bool)
    for text in intervals:
        low, high, closed_low, closed_high = read_interval(str(text))
        above = numbers >= low if closed_low else numbers > low
        chosen |= above & (numbers <= high if closed_high else numbers < high)
    return chosen


def _either(series: pl.Series, given: Sequence[Any]) -> Mask:
    rows = _among(series, given)
    return rows if rows.any() else _among(series, _cast(series, given))
