"""Actions of composite alarms, held back by a suppressor: the timelines of CloudWatch's documentation."""

from __future__ import annotations

import pytest

from dewfall.rules.suppression import Suppressor, suppressed_by


@pytest.mark.parametrize(
    ("suppressor", "before", "now", "expected"),
    [
        (Suppressor(True, 50.0, 60.0, 30.0), "", 100.0, "Alarm"),
        (Suppressor(False, 0.0, 60.0, 30.0), "", 100.0, "WaitPeriod"),
        (Suppressor(False, 0.0, 60.0, 30.0), "WaitPeriod", 160.0, ""),
        (Suppressor(True, 130.0, 60.0, 30.0), "WaitPeriod", 131.0, "Alarm"),
        (Suppressor(False, 200.0, 60.0, 30.0), "Alarm", 210.0, "ExtensionPeriod"),
        (Suppressor(False, 200.0, 60.0, 30.0), "ExtensionPeriod", 230.0, ""),
        (Suppressor(False, 0.0, 0.0, 0.0), "", 100.0, ""),
    ],
)
def test_timelines(suppressor: Suppressor, before: str, now: float, expected: str) -> None:
    """The composite alarm changed its state at 100."""
    assert suppressed_by(suppressor, 100.0, before, now) == expected
