"""Mitigation brings the metric it aims at to zero; estimated performance meets the real one."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from dewfall.ml import estimation, mitigation

RNG = np.random.default_rng(8)
ROWS = 4000
FACET = RNG.random(ROWS) < 0.3
CHANCE = np.clip(RNG.beta(2, 2, ROWS) - 0.2 * FACET, 0.01, 0.99)
LABEL = RNG.random(ROWS) < CHANCE


@pytest.mark.parametrize("module", [mitigation, estimation])
def test_examples(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_weights_make_facet_and_label_independent() -> None:
    weights, report = mitigation.reweigh(FACET, LABEL)
    rates = [np.average(LABEL[side == FACET], weights=weights[side == FACET]) for side in (False, True)]
    assert report.before["DPL"] == pytest.approx(LABEL[~FACET].mean() - LABEL[FACET].mean())
    assert report.after["DPL"] == pytest.approx(0, abs=1e-12)
    assert rates[0] == pytest.approx(rates[1])
    assert weights.mean() == pytest.approx(1)


def test_drawn_rows_do_too() -> None:
    rows, report = mitigation.resample(FACET, LABEL)
    assert len(rows) == ROWS
    assert report.after["DPL"] == pytest.approx(0, abs=1e-3)
    assert FACET[rows].mean() == pytest.approx(FACET.mean(), abs=1e-3)


@pytest.mark.parametrize("goal", ["DPPL", "RD"])
def test_thresholds_per_facet(goal: str) -> None:
    cuts, report = mitigation.facet_thresholds(FACET[:600], LABEL[:600], CHANCE[:600], goal=goal)
    said = CHANCE[:600] > np.where(FACET[:600], cuts[True], cuts[False])
    before, after = report.before[goal], report.after[goal]
    assert before is not None
    assert after is not None
    assert abs(after) < 0.01 < abs(before)
    assert said.sum() == (CHANCE[:600] > 0.5).sum()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mitigation.reweigh([], []), "facet: expected a column with rows"),
        (lambda: mitigation.reweigh([True], [True, False]), "positive: expected 1 values, got 2"),
        (lambda: mitigation.facet_thresholds([True, False], [1, 0], [0.1, np.nan]), "scores: expected 2 finite numbers"),
        (lambda: mitigation.facet_thresholds([True, True], [1, 0], [0.1, 0.2]), "facet: both sides need rows"),
        (lambda: mitigation.facet_thresholds([True, False], [1, 0], [0.1, 0.2], goal="x"), "goal: 'x' is not one of"),
        (lambda: estimation.estimate([2.0], [True]), "probabilities: expected values between 0 and 1"),
        (lambda: estimation.windows([1.0], 0), "width: must be above 0"),
    ],
)
def test_what_does_not_fit(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


def test_performance_is_estimated_before_labels_come() -> None:
    said = CHANCE > 0.5
    found = estimation.estimate(CHANCE, said)
    real = {
        "accuracy": accuracy_score(LABEL, said),
        "precision": precision_score(LABEL, said),
        "recall": recall_score(LABEL, said),
        "f1": f1_score(LABEL, said),
        "roc_auc": roc_auc_score(LABEL, CHANCE),
    }
    for name, value in real.items():
        assert found[name] == pytest.approx(value, abs=0.03), name


def test_scores_become_probabilities() -> None:
    scores = CHANCE**3
    assert np.abs(estimation.calibrate(scores, LABEL)(scores) - CHANCE).mean() < 0.05


def test_a_trend_is_told_from_noise() -> None:
    rising, level = 0.01 * np.arange(30) + RNG.normal(0, 0.02, 30), RNG.normal(0, 0.02, 30)
    assert estimation.slope(rising)[1] < 0.01 < estimation.slope(level)[1]
