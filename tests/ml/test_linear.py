"""The linear learner's mathematics: slopes against differences, cuts against trying all, models against scikit-learn."""

import doctest

import numpy as np
import pytest

from dewfall.ml import linear, losses, thresholds

RNG = np.random.default_rng(9)
ROWS = RNG.normal(size=(600, 4)) * [1, 5, 0.1, 1] + [0, 3, 0, 9]
TRUTH = ROWS @ [1.0, -0.5, 8.0, 0.2] + 4
SIDES = (TRUTH + RNG.normal(size=600) > np.median(TRUTH)).astype(float)
BINARY = [name for name in losses.CURVES if name != "softmax_loss"]


@pytest.mark.parametrize("module", [linear, losses, thresholds])
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BINARY)
def test_slopes_equal_differences(name: str) -> None:
    z, labels, shape, tiny = RNG.normal(size=(50, 3)), (RNG.random(50) > 0.5).astype(float), losses.Shape(0.1, 0.3, 0.7), 1e-6
    differences = (losses.loss(name, z + tiny, labels, shape) - losses.loss(name, z - tiny, labels, shape)) / (2 * tiny)
    assert np.allclose(losses.slope(name, z, labels, shape), differences, atol=1e-4)


def test_the_softmax_slope_equals_differences() -> None:
    z, labels, tiny = RNG.normal(size=(20, 2, 3)), RNG.integers(0, 3, 20).astype(float), 1e-6
    step = np.zeros(3)
    step[1] = tiny
    differences = (losses.loss("softmax_loss", z + step, labels, losses.Shape()) - losses.loss("softmax_loss", z - step, labels, losses.Shape())) / (
        2 * tiny
    )
    assert np.allclose(losses.slope("softmax_loss", z, labels, losses.Shape())[:, :, 1], differences, atol=1e-4)


def test_regression_reaches_least_squares() -> None:
    from sklearn.linear_model import LinearRegression

    target = TRUTH + RNG.normal(size=600)
    models = linear.fit(ROWS, target, linear.Settings(loss="squared_loss", normalize_label=True))
    error = ((models.scores(ROWS) - target[:, None]) ** 2).mean(axis=0).min()
    assert error < ((LinearRegression().fit(ROWS, target).predict(ROWS) - target) ** 2).mean() * 1.005


def test_classification_reaches_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    models = linear.fit(ROWS, SIDES, linear.Settings())
    found = losses.loss("logistic", models.scores(ROWS), SIDES, losses.Shape()).mean(axis=0).min()
    theirs = LogisticRegression(C=1e6, max_iter=5000).fit(ROWS, SIDES).predict_proba(ROWS)
    assert found < log_loss(SIDES, theirs) * 1.01


def test_weights_of_rows_count() -> None:
    from sklearn.linear_model import LinearRegression

    weights = RNG.uniform(0.1, 3, size=600)
    target = TRUTH**2
    models = linear.fit(ROWS, target, linear.Settings(loss="squared_loss", normalize_label=True, l2=(0.0,)), weights=weights)
    theirs = LinearRegression().fit(ROWS, target, sample_weight=weights).predict(ROWS)
    errors = [np.average((found - target) ** 2, weights=weights) for found in models.scores(ROWS).T]
    assert min(errors) < np.average((theirs - target) ** 2, weights=weights) * 1.01


def test_l1_empties_weights() -> None:
    noise = np.concatenate([ROWS, RNG.normal(size=(600, 6))], axis=1)
    models = linear.fit(noise, TRUTH, linear.Settings(loss="squared_loss", rates=(0.05,), l2=(0.0,), l1=(0.2,), normalize_label=True))
    assert (models.weights[0, 4:, 0] == 0).sum() >= 4


@pytest.mark.parametrize("criterion", thresholds.CRITERIA)
def test_cuts_are_the_best_of_all(criterion: str) -> None:
    scores = np.round(RNG.random(80), 2)
    labels = (scores + RNG.normal(size=80) * 0.3 > 0.5).astype(int)
    cut = thresholds.choose(scores, labels, criterion, target=0.7)

    def value(threshold: float) -> float:
        found = thresholds.measures(scores >= threshold, labels)
        if criterion == "precision_at_target_recall":
            return found["precision"] if found["recall"] >= 0.7 else -1.0
        if criterion == "recall_at_target_precision":
            return found["recall"] if found["precision"] >= 0.7 else -1.0
        return found["accuracy" if criterion == "accuracy" else "f_beta"]

    assert cut.value == pytest.approx(max(value(threshold) for threshold in np.arange(-0.005, 1.02, 0.005)))
    assert value(cut.threshold) == pytest.approx(cut.value)
