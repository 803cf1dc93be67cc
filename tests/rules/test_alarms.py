"""Alarm states by the tables of AWS's documentation on missing data."""

from __future__ import annotations

import pytest

from dewfall.rules.alarms import ALARM, INSUFFICIENT, OK, breaches, judge

KEEP = "as before"
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


@pytest.mark.parametrize(
    ("to_alarm", "points", "expected"),
    [
        (3, "0-X-X", (OK, OK, OK, OK)),
        (3, "0----", (OK, OK, OK, OK)),
        (3, "-----", (INSUFFICIENT, KEEP, ALARM, OK)),
        (3, "0XX-X", (ALARM, ALARM, ALARM, ALARM)),
        (3, "--X--", (ALARM, KEEP, ALARM, OK)),
        (3, "----X", (KEEP, KEEP, ALARM, OK)),
        (3, "---X-", (KEEP, KEEP, ALARM, OK)),
        (2, "0-X-X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "00X0X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "0-X--", (OK, OK, ALARM, OK)),
        (2, "----0", (OK, OK, ALARM, OK)),
        (2, "---X-", (ALARM, KEEP, ALARM, OK)),
    ],
)
def test_the_tables(to_alarm: int, points: str, expected: tuple[str, ...]) -> None:
    marks = [{"0": False, "X": True, "-": None}[mark] for mark in points]
    assert tuple(judge(marks, 3, to_alarm, treatment, KEEP).state for treatment in TREATMENTS) == expected


def test_a_verdict_names_the_points_it_was_judged_by() -> None:
    verdict = judge([True, False, None, True, True], 3, 3, "missing", OK)
    assert (verdict.state, verdict.evaluated) == (OK, (1, 3, 4))
    assert judge([None, None, True], 3, 1, "breaching", OK).filled == 2


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("GreaterThanThreshold", [False, False, True]),
        ("GreaterThanOrEqualToThreshold", [False, True, True]),
        ("LessThanThreshold", [True, False, False]),
        ("LessThanOrEqualToThreshold", [True, True, False]),
    ],
)
def test_operators(operator: str, expected: list[bool]) -> None:
    assert [breaches(value, operator, 5.0) for value in (4.0, 5.0, 6.0)] == expected
