"""What a report consists of, apart from how it is written.

>>> report = Report("Bias", [Heading("Labels"), Text("Two facets."), Table(["metric", "value"], [["CI", 0.4]])])
>>> len(report.blocks)
3
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dewfall.ml.plots.look import Spec


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title; level 1 is the largest below the report's own."""

    text: str
    level: int = 1


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; tone "plain", "good" or "bad"."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns and rows of values. marks: numbers of rows that ask for attention."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    marks: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Chart:
    """A Vega-Lite document with a sentence below it."""

    spec: Spec
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture (JPEG or PNG) with a sentence below it."""

    body: bytes
    caption: str = ""

    @property
    def kind(self) -> str:
        """Its media type."""
        return "image/png" if self.body.startswith(b"\x89PNG") else "image/jpeg"


Block = Heading | Text | Table | Chart | Picture


@dataclass(frozen=True, slots=True)
class Report:
    """A title, a line below it, and blocks in reading order."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    subtitle: str = ""


def printed(value: Any) -> str:
    """A cell's text: five significant digits, ∞ for infinite, – for nothing.

    >>> printed(0.123456789), printed(None), printed(float("-inf")), printed(12), printed("a")
    ('0.12346', '–', '-∞', '12', 'a')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.5g}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")
    return {"Infinity": "∞", "-Infinity": "-∞"}.get(str(value), str(value))
