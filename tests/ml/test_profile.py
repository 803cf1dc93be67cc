"""Statistics files and correlations against golden values, Polars and SciPy."""

import doctest
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from dewfall.ml import correlations, profile

RNG = np.random.default_rng(3)
SEQUENCE = ((np.arange(20000) * 7919) % 10007) / 10
MIXED = pl.DataFrame({"n": [1, -2, None, 4], "f": [0.5, float("nan"), 2.0, float("inf")], "s": ["a", None, "b", "a"], "e": [None] * 4})


def feature(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["features"] if one["name"] == name)
    return found


def test_examples() -> None:
    assert doctest.testmod(profile).failed == 0
    assert doctest.testmod(correlations).failed == 0


def test_numbers_equal_the_golden_column(golden: Callable[[str], Any]) -> None:
    want = golden("kll_golden")
    found = feature(profile.profile(pl.DataFrame({"x": SEQUENCE})), "x")["numerical_statistics"]
    names = {"mean": "mean", "sum": "sum", "std_dev": "std_dev_population", "min": "min", "max": "max"}
    assert [found[name] for name in names] == pytest.approx([want[name] for name in names.values()], rel=1e-9)
    for one, bucket in zip(found["distribution"]["kll"]["buckets"], want["buckets"], strict=True):
        assert one == pytest.approx(bucket, rel=1e-12)


def test_batches_give_the_same_file() -> None:
    frame = pl.DataFrame({"x": SEQUENCE, "s": [str(i % 7) for i in range(20000)]})
    whole, parts = profile.profile(frame), profile.profile(frame[i : i + 3000] for i in range(0, 20000, 3000))
    one, other = (feature(d, "x")["numerical_statistics"] for d in (whole, parts))
    assert one.pop("distribution") == other.pop("distribution")
    assert one.pop("common") == other.pop("common")
    assert one == pytest.approx(other, rel=1e-9)
    assert feature(whole, "s") == feature(parts, "s")


def test_types_missing_and_infinite_values() -> None:
    found = profile.profile(MIXED)
    assert [one["inferred_type"] for one in found["features"]] == ["Integral", "Fractional", "String", "Unknown"]
    numbers = feature(found, "f")["numerical_statistics"]
    assert numbers["common"] == {"num_present": 3, "num_missing": 1}
    assert (numbers["mean"], numbers["max"]) == (1.25, 2.0)
    assert feature(found, "s")["string_statistics"]["distribution"]["categorical"]["buckets"][0] == {"value": "a", "count": 2}


def test_constraints_follow_the_statistics() -> None:
    found = profile.suggest_constraints(profile.profile(MIXED))
    assert feature(found, "n")["num_constraints"] == {"is_non_negative": False}
    assert feature(found, "n")["completeness"] == 0.75
    assert feature(found, "s")["string_constraints"] == {"domains": ["a", "b"]}
    assert feature(found, "e") == {"name": "e", "inferred_type": "Unknown", "completeness": 0.0}
    assert found["monitoring_config"]["distribution_constraints"]["comparison_threshold"] == 0.1


def test_constant_columns_and_one_row() -> None:
    found = feature(profile.profile(pl.DataFrame({"c": [5.0]})), "c")["numerical_statistics"]
    assert (found["std_dev"], found["min"], found["max"]) == (0.0, 5.0, 5.0)
    assert sum(bucket["count"] for bucket in found["distribution"]["kll"]["buckets"]) == 1


@pytest.mark.parametrize(
    "batches",
    [
        [],
        pl.DataFrame({"a": []}),
        [pl.DataFrame({"a": [1]}), pl.DataFrame({"b": [1]})],
        [pl.DataFrame({"a": [1]}), pl.DataFrame({"a": ["x"]})],
    ],
)
def test_bad_batches_are_refused(batches: Any) -> None:
    with pytest.raises(ValueError, match="batches"):
        profile.profile(batches)
    with pytest.raises(ValueError, match="statistics"):
        profile.suggest_constraints({})


def test_correlations_equal_scipy() -> None:
    rows = RNG.normal(size=(100, 4)).round(1)
    assert np.allclose(correlations.pearson(rows), np.corrcoef(rows.T))
    assert np.allclose(correlations.spearman(rows), stats.spearmanr(rows).statistic)


def test_association_equals_scipy() -> None:
    one, other = RNG.choice(list("abc"), 300), RNG.integers(0, 4, 300)
    table = np.array([[((one == a) & (other == b)).sum() for b in range(4)] for a in "abc"])
    assert correlations.cramers_v([one, other])[0, 1] == pytest.approx(stats.contingency.association(table, method="cramer"))


def test_constant_columns_have_no_correlation() -> None:
    assert np.isnan(correlations.pearson([[1.0, 0.1], [2.0, 0.1], [4.0, 0.1]])[0, 1])
    assert np.isnan(correlations.cramers_v([["a", "a"], [1, 2]])[0, 1])


@pytest.mark.parametrize(
    "call",
    [lambda: correlations.pearson([[1.0, 2.0]]), lambda: correlations.spearman([[np.nan], [1.0]]), lambda: correlations.cramers_v([])],
)
def test_bad_tables_are_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"rows|columns"):
        call()
