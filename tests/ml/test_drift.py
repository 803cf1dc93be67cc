"""Distances against Deequ's and SciPy's values."""

import doctest
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from dewfall.ml import drift, kll

RNG = np.random.default_rng(8)
LIVE, BASE = RNG.normal(0.1, 1, 3000).round(2), RNG.normal(0, 1.1, 4000).round(2)


def test_examples() -> None:
    assert doctest.testmod(drift).failed == 0


def test_l_infinity_equals_deequ(golden: Callable[[str], Any]) -> None:
    held = golden("drift_distance_golden")
    for kind, distance_of in (("numerical", drift.numeric_distance), ("categorical", drift.categorical_distance)):
        for row in held[kind]:
            for name, robust in (("linf_simple", False), ("linf_robust", True)):
                if name in row:
                    found = distance_of(row["sample"], row["baseline"], robust=robust, alpha=row.get("alpha"))
                    assert found == pytest.approx(row[name], rel=1e-9)


def test_chi_square_equals_deequ(golden: Callable[[str], Any]) -> None:
    for row in golden("drift_distance_golden")["chi_squared"]:
        statistic, p_value = drift.chi_square(row["sample"], row["baseline"])
        if "statistic" in row:
            assert statistic == pytest.approx(float(row["statistic"]), rel=1e-9, nan_ok=True)
        if "p_value" in row:
            assert p_value == pytest.approx(row["p_value"], rel=1e-9)


def test_psi_and_ndcg_equal_the_golden_values(golden: Callable[[str], Any]) -> None:
    held = golden("drift_distance_golden")
    for row in held["psi"]:
        assert drift.psi(row["actual_counts"], row["expected_counts"]) == pytest.approx(row["psi"], rel=1e-9)
    for row in held["ndcg"]:
        assert drift.attribution_drift(row["live"], row["baseline"]) == pytest.approx(row["ndcg"], rel=1e-9)


def test_ndcg_of_equal_attributions_is_scikit_learns() -> None:
    from sklearn.metrics import ndcg_score

    baseline = {"a": 0.5, "b": 0.3, "c": 0.1, "d": 0.05}
    for values in ([0.0, 0.0, 0.2, 0.0], [1.0] * 4, [0.1, 0.2, 0.2, 0.3]):
        found = drift.attribution_drift(dict(zip("abcd", values, strict=True)), baseline)
        assert found == pytest.approx(ndcg_score([list(baseline.values())], [values]), rel=1e-12)


def test_exact_distances_equal_scipy() -> None:
    found = drift.exact(LIVE, BASE)
    want = stats.ks_2samp(LIVE, BASE, method="asymp")
    assert found.ks == pytest.approx(want.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(want.pvalue, rel=1e-9)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(LIVE, BASE), rel=1e-9)


def test_binned_distances_keep_their_bound() -> None:
    base = drift.histogram(BASE)
    found = drift.binned(drift.histogram(LIVE, base.low, base.high), base)
    want = drift.exact(LIVE, BASE)
    assert abs(found.ks - want.ks) <= found.error < 0.05
    assert abs(found.wasserstein - want.wasserstein) <= (base.high - base.low) / drift.BINS + 0.01


def test_histogram_equals_numpy_within_its_range() -> None:
    found = drift.histogram(BASE, -1.0, 1.0, bins=8)
    assert found.counts[1:-1].tolist() == np.histogram(BASE, 8, (-1.0, 1.0))[0].tolist()
    assert (found.counts[0], found.counts[-1]) == ((BASE < -1).sum(), (BASE > 1).sum())


def test_sketches_stand_for_their_columns() -> None:
    live, base = kll.learn(kll.Sketch(), LIVE[:1500]), kll.learn(kll.Sketch(), BASE[:1500])
    assert drift.numeric_distance(live, base) == pytest.approx(drift.numeric_distance(LIVE[:1500], BASE[:1500]))


def test_ties_may_count_as_deequ_counts_them() -> None:
    assert drift.numeric_distance([1, 1, 1, 2], [1, 2], robust=False) == 0.25
    assert drift.numeric_distance([1, 1, 1, 2], [1, 2], robust=False, ties="last") == 0.0


def test_jensen_shannon_equals_scipy() -> None:
    p, q = [5.0, 0.0, 3.0, 2.0], [1.0, 1.0, 0.0, 8.0]
    assert drift.jensen_shannon(p, q) == pytest.approx(distance.jensenshannon(p, q, base=2), rel=1e-12)


def test_psi_of_empty_buckets() -> None:
    assert drift.psi([1, 0], [1, 1], floor=0) == np.inf
    assert np.isfinite(drift.psi([1, 0], [1, 1]))
    assert drift.psi([1, 1, 0], [1, 1, 0], floor=0) == 0


def test_a_constant_column_has_not_moved() -> None:
    base = drift.histogram([3.0, 3.0])
    assert drift.exact([3.0], [3.0, 3.0]).ks == 0
    assert drift.binned(drift.histogram([3.0], base.low, base.high), base).ks == 0
    assert drift.binned(drift.histogram([9.0], base.low, base.high), base).ks == 1


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: drift.exact([], [1.0]), "sample"),
        (lambda: drift.exact([1.0], [np.nan]), "baseline"),
        (lambda: drift.exact([np.inf], [1.0]), "sample"),
        (lambda: drift.numeric_distance([1.0], [[1.0]]), "baseline"),
        (lambda: drift.categorical_distance({}, {"a": 1}), "sample"),
        (lambda: drift.psi([1, 2], [1, 2, 3]), "actual"),
        (lambda: drift.jensen_shannon([-1, 2], [1, 2]), "sample"),
        (lambda: drift.attribution_drift({"a": 1.0}, {"b": 1.0}), "live"),
        (lambda: drift.binned(drift.histogram([1.0, 2.0]), drift.histogram([1.0, 3.0])), "sample"),
    ],
)
def test_bad_input_names_the_argument(call: Callable[[], Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        call()
