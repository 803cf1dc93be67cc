"""Metrics against scikit-learn's and AWS's values."""

import doctest
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from dewfall.ml import metrics, quality

RNG = np.random.default_rng(12)
LABELS, SAID, WEIGHTS = RNG.integers(0, 4, 500), RNG.integers(0, 3, 500), RNG.random(500)
POSITIVE, SCORES = RNG.random(500) < 0.3, RNG.random(500).round(2)


def test_examples() -> None:
    assert doctest.testmod(metrics).failed == 0
    assert doctest.testmod(quality).failed == 0


@pytest.mark.parametrize("average", ["weighted", "macro", "micro"])
def test_averages_equal_scikit_learn(average: str) -> None:
    found = metrics.averages(metrics.confusion(LABELS, SAID, WEIGHTS), average)
    for name, beta in metrics.BETAS.items():
        want = sk.fbeta_score(LABELS, SAID, beta=beta, average=average, sample_weight=WEIGHTS, zero_division=0.0)
        assert found[name] == pytest.approx(want, rel=1e-9)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(LABELS, SAID, sample_weight=WEIGHTS))


def test_classes_equal_scikit_learn() -> None:
    matrix = metrics.confusion(LABELS, SAID)
    assert matrix.table.tolist() == sk.confusion_matrix(LABELS, SAID).tolist()
    want = sk.precision_score(LABELS, SAID, average=None, zero_division=0.0)
    assert [one["precision"] for one in metrics.by_class(matrix).values()] == pytest.approx(want)


def test_classes_are_compared_as_printed_and_ordered_as_numbers() -> None:
    matrix = metrics.confusion([10, 2, 2], ["10", "2", "10"])
    assert matrix.classes == ("2", "10")
    assert matrix.table.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_curves_equal_scikit_learn(weights: Any) -> None:
    found = metrics.curves(POSITIVE, SCORES, weights)
    fpr, tpr, _ = sk.roc_curve(POSITIVE, SCORES, sample_weight=weights, drop_intermediate=False)
    precision, recall, _ = sk.precision_recall_curve(POSITIVE, SCORES, sample_weight=weights)
    mine = (found.false_positive_rates, found.true_positive_rates, found.precisions, found.recalls)
    for own, theirs in zip(mine, (fpr, tpr, precision, recall), strict=True):
        assert np.allclose(own, theirs, rtol=1e-9)
    assert found.auc == pytest.approx(sk.roc_auc_score(POSITIVE, SCORES, sample_weight=weights), rel=1e-9)
    assert found.average_precision == pytest.approx(sk.average_precision_score(POSITIVE, SCORES, sample_weight=weights), rel=1e-9)


def test_one_class_has_no_area() -> None:
    assert np.isnan(metrics.curves([True, True], [0.1, 0.2]).auc)
    assert np.isnan(metrics.curves([False, False], [0.1, 0.2]).average_precision)


def test_probabilities_equal_scikit_learn() -> None:
    inside = SCORES * 0.98 + 0.01
    assert metrics.log_loss(POSITIVE, inside, WEIGHTS) == pytest.approx(sk.log_loss(POSITIVE, inside, sample_weight=WEIGHTS))
    assert metrics.brier(POSITIVE, SCORES, WEIGHTS) == pytest.approx(sk.brier_score_loss(POSITIVE, SCORES, sample_weight=WEIGHTS))


def test_calibration_is_the_mean_gap() -> None:
    found = metrics.calibration(POSITIVE, SCORES, bins=4)
    place = np.minimum((SCORES * 4).astype(int), 3)
    gaps = [abs(SCORES[place == b].mean() - POSITIVE[place == b].mean()) * (place == b).mean() for b in range(4)]
    assert found.error == pytest.approx(sum(gaps))
    assert found.rows.sum() == 500


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_regression_equals_scikit_learn(weights: Any) -> None:
    y, f = RNG.normal(size=500), RNG.normal(size=500)
    found = metrics.regression(y, f, weights, quantiles=[0.1])
    held = {"sample_weight": weights}
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, f, **held))
    assert found["mse"] == pytest.approx(sk.mean_squared_error(y, f, **held))
    assert found["r2"] == pytest.approx(sk.r2_score(y, f, **held))
    assert found["mape"] == pytest.approx(sk.mean_absolute_percentage_error(y, f, **held))
    assert found["quantile_loss_0.1"] == pytest.approx(sk.mean_pinball_loss(y, f, alpha=0.1, **held))


