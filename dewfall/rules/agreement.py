"""Whether two models' answers to one request agree, and by how much their numbers differ.

Why not by bytes alone: one model writes 0.50, the other 0.5, and a JSON object's members have no order.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

TOLERANCE = 1e-6
LONGEST = 65_536  # bytes; longer answers are compared byte by byte


@dataclass(frozen=True, slots=True)
class Likeness:
    """`difference`: mean absolute difference of the numbers, where both answers have equally many of them and nothing else differs."""

    agrees: bool
    difference: float | None = None


def compare(left: bytes, right: bytes) -> Likeness:
    """Compare two answers: JSON or numbers in text by value, anything else by its bytes.

    >>> compare(b"0.50,1", b"0.5,3")
    Likeness(agrees=False, difference=1.0)
    """
    if left == right:
        return Likeness(True, 0.0)
    if max(len(left), len(right)) > LONGEST:
        return Likeness(False)
    ours, theirs = _values(left), _values(right)
    if ours is None or theirs is None:
        return Likeness(False)
    pairs: list[tuple[float, float]] = []
    if not _pair(ours, theirs, pairs):
        return Likeness(False)
    agrees = all(math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in pairs)
    gaps = [abs(a - b) for a, b in pairs]
    return Likeness(agrees, sum(gaps) / len(gaps) if gaps else 0.0)


def _values(answer: bytes) -> Any:
    """The answer as JSON, or as lines of comma-separated numbers and words; None for what is no text."""
    try:
        text = answer.decode()
    except UnicodeDecodeError:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return [[_number(cell.strip()) for cell in line.split(",")] for line in text.strip().splitlines()]


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def _pair(left: Any, right: Any, pairs: list[tuple[float, float]]) -> bool:
    """Whether two values are alike but for their numbers, which are added to `pairs`."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        pairs.append((float(left), float(right)))
        return True
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_pair(a, b, pairs) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_pair(value, right[name], pairs) for name, value in left.items())
    return bool(left == right)
