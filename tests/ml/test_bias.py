"""Bias metrics against smclarify's values, and their intervals against resampled rows."""

import doctest
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dewfall.ml import bias, fliptest

CASES = [
    "german_foreign_worker",
    "german_age_gt_40",
    "german_single_male",
    "edge_no_fp_in_d",
    "edge_no_pos_pred_in_a",
    "edge_perfect",
    "edge_one_label_only_in_d",
    "edge_all_false_negative",
    "edge_empty_facet",
    "edge_group_without_accepted",
]
PERFORMANCE = ["Accuracy", "PPL", "PNL", "Recall", "Specificity", "Precision", "RejectionRate", "ConditionalAcceptance", "ConditionalRejection", "F1"]


def counts_of(table: list[list[Any]]) -> bias.Counts:
    facet, label, predicted, group, times = map(np.array, zip(*table, strict=True))
    codes = np.unique(group, return_inverse=True)[1]
    masks = [np.repeat(flags.astype(bool), times) for flags in (facet, label, predicted)]
    return bias.tabulate(masks[0], masks[1], masks[2], np.repeat(codes, times))


def test_examples() -> None:
    assert doctest.testmod(bias).failed == 0
    assert doctest.testmod(fliptest).failed == 0


@pytest.mark.parametrize("name", CASES)
def test_metrics_equal_smclarify(golden: Callable[[str], Any], name: str) -> None:
    case = next(c for c in golden("clarify_bias_golden")["cases"] if c["name"] == name)
    for metric in bias.measure(counts_of(case["table"])):
        want = case["metrics"][metric["name"]]
        if isinstance(want, dict):
            assert metric["value"] is None
            assert metric["error"] == want["error"]
        else:
            assert metric["value"] == pytest.approx(float(want), rel=1e-9, abs=1e-12), metric


@pytest.mark.parametrize("name", CASES)
def test_performance_equals_smclarify(golden: Callable[[str], Any], name: str) -> None:
    case = next(c for c in golden("clarify_bias_golden")["cases"] if c["name"] == name)
    want = [case["model_performance"][key] for key in PERFORMANCE]
    assert list(bias.performance(counts_of(case["table"])).values()) == pytest.approx(want, rel=1e-9)


def test_flip_test_equals_smclarify(golden: Callable[[str], Any]) -> None:
    held = golden("clarify_ft_golden")
    rows = np.array(held["rows"])
    few = rows[held["small_rows_index"]]
    assert fliptest.flip_test(rows[:, :3], rows[:, 3] == 1, rows[:, 4] == 1) == pytest.approx(held["FT_all_rows"], rel=1e-9)
    assert fliptest.flip_test(few[:, :3], few[:, 3] == 1, few[:, 4] == 1) == held["FT_small_rows_1nn"]


def test_many_features_find_the_same_neighbours() -> None:
    rng = np.random.default_rng(1)
    table, facet, predicted = rng.normal(size=(200, 20)), rng.random(200) < 0.4, rng.random(200) < 0.5
    others = table[~facet]
    order = [np.argsort(((others - row) ** 2).sum(axis=1))[:5] for row in table[facet]]
    votes = np.array([predicted[~facet][near].sum() >= 3 for near in order])
    want = (predicted[facet].astype(int) - votes).mean()
    assert fliptest.flip_test(table, facet, predicted) == pytest.approx(want)


@pytest.mark.parametrize(
    ("features", "facet", "text"),
    [
        ([[1.0], [2.0]], [False, False], "Facet set is empty"),
        ([[1.0], [2.0]], [True, True], "Negated Facet set is empty"),
        ([["a"], ["b"]], [True, False], "FlipTest does not support non-numeric columns"),
        ([[np.nan], [1.0]], [True, False], "features: values must be finite"),
        ([[1.0]], [True, False], "features: expected 2 rows"),
    ],
)
def test_flip_test_refuses(features: Any, facet: list[bool], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fliptest.flip_test(features, facet, [True, False])


def resampled(masks: NDArray[np.bool_], draws: int) -> NDArray[np.float64]:
    """DPPL of rows drawn with replacement, row by row."""
    rng = np.random.default_rng(9)
    found = []
    for _ in range(draws):
        facet, _, predicted = masks[:, rng.integers(0, masks.shape[1], masks.shape[1])]
        found.append(predicted[~facet].mean() - predicted[facet].mean())
    return np.array(found)


def test_intervals_are_those_of_resampled_rows() -> None:
    masks = np.random.default_rng(3).random((3, 400)) < 0.4
    interval = bias.intervals(bias.tabulate(*masks), ["DPPL"], draws=4000)["DPPL"]
    assert interval == pytest.approx(np.quantile(resampled(masks, 2000), [0.025, 0.975]), abs=0.015)


def test_intervals_repeat_by_seed_and_are_absent_for_undefined_metrics() -> None:
    counts = bias.tabulate([True, False, False], [True, True, False], [True, True, True])
    assert bias.intervals(counts, draws=50, seed=2) == bias.intervals(counts, draws=50, seed=2)
    assert bias.intervals(counts, ["CDDL"]) == {"CDDL": None}


def test_rows_without_a_group_are_left_out_of_conditional_disparity() -> None:
    flags = np.array([True, False, True, False, True, False])
    label = np.array([True, True, False, False, True, False])
    with_gap = bias.tabulate(flags, label, None, np.array([0, 0, 0, 0, -1, -1]))
    without = bias.tabulate(flags[:4], label[:4], None, np.zeros(4, dtype=int))
    assert bias.measure(with_gap, ["CDDL"]) == bias.measure(without, ["CDDL"])


def test_bad_input_names_the_argument() -> None:
    with pytest.raises(ValueError, match="label: expected yes or no"):
        bias.tabulate([True], [1.0])
    with pytest.raises(ValueError, match="predicted: expected 1 rows"):
        bias.tabulate([True], [True], [True, False])
    with pytest.raises(ValueError, match="facet: there are no rows"):
        bias.tabulate([], [])
    with pytest.raises(ValueError, match="Invalid metric_name"):
        bias.measure(bias.tabulate([True], [True]), ["XX"])
    with pytest.raises(ValueError, match="level"):
        bias.intervals(bias.tabulate([True], [True]), level=1.0)
