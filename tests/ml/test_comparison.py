"""Statistics against their baseline: the distances of the rows themselves, and what there is to draw."""

from __future__ import annotations

import doctest

import numpy as np
import polars as pl
import pytest
from scipy import stats

from dewfall.ml import comparison, drift
from dewfall.ml.plots import render
from dewfall.ml.profile import profile


def test_examples() -> None:
    assert doctest.testmod(comparison).failed == 0


def test_numbers_are_as_far_apart_as_their_rows() -> None:
    rng = np.random.default_rng(0)
    here, there = rng.normal(0.5, 1, 900), rng.normal(0, 1, 800)
    (move,) = comparison.compare(profile(pl.DataFrame({"a": here})), profile(pl.DataFrame({"a": there})))
    expected = stats.ks_2samp(here, there)
    assert move.linf == pytest.approx(expected.statistic, abs=1e-12)
    assert move.p_value == pytest.approx(drift.exact(here, there).p_value)
    assert move.wasserstein == pytest.approx(stats.wasserstein_distance(here, there))
    edges = np.quantile(there, np.linspace(0, 1, 11)[1:-1], method="inverted_cdf")
    counts = [np.bincount(np.searchsorted(edges, one), minlength=10).astype(np.float64) for one in (here, there)]
    assert move.psi == pytest.approx(drift.psi(counts[0], counts[1]), rel=1e-3)


def test_categories_come_in_order_of_their_shift() -> None:
    here = pl.DataFrame({"same": ["x", "y"] * 50, "far": ["a"] * 90 + ["b"] * 10, "gone": [None] * 100}, schema_overrides={"gone": pl.String})
    there = pl.DataFrame({"same": ["x", "y"] * 50, "far": ["a"] * 50 + ["b"] * 50, "gone": ["x"] * 100})
    first, last = comparison.compare(profile(here), profile(there))
    assert (first.name, first.kind, last.name, last.psi) == ("far", "categories", "same", 0.0)
    assert first.linf == pytest.approx(0.4)
    assert first.p_value == pytest.approx(stats.chisquare([90, 10], [50, 50]).pvalue)


@pytest.mark.parametrize("values", [[7, 7, 7], [1.0, 2.0, 1e9], ["größe", "日本", "größe"]])
def test_what_there_is_can_be_drawn(values: list[object]) -> None:
    statistics = profile(pl.DataFrame({"größe": values}))
    spec = comparison.picture(statistics["features"][0], statistics["features"][0])
    assert spec is not None
    assert "<svg" in render.svg(spec)
