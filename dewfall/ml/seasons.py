"""What a time stamp says about a series: features of the calendar, and how far back a forecaster should look."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNITS = {"M": "M", "W": "W", "D": "D", "H": "h", "min": "min"}
# Unit → calendar fields with their lowest and highest value.
FIELDS: dict[str, tuple[tuple[str, int, int], ...]] = {
    "M": (("month", 1, 12),),
    "W": (("day", 1, 31), ("week", 1, 53)),
    "D": (("day_of_week", 0, 6), ("day", 1, 31), ("day_of_year", 1, 366)),
    "H": (("hour", 0, 23), ("day_of_week", 0, 6), ("day", 1, 31), ("day_of_year", 1, 366)),
    "min": (("minute", 0, 59), ("hour", 0, 23), ("day_of_week", 0, 6), ("day", 1, 31), ("day_of_year", 1, 366)),
}
# Unit → lengths of its seasons in units, with how many of each to look back.
SEASONS: dict[str, tuple[tuple[int, int], ...]] = {
    "M": ((12, 3),),
    "W": ((4, 3), (52, 2)),
    "D": ((7, 4), (30, 1), (364, 1)),
    "H": ((24, 7), (168, 4)),
    "min": ((60, 4), (1440, 7)),
}
SHORT = 7


@dataclass(frozen=True, slots=True)
class Frequency:
    """`every` units of M, W, D, H or min."""

    every: int
    unit: str

    @property
    def code(self) -> str:
        """As pandas calls it."""
        return f"{self.every}{UNITS[self.unit]}"


def parse_frequency(text: str) -> Frequency:
    """ValueError when the text is no frequency.

    >>> parse_frequency("5min"), parse_frequency("H")
    (Frequency(every=5, unit='min'), Frequency(every=1, unit='H'))
    """
    found = re.fullmatch(r"(\d*)(M|W|D|H|h|min)", text.strip())
    if found is None or found[1] == "0":
        raise ValueError(f"{text!r} is not an integer followed by M, W, D, H or min")
    return Frequency(int(found[1] or 1), "H" if found[2] == "h" else found[2])


def lags(frequency: Frequency, longest: int) -> list[int]:
    """Steps to look back: the latest ones, and whole seasons with their neighbours, none longer than `longest`.

    >>> lags(Frequency(1, "D"), 15)
    [1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15]
    """
    found = set(range(1, SHORT + 1))
    for length, count in SEASONS[frequency.unit]:
        for season in range(1, count + 1):
            steps = round(length * season / frequency.every)
            found |= {steps - 1, steps, steps + 1} if steps > 1 else set()
    return sorted(step for step in found if 0 < step <= max(longest, 1))


def calendar(start: str, frequency: Frequency, first: int, count: int) -> NDArray[np.float32]:
    """(count, fields) features in [-0.5, 0.5] of the steps first, first + 1, … counted from `start`. ValueError for a start that is no date."""
    import pandas as pd

    try:
        begin: Any = pd.Period(start, freq=frequency.code)
    except (ValueError, TypeError):
        raise ValueError(f"start {start!r} is not a date such as '2012-01-30 00:00:00'") from None
    index: Any = pd.period_range(begin + first, periods=count, freq=frequency.code)
    columns = [(np.asarray(getattr(index, name)) - low) / (high - low) - 0.5 for name, low, high in FIELDS[frequency.unit]]
    return np.stack(columns, axis=1).astype(np.float32)
