"""When a monitoring schedule runs, and which stretch of time it looks at."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from dewfall.rules import cron

NOW = "NOW"
HOURLY = re.compile(r"^cron\(0 (\*|\d{1,2}|\d{1,2}/\d{1,2}|\*/\d{1,2}) \? \* \* \*\)$")
DURATION = re.compile(r"^(-)?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$")


def check(expression: str) -> None:
    """Raises ValueError for what Model Monitor does not take: hourly and daily cron expressions, and NOW.

    >>> check("cron(0 * ? * * *)"), check("NOW")
    (None, None)
    """
    if expression != NOW and not HOURLY.match(expression):
        raise ValueError(f"{expression} is not a supported schedule: use cron(0 [hour] ? * * *), cron(0 [hour]/[hours] ? * * *) or NOW")
    if expression != NOW:
        cron.parse(expression)


def next_run(expression: str, after: datetime) -> datetime | None:
    """The first run later than `after`; None where there is none (NOW)."""
    return None if expression == NOW else cron.next_time(expression, after)


def last_due(expression: str, due: datetime, now: datetime) -> datetime:
    """Of the runs from `due` to `now`, the last: what was missed is caught up with once.

    >>> from datetime import UTC
    >>> last_due("cron(0 * ? * * *)", datetime(2026, 1, 1, 3, tzinfo=UTC), datetime(2026, 1, 1, 6, 30, tzinfo=UTC)).hour
    6
    """
    at = due
    while True:
        later = next_run(expression, at)
        if later is None or later > now:
            return at
        at = later


def window(expression: str, at: datetime, start: str = "", end: str = "") -> tuple[datetime, datetime]:
    """What a run at `at` looks at: from the run before it to itself; for NOW, or where offsets are given, by ISO 8601 durations from `at`.

    >>> from datetime import UTC
    >>> [t.hour for t in window("cron(0 3/6 ? * * *)", datetime(2026, 1, 1, 9, tzinfo=UTC))]
    [3, 9]
    >>> [t.hour for t in window("NOW", datetime(2026, 1, 1, 9, tzinfo=UTC), "-PT3H", "-PT1H")]
    [6, 8]
    """
    if start or end:
        return at + duration(start or "-PT1H"), at + duration(end or "PT0H")
    if expression == NOW:
        return at - timedelta(hours=1), at
    before = at - timedelta(hours=24)
    while True:
        later = next_run(expression, before)
        if later is None or later >= at:
            return before, at
        before = later


def duration(text: str) -> timedelta:
    """An ISO 8601 duration of days and times, perhaps negative. Raises ValueError.

    >>> duration("-P1DT2H")
    datetime.timedelta(days=-2, seconds=79200)
    """
    found = DURATION.match(text)
    if found is None or not any(found.groups()[1:]):
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[1:])
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return -length if found[1] else length
