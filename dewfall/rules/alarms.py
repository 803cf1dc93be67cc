"""What state a metric alarm has, judged from the points of its evaluation range.

Why pure: missing data makes this subtle (AWS: "Configuring how CloudWatch alarms treat missing data"), and a table of cases tests it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"

# Operator → (breaches a value the threshold?, AWS's words for it)
WORDS = {
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "GreaterThanThreshold": "greater than",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
EXTRA = 2  # points beyond the evaluated ones that are fetched, so that a gap does not hide what is known


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state, and the places of the points that it was judged by (indexes into the evaluation range, oldest first)."""

    state: str
    evaluated: tuple[int, ...] = ()
    filled: int = 0  # missing points that were counted as breaching or not


def breaches(value: float, operator: str, threshold: float) -> bool:
    """Whether a value is on the wrong side."""
    if operator == "GreaterThanOrEqualToThreshold":
        return value >= threshold
    if operator == "GreaterThanThreshold":
        return value > threshold
    if operator == "LessThanThreshold":
        return value < threshold
    return value <= threshold


def judge(points: Sequence[bool | None], periods: int, to_alarm: int, treat_missing: str, state: str) -> Verdict:
    """The state after an evaluation.

    points: the evaluation range, oldest first: breaching, not breaching, or None for missing. periods: N; to_alarm: M of N.
    treat_missing: missing | ignore | breaching | notBreaching. state: the present one, kept where the answer is "as before".

    >>> judge([False, None, True, None, True], 3, 2, "missing", "OK").state
    'ALARM'
    """
    real = [n for n, point in enumerate(points) if point is not None]
    if len(real) >= periods:
        window = tuple(real[-periods:])
        return Verdict(ALARM if sum(bool(points[n]) for n in window) >= to_alarm else OK, window)
    breaching = sum(bool(points[n]) for n in real)
    gaps = periods - len(real)
    window = tuple(real)
    if treat_missing == "breaching":
        return Verdict(ALARM if breaching + gaps >= to_alarm else OK, window, gaps)
    if treat_missing == "notBreaching":
        return Verdict(ALARM if breaching >= to_alarm else OK, window, gaps)
    if breaching >= to_alarm:
        return Verdict(ALARM, window)
    if breaching < len(real):
        return Verdict(OK, window)
    if treat_missing == "ignore":
        return Verdict(state, window)
    if not real:
        return Verdict(INSUFFICIENT)
    # One breaching point is not taken for the beginning of an alarm before it is as old as the points that an alarm needs.
    return Verdict(ALARM if len(points) - real[0] >= to_alarm else state, window)
