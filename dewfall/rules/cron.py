"""AWS's schedule expressions: `rate(5 minutes)`, `cron(0 12 * * ? *)`, `at(2026-01-01T00:00:00)`; all in UTC.

Source: EventBridge User Guide, "Cron and rate expressions". Fields of cron: minutes hours day-of-month month day-of-week year.
"""

from __future__ import annotations

import calendar
import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_RATE = re.compile(r"^rate\((\d+) (minute|minutes|hour|hours|day|days)\)$")
_AT = re.compile(r"^at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)$")
_CRON = re.compile(r"^cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)$")
MONTHS = {name: n for n, name in enumerate(["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], 1)}
DAYS = {name: n for n, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 1)}
LAST_YEAR = 2199


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed cron expression; day fields stay text because L, W and # depend on the month."""

    minutes: frozenset[int]
    hours: frozenset[int]
    day: str
    months: frozenset[int]
    weekday: str
    years: frozenset[int]


@functools.lru_cache(512)
def parse(expression: str) -> Cron | timedelta | datetime:
    """Raises ValueError for what is no schedule expression.

    >>> parse("rate(5 minutes)")
    datetime.timedelta(seconds=300)
    """
    rate = _RATE.match(expression)
    if rate:
        count, unit = int(rate[1]), rate[2]
        if count < 1 or (count == 1) == unit.endswith("s"):
            raise ValueError(f"{expression}: write rate(1 minute) but rate(5 minutes)")
        return timedelta(**{unit.rstrip("s") + "s": count})
    at = _AT.match(expression)
    if at:
        return datetime.fromisoformat(at[1]).replace(tzinfo=UTC)
    cron = _CRON.match(expression)
    if cron is None:
        raise ValueError(f"{expression} is neither rate(…), cron(…) nor at(…)")
    minute, hour, day, month, weekday, year = cron.groups()
    if (day == "?") == (weekday == "?"):
        raise ValueError(f"{expression}: exactly one of day-of-month and day-of-week must be ?")
    for text, names, low, high in ((day.rstrip("LW") or "*", {}, 1, 31), (re.sub(r"(#\d|L)$", "", weekday) or "*", DAYS, 1, 7)):
        if text != "?":
            _values(text, low, high, names)
    years = _values(year, 1970, LAST_YEAR, {})
    return Cron(_values(minute, 0, 59, {}), _values(hour, 0, 23, {}), day, _values(month, 1, 12, MONTHS), weekday, years)


def next_time(expression: str, after: datetime, anchor: datetime | None = None) -> datetime | None:
    """The first moment later than `after`; of a rate counted from `anchor`. None when it never comes.

    >>> next_time("cron(0 12 * * ? *)", datetime(2026, 1, 1, 13, tzinfo=UTC)).isoformat()
    '2026-01-02T12:00:00+00:00'
    """
    schedule = parse(expression)
    if isinstance(schedule, datetime):
        return schedule if schedule > after else None
    if isinstance(schedule, timedelta):
        start = anchor or after
        return start + schedule * (max(0, (after - start) // schedule) + 1)
    return _next_cron(schedule, after)


def _next_cron(cron: Cron, after: datetime) -> datetime | None:
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    day = moment.date()
    while day.year <= min(LAST_YEAR, after.year + 50):
        if day.year in cron.years and day.month in cron.months and day.day in _days(cron, day.year, day.month):
            for hour in sorted(cron.hours):
                for minute in sorted(cron.minutes):
                    found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                    if found >= moment:
                        return found
        day += timedelta(days=1)
    return None


@functools.lru_cache(256)
def _days(cron: Cron, year: int, month: int) -> frozenset[int]:
    """The days of a month on which the expression fires."""
    last = calendar.monthrange(year, month)[1]
    if cron.day != "?":
        return _month_days(cron.day, year, month, last)
    weekdays = {d: (calendar.weekday(year, month, d) + 1) % 7 + 1 for d in range(1, last + 1)}
    if "#" in cron.weekday:
        name, _, place = cron.weekday.partition("#")
        wanted = next(iter(_values(name, 1, 7, DAYS)))
        fitting = [d for d, w in weekdays.items() if w == wanted]
        return frozenset(fitting[int(place) - 1 : int(place)])
    if cron.weekday.endswith("L") and cron.weekday != "L":
        wanted = next(iter(_values(cron.weekday[:-1], 1, 7, DAYS)))
        return frozenset([max(d for d, w in weekdays.items() if w == wanted)])
    values = frozenset([7]) if cron.weekday == "L" else _values(cron.weekday, 1, 7, DAYS)
    return frozenset(d for d, w in weekdays.items() if w in values)


def _month_days(text: str, year: int, month: int, last: int) -> frozenset[int]:
    if text in ("L", "LW"):
        day = last
    elif text.endswith("W"):
        day = min(int(text[:-1]), last)
    else:
        return _values(text, 1, 31, {})
    if text.endswith("W"):
        weekday = calendar.weekday(year, month, day)
        if weekday == 5:
            day += -1 if day > 1 else 2
        elif weekday == 6:
            day += 1 if day < last else -2
    return frozenset([day])


def _values(text: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, end = low, high
        elif "-" in span:
            first, end = (_number(piece, names) for piece in span.split("-", 1))
        else:
            first = _number(span, names)
            end = high if step else first
        if not low <= first <= high or not low <= end <= high or (step and not step.isdigit()):
            raise ValueError(f"{text}: values go from {low} to {high}")
        steps = range(first, end + 1, int(step or 1)) if first <= end else [*range(first, high + 1), *range(low, end + 1)]
        found.update(steps)
    return frozenset(found)


def _number(text: str, names: dict[str, int]) -> int:
    if text.upper() in names:
        return names[text.upper()]
    if not text.isdigit():
        raise ValueError(f"{text!r} is no value of a cron field")
    return int(text)
