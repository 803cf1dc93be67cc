"""When monitoring runs, and what it looks at."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime

import pytest

from dewfall.rules import monitoring


def test_examples() -> None:
    assert doctest.testmod(monitoring).failed == 0


@pytest.mark.parametrize(
    ("expression", "hours"),
    [("cron(0 * ? * * *)", (8, 9)), ("cron(0 9 ? * * *)", (9, 9)), ("cron(0 0/3 ? * * *)", (6, 9)), ("NOW", (8, 9))],
)
def test_a_run_looks_at_what_came_since_the_one_before(expression: str, hours: tuple[int, int]) -> None:
    start, end = monitoring.window(expression, datetime(2026, 5, 4, 9, tzinfo=UTC))
    assert (start.hour, end.hour) == hours


@pytest.mark.parametrize("text", ["", "P", "PT", "1H", "-1D"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not an ISO 8601 duration"):
        monitoring.duration(text)
