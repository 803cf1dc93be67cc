"""Rules of composite alarms."""

from __future__ import annotations

import pytest

from dewfall.rules.alarm_rules import alarms_in, compile_rule

STATES = {"a": "ALARM", "b c": "OK", "d": "INSUFFICIENT_DATA"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ALARM(a)", True),
        ('ALARM("a") AND OK("b c")', True),
        ("OK(a) OR INSUFFICIENT_DATA(d)", True),
        ("NOT ALARM(a)", False),
        ("ALARM(a) AND (OK(d) OR NOT ALARM(d))", True),
        ("ALARM(unknown) OR FALSE", False),
        ("TRUE", True),
    ],
)
def test_rules(rule: str, expected: bool) -> None:
    assert compile_rule(rule)(STATES) is expected


@pytest.mark.parametrize("rule", ["", "ALARM()", "ALARM(a", "ALARM(a) ALARM(b)", "(ALARM(a)", "AND"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(ValueError):
        compile_rule(rule)


def test_the_alarms_of_a_rule() -> None:
    assert alarms_in('ALARM(a) OR OK("b c") OR OK(a)') == ["a", "b c"]
