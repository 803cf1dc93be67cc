"""Managed spot training: when a machine is taken back, and what the time on it costs. The same seed interrupts the same jobs at the same moments.

The rate is that of a Poisson process, because capacity is taken back without regard to how long a job has run.
"""

from __future__ import annotations

import math
import random

PRICE = 0.3  # of the on-demand price; AWS's spot prices differ by type and hour, and save up to 90 %


def interrupted_after(rate: float, seed: int, job: str, attempt: int) -> float:
    """Seconds of an attempt until it is interrupted; infinite at a `rate` (interruptions per hour) of 0.

    >>> interrupted_after(0.0, 1, "job", 1)
    inf
    """
    if rate <= 0:
        return math.inf
    drawn = random.Random(f"{seed} {job} {attempt}").random()
    return -math.log(1.0 - drawn) / rate * 3600


def billable_seconds(seconds: int, *, spot: bool) -> int:
    """What is paid of the seconds trained, as seconds at the on-demand price; at least one.

    >>> billable_seconds(100, spot=True), billable_seconds(100, spot=False)
    (30, 100)
    """
    return max(1, math.ceil(seconds * PRICE)) if spot else seconds
