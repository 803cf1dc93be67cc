"""Beyond AWS: drift and quality of parts of the data, told apart by the values of a column that `segment_attribute` names.

A model that is well on the whole may fail a group; a group's data may have moved where the whole has not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from dewfall.images.monitor import outcome, records
from dewfall.images.monitor.settings import Settings
from dewfall.ml import comparison, datatypes, quality
from dewfall.ml.profile import profile
from dewfall.ml.reports.document import Block, Heading, Table, Text

ATTRIBUTE = "segment_attribute"
MOST = 10  # segments, the largest ones
FEWEST = 30  # rows of a segment from which a shift is worth attention
MISSING = "(missing)"
SHOWN = ("accuracy", "precision", "recall", "f1", "auc", "weighted_f1", "mae", "rmse", "r2")
Tables = Callable[[], Iterator[pl.DataFrame]]


def data(settings: Settings, tables: Tables, kinds: dict[str, str], baseline: dict[str, Any] | None) -> list[Block]:
    """Each segment's drift against the whole baseline; segments.json and the blocks of the page. Nothing where no segments are asked for."""
    attribute = settings.attribute(ATTRIBUTE)
    if attribute is None:
        return []
    column = records.column(list(kinds), attribute, ATTRIBUTE)
    counts: Counter[str] = Counter()
    for table in tables():
        if column in table.columns:
            counts.update(dict(table[column].fill_null(MISSING).value_counts().iter_rows()))
    told, rows = [], []
    for value, count in counts.most_common(MOST):
        statistics = profile(datatypes.cast(part, kinds) for part in _parts(tables, column, value, kinds))
        moves = [move for move in comparison.compare(statistics, baseline) if move.name != column] if baseline else []
        told.append({"value": value, "item_count": count, "features": [outcome.plain(asdict(move)) for move in moves]})
        furthest = max(moves, key=lambda move: move.psi, default=None)
        rows.append([value, count, *((furthest.name, furthest.psi, furthest.jensen_shannon) if furthest else (None, None, None))])
    _write(settings, column, told)
    moved = frozenset(place for place, row in enumerate(rows) if row[3] is not None and row[3] > comparison.SHIFT and row[1] >= FEWEST)
    head = ["segment", "rows", "furthest feature", "its PSI", "its Jensen–Shannon"]
    return [Heading(f"Segments by {column}"), *_note(counts), Table(head, rows, moved)]


def model(
    settings: Settings, segments: Sequence[str] | None, labels: Sequence[Any], predicted: Sequence[Any], scores: Sequence[float] | None
) -> list[Block]:
    """Each segment's quality; segments.json and the blocks of the page. Nothing where no segments are asked for."""
    if segments is None:
        return []
    counts = Counter(segments)
    told: list[dict[str, Any]] = []
    for value, count in counts.most_common(MOST):
        places = [place for place, one in enumerate(segments) if one == value]
        chosen = None if scores is None else [scores[place] for place in places]
        entry: dict[str, Any] = {"value": value, "item_count": count}
        try:
            found = quality.model_quality(settings.problem, [labels[place] for place in places], [predicted[place] for place in places], chosen)
            section = next(name for name in found if name.endswith("_metrics"))
            numbers = {name: held["value"] for name, held in found[section].items() if isinstance(held, dict) and "value" in held}
            entry["metrics"] = outcome.plain({name: one for name, one in numbers.items() if isinstance(one, (int, float))})
        except ValueError as error:
            entry["error"] = str(error)
        told.append(entry)
    name = str(settings.attribute(ATTRIBUTE))
    _write(settings, name, told)
    known = [one for one in SHOWN if any(one in entry.get("metrics", {}) for entry in told)]
    rows = [[entry["value"], entry["item_count"], *(entry.get("metrics", {}).get(one) for one in known)] for entry in told]
    return [Heading(f"Segments by {name}"), *_note(counts), Table(["segment", "rows", *known], rows)]


def _parts(tables: Tables, column: str, value: str, kinds: dict[str, str]) -> Iterator[pl.DataFrame]:
    """The rows of a segment, all columns in the order of `kinds`."""
    for table in tables():
        if column not in table.columns:
            continue
        part = table.filter(pl.col(column).fill_null(MISSING) == value)
        if part.height:
            yield records.whole(part, list(kinds))


def _note(counts: Counter[str]) -> list[Block]:
    return [Text(f"Shown are the {MOST} largest of {len(counts)} segments.")] if len(counts) > MOST else []


def _write(settings: Settings, name: str, told: list[dict[str, Any]]) -> None:
    outcome.write(settings.output, "segments.json", {"version": "1.0", "segment_attribute": name, "segments": told})