def test_regression_of_a_constant_and_of_one_row() -> None:
    assert metrics.regression([2.0, 2.0], [2.0, 3.0])["r2"] == 0.0
    assert metrics.regression([2.0], [2.0])["r2"] == 1.0


def test_ranking_equals_scikit_learn() -> None:
    gain, scores = RNG.integers(0, 4, (20, 8)).astype(float), RNG.normal(size=(20, 8))
    found = metrics.ranking(gain.ravel(), scores.ravel(), np.repeat(np.arange(20), 8), k=5)
    assert found["ndcg"] == pytest.approx(sk.ndcg_score(gain, scores, k=5))
    whole = metrics.ranking(gain.ravel(), scores.ravel(), np.repeat(np.arange(20), 8))
    assert whole["map"] == pytest.approx(sk.label_ranking_average_precision_score(gain > 0, scores))


def expanded(matrix: dict[str, dict[str, int]]) -> tuple[list[str], list[str]]:
    rows = [(a, p) for a, line in matrix.items() for p, n in line.items() for _ in range(n)]
    return [a for a, _ in rows], [p for _, p in rows]


@pytest.mark.parametrize(("kind", "problem"), [("binary", quality.BINARY), ("multiclass", quality.MULTICLASS)])
def test_model_quality_equals_the_documented_examples(golden: Callable[[str], Any], kind: str, problem: str) -> None:
    want = golden("model_quality_golden")[kind]
    found = quality.model_quality(problem, *expanded(want["confusion_matrix"]))[f"{quality.SECTION[problem]}_metrics"]
    assert found["confusion_matrix"] == want.pop("confusion_matrix")
    assert {name: found[name]["value"] for name in want} == pytest.approx(want, rel=1e-9)


def test_standard_deviations_appear_from_200_rows_on() -> None:
    few = quality.model_quality(quality.BINARY, POSITIVE[:199], POSITIVE[1:200])["binary_classification_metrics"]
    many = quality.model_quality(quality.BINARY, POSITIVE[:400], SCORES[:400] > 0.5)["binary_classification_metrics"]
    assert few["f1"]["standard_deviation"] == "NaN"
    assert 0 < many["accuracy"]["standard_deviation"] < 0.05


def test_scores_add_curves_and_constraints_take_the_baseline() -> None:
    found = quality.model_quality(quality.BINARY, POSITIVE, SCORES > 0.5, SCORES)
    section = found["binary_classification_metrics"]
    assert section["auc"]["value"] == pytest.approx(sk.roc_auc_score(POSITIVE, SCORES))
    limits = quality.quality_constraints(found)["binary_classification_constraints"]
    assert limits["f1"] == {"threshold": section["f1"]["value"], "comparison_operator": "LessThanThreshold"}
    assert limits["false_positive_rate"]["comparison_operator"] == "GreaterThanThreshold"
    assert "f1_best_constant_classifier" not in limits


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: metrics.confusion([1, None], [1, 1]), "labels"),
        (lambda: metrics.confusion([1], [1, 1]), "predicted"),
        (lambda: metrics.confusion([], []), "labels"),
        (lambda: metrics.confusion([1], [1], [-1.0]), "weights"),
        (lambda: metrics.averages(metrics.confusion([1], [1]), "best"), "average"),
        (lambda: metrics.curves([2], [0.5]), "positive"),
        (lambda: metrics.curves([True], [np.nan]), "scores"),
        (lambda: metrics.brier([True], [1.5]), "scores"),
        (lambda: metrics.regression([np.inf], [1.0]), "truth"),
        (lambda: metrics.regression([1.0], [1.0], quantiles=[1.0]), "quantiles"),
        (lambda: metrics.ranking([-1.0], [1.0]), "relevance"),
        (lambda: quality.model_quality("Clustering", [1], [1]), "problem"),
        (lambda: quality.model_quality(quality.BINARY, [1, 2, 3], [1, 2, 3]), "labels"),
        (lambda: quality.quality_constraints({}), "statistics"),
    ],
)
def test_bad_input_names_the_argument(call: Callable[[], Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        call()
