"""A data set's statistics.json and the constraints.json suggested from it, as Model Monitor's baselining writes them.

Batches are folded one by one, so a file of any size needs the memory of one batch, the sketches and the categories. Members and rules are
AWS's: population standard deviation, ten equal buckets counted from a KLL sketch, domains for columns of few categories.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from dewfall.ml import kll

MOST_CATEGORIES = 120
KEPT_CATEGORIES = 100_000
INTEGRAL, FRACTIONAL, STRING, UNKNOWN = "Integral", "Fractional", "String", "Unknown"
MONITORING = {
    "evaluate_constraints": "Enabled",
    "emit_metrics": "Enabled",
    "datatype_check_threshold": 1.0,
    "domain_content_threshold": 1.0,
    "distribution_constraints": {
        "perform_comparison": "Enabled",
        "comparison_threshold": 0.1,
        "comparison_method": "Robust",
        "categorical_comparison_threshold": 0.1,
        "categorical_drift_method": "LInfinity",
    },
}


@dataclass(slots=True)
class _Column:
    """What has been seen of one column."""

    kind: str = UNKNOWN
    present: int = 0
    missing: int = 0
    finite: int = 0
    total: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    sketch: kll.Sketch = field(default_factory=kll.Sketch)
    counts: dict[str, int] = field(default_factory=dict)


def profile(batches: pl.DataFrame | Iterable[pl.DataFrame], *, sketches: bool = True) -> dict[str, Any]:
    """statistics.json of a table, given whole or in batches with the same columns.

    Integers are Integral, floats Fractional, all others String, columns without values Unknown; whole numbers that later turn fractional make
    a column Fractional. NaN counts as missing. Infinite values are present but in no statistic. Of a text column the first 100,000
    different values are counted, the 120 most frequent listed. sketches: False leaves out the KLL sketch and its buckets (faster).
    Raises ValueError (batches) without rows, and when columns change, or one between numbers and text.

    >>> held = profile(pl.DataFrame({"a": [1, 2, None]}))["features"][0]
    >>> held["inferred_type"], held["numerical_statistics"]["common"], held["numerical_statistics"]["std_dev"]
    ('Integral', {'num_present': 2, 'num_missing': 1}, 0.5)
    """
    rows = 0
    columns: dict[str, _Column] = {}
    for batch in [batches] if isinstance(batches, pl.DataFrame) else batches:
        columns = columns or {name: _Column() for name in batch.columns}
        if list(columns) != batch.columns:
            raise ValueError(f"batches: the columns change from {list(columns)} to {batch.columns}")
        for name, column in columns.items():
            _learn(column, batch[name], sketches)
        rows += batch.height
    if not rows:
        raise ValueError("batches: there are no rows")
    return {"version": 0.0, "dataset": {"item_count": rows}, "features": [_feature(name, c, sketches) for name, c in columns.items()]}


def _learn(column: _Column, series: pl.Series, sketches: bool) -> None:
    series = series.fill_nan(None) if series.dtype.is_float() else series
    missing = series.null_count()
    column.missing += missing
    column.present += len(series) - missing
    if missing == len(series):
        return
    kind = INTEGRAL if series.dtype.is_integer() else FRACTIONAL if series.dtype.is_numeric() else STRING
    if column.kind != UNKNOWN and (kind == STRING) != (column.kind == STRING):
        raise ValueError(f"batches: column {series.name} changes from {column.kind} to {kind}")
    column.kind = FRACTIONAL if column.kind == FRACTIONAL else kind
    present = series.drop_nulls() if missing else series
    if kind == STRING:
        _count(column, present)
    else:
        _measure(column, present.cast(pl.Float64).to_numpy(), sketches)


def _count(column: _Column, present: pl.Series) -> None:
    text = present.replace_strict({True: "true", False: "false"}) if present.dtype == pl.Boolean else present.cast(pl.String)
    counted = text.alias("value").value_counts()
    for value, count in counted.iter_rows():
        if value in column.counts or len(column.counts) < KEPT_CATEGORIES:
            column.counts[value] = column.counts.get(value, 0) + count


def _measure(column: _Column, numbers: Any, sketches: bool) -> None:
    """Fold a batch's moments (Chan's formula) and items."""
    low, high = float(numbers.min()), float(numbers.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            return
        low, high = float(numbers.min()), float(numbers.max())
    count, total = len(numbers), float(numbers.sum())
    mean = total / count
    away = numbers - mean
    squares = float(away @ away)
    both = column.finite + count
    gap = mean - column.mean
    column.squares += squares + gap * gap * column.finite * count / both
    column.mean += gap * count / both
    column.finite, column.total = both, column.total + total
    column.low, column.high = min(column.low, low), max(column.high, high)
    if sketches:
        column.sketch = kll.learn(column.sketch, numbers)


def _feature(name: str, column: _Column, sketches: bool) -> dict[str, Any]:
    common = {"num_present": column.present, "num_missing": column.missing}
    held: dict[str, Any] = {"name": name, "inferred_type": column.kind}
    if column.kind == STRING:
        found = sorted(column.counts.items(), key=lambda one: (-one[1], one[0]))
        buckets = [{"value": value, "count": count} for value, count in found[:MOST_CATEGORIES]]
        distribution = {"categorical": {"buckets": buckets}}
        return held | {"string_statistics": {"common": common, "distinct_count": float(len(found)), "distribution": distribution}}
    if not column.finite:
        return held | {"numerical_statistics": {"common": common}} if column.kind != UNKNOWN else held | {"string_statistics": {"common": common}}
    numbers: dict[str, Any] = {
        "common": common,
        "mean": column.mean,
        "sum": column.total,
        "std_dev": math.sqrt(max(0.0, column.squares / column.finite)),
        "min": column.low,
        "max": column.high,
    }
    if sketches:
        edges = kll.buckets(column.sketch, column.low, column.high)
        numbers["distribution"] = {"kll": {"buckets": edges, "sketch": kll.to_json(column.sketch)}}
    return held | {"numerical_statistics": numbers}


def suggest_constraints(statistics: dict[str, Any]) -> dict[str, Any]:
    """constraints.json from a baseline's statistics.json: completeness as seen, numbers that were never negative, domains of at most 120 values.

    Raises ValueError (statistics) when it holds no features.

    >>> suggest_constraints(profile(pl.DataFrame({"a": [1, 2]})))["features"]
    [{'name': 'a', 'inferred_type': 'Integral', 'completeness': 1.0, 'num_constraints': {'is_non_negative': True}}]
    """
    if "features" not in statistics:
        raise ValueError("statistics: holds no features")
    distribution = dict(MONITORING["distribution_constraints"])  # type: ignore[call-overload]
    config = {**MONITORING, "distribution_constraints": distribution}
    return {"version": 0.0, "features": [_constraint(one) for one in statistics["features"]], "monitoring_config": config}


def _constraint(feature: dict[str, Any]) -> dict[str, Any]:
    held = feature.get("numerical_statistics") or feature["string_statistics"]
    present, missing = held["common"]["num_present"], held["common"]["num_missing"]
    found = {"name": feature["name"], "inferred_type": feature["inferred_type"], "completeness": present / (present + missing)}
    if "min" in held:
        return found | {"num_constraints": {"is_non_negative": held["min"] >= 0}}
    if "distribution" in held and held["distinct_count"] <= MOST_CATEGORIES:
        domain = [bucket["value"] for bucket in held["distribution"]["categorical"]["buckets"]]
        return found | {"string_constraints": {"domains": domain}}
    return found
