"""Schedule expressions, against the examples of the EventBridge user guide."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dewfall.rules.cron import next_time, parse

NOW = datetime(2026, 11, 24, 2, 30, tzinfo=UTC)  # a Tuesday


@pytest.mark.parametrize(
    ("expression", "then"),
    [
        ("cron(0 10 * * ? *)", "2026-11-24T10:00"),
        ("cron(15 12 * * ? *)", "2026-11-24T12:15"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-24T18:00"),
        ("cron(0 8 1 * ? *)", "2026-12-01T08:00"),
        ("cron(0/15 * * * ? *)", "2026-11-24T02:45"),
        ("cron(0/5 8-17 ? * MON-FRI *)", "2026-11-24T08:00"),
        ("cron(0 9 ? * 2#1 *)", "2026-12-07T09:00"),
        ("cron(0 0 L * ? *)", "2026-11-30T00:00"),
        ("cron(0 0 ? * 6L *)", "2026-11-27T00:00"),
        ("cron(0 0 15W * ? *)", "2026-12-15T00:00"),
        ("cron(0 0 1 JAN ? 2027)", "2027-01-01T00:00"),
    ],
)
def test_the_next_moment_of_a_cron_expression(expression: str, then: str) -> None:
    assert next_time(expression, NOW) == datetime.fromisoformat(then).replace(tzinfo=UTC)


def test_a_rate_counts_from_its_anchor() -> None:
    assert next_time("rate(5 minutes)", NOW, NOW - timedelta(minutes=7)) == NOW + timedelta(minutes=3)


def test_a_year_that_is_over_never_comes() -> None:
    assert next_time("cron(0 0 1 1 ? 2020)", NOW) is None


@pytest.mark.parametrize("text", ["rate(1 minutes)", "rate(5 minute)", "rate(0 minutes)", "cron(0 0 * * * *)", "cron(61 0 * * ? *)", "daily"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
