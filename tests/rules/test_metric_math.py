"""Metric math and statistics."""

from __future__ import annotations

import pytest

from dewfall.rules.metric_math import evaluate, names
from dewfall.rules.metric_stats import parse_stat, spread_value

M1 = {0: 1.0, 60: 2.0, 120: 6.0}
M2 = {0: 10.0, 60: 0.0}
SERIES = {"m1": M1, "m2": M2}
PERIODS = {"m1": 60, "m2": 60}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m1 + m2", {0: 11.0, 60: 2.0}),
        ("m1 / m2", {0: 0.1}),
        ("100 * (m1 - 1)", {0: 0.0, 60: 100.0, 120: 500.0}),
        ("2 ^ m1", {0: 2.0, 60: 4.0, 120: 64.0}),
        ("-m1 + 1", {0: 0.0, 60: -1.0, 120: -5.0}),
        ("SUM([m1, m2])", {0: 11.0, 60: 2.0, 120: 6.0}),
        ("AVG(METRICS())", {0: 5.5, 60: 1.0, 120: 6.0}),
        ('MAX(METRICS("1"))', {0: 1.0, 60: 2.0, 120: 6.0}),
        ("m1 / SUM(m1)", {0: 1 / 9, 60: 2 / 9, 120: 6 / 9}),
        ("FILL(m2, 7)", {0: 10.0, 60: 0.0, 120: 7.0}),
        ("FILL(m2, REPEAT)", {0: 10.0, 60: 0.0, 120: 0.0}),
        ("IF(m1 > 1 AND m1 < 5, m1, 0)", {0: 0.0, 60: 2.0, 120: 0.0}),
        ("IF(m1 >= 2, m1)", {60: 2.0, 120: 6.0}),
        ("RATE(m1)", {60: 1 / 60, 120: 4 / 60}),
        ("DIFF(m1)", {60: 1.0, 120: 4.0}),
        ("RUNNING_SUM(m1)", {0: 1.0, 60: 3.0, 120: 9.0}),
        ("m1 * PERIOD(m1)", {0: 60.0, 60: 120.0, 120: 360.0}),
        ("CEIL(m1 / 4)", {0: 1.0, 60: 1.0, 120: 2.0}),
        ("MIN(m1)", {0: 1.0, 60: 1.0, 120: 1.0}),
    ],
)
def test_expressions(expression: str, expected: dict[int, float]) -> None:
    (found,) = evaluate(expression, SERIES, PERIODS)
    assert found == pytest.approx(expected)


def test_a_list_gives_several_series() -> None:
    assert evaluate("METRICS() * 2", SERIES, PERIODS) == [{0: 2.0, 60: 4.0, 120: 12.0}, {0: 20.0, 60: 0.0}]


@pytest.mark.parametrize("expression", ["m1 +", "m3", "(m1", "NOPE(m1)", "m1 m2", "[1]", "SUM()", "m1 $ 2"])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError):
        evaluate(expression, SERIES, PERIODS)


def test_names_are_ids() -> None:
    assert names('SUM([m1, e2]) + METRICS("x")') == {"m1", "e2"}


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        ("p50", 5.0),
        ("p99.9", 10.0),
        ("p0", 1.0),
        ("tm90", 5.0),
        ("TM(10%:90%)", 5.5),
        ("TM(2:4)", 3.5),
        ("tc90", 9.0),
        ("TS(80%:)", 19.0),
        ("PR(:3)", 30.0),
        ("wm(10%:90%)", 5.5),
        ("IQM", 5.5),
    ],
)
def test_statistics_of_one_to_ten(stat: str, expected: float) -> None:
    assert spread_value(parse_stat(stat), [(float(n), 1.0) for n in range(1, 11)]) == pytest.approx(expected)


def test_unknown_values_give_no_percentile() -> None:
    assert spread_value(parse_stat("p50"), [(float("nan"), 3.0), (1.0, 1.0)]) is None


@pytest.mark.parametrize("text", ["p101", "Median", "TM(:)", "average", ""])
def test_what_is_no_statistic_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_stat(text)
