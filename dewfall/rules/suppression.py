"""Whether a composite alarm's actions are held back by its suppressor alarm just now.

Source: CloudWatch User Guide, "Suppressing composite alarm actions". Times in seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

ALARM, WAITING, EXTENDED = "Alarm", "WaitPeriod", "ExtensionPeriod"
REASONS = {
    ALARM: "Actions suppressed by {}",
    WAITING: "Actions suppressed by WaitPeriod",
    EXTENDED: "Actions suppressed by ExtensionPeriod",
}


@dataclass(frozen=True, slots=True)
class Suppressor:
    """The alarm that holds actions back: whether it is in ALARM, since when it is in its state, and its two periods."""

    is_alarming: bool
    since: float
    wait: float
    extension: float


def suppressed_by(suppressor: Suppressor, changed: float, before: str, now: float) -> str:
    """What holds the actions back that a change of state at `changed` calls for; "" when they may be taken.

    `before`: what held them back at the last look. After the suppressor has left its ALARM state only the extension counts, before it has
    entered it only the wait.

    >>> suppressed_by(Suppressor(False, 0.0, 60.0, 30.0), 100.0, "", 130.0), suppressed_by(Suppressor(False, 0.0, 60.0, 30.0), 100.0, "", 160.0)
    ('WaitPeriod', '')
    """
    if suppressor.is_alarming:
        return ALARM
    if before in (ALARM, EXTENDED):
        return EXTENDED if now < suppressor.since + suppressor.extension else ""
    return WAITING if now < changed + suppressor.wait else ""
