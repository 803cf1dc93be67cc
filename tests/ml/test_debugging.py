"""Debugger's rules on small runs whose trouble is plain to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from dewfall.ml.debugging import RULES
from dewfall.ml.debugging.trial import Options, Trial

RNG = np.random.default_rng(4)
FALLING = [1 / (n + 1) for n in range(30)]


def trial(tensors: Mapping[str, Sequence[Any]], collection: str = "", mode: str = "GLOBAL", every: int = 1) -> Trial:
    found = Trial({collection: frozenset(tensors)})
    for name, values in tensors.items():
        for number, value in enumerate(values):
            found.add(name, mode, number * every, lambda value=value: np.asarray(value))  # type: ignore[misc]
    return found


def first(rule: str, run: Trial, **parameters: str) -> int | None:
    """The first step at which the rule fires."""
    steps = sorted({step for name in run.names() for mode in run.modes(name) for step in run.steps(name, mode)})
    return next((step for step in steps if RULES[rule](run, step, Options(parameters))), None)


def test_a_loss_that_stays_is_found_after_ten_steps() -> None:
    assert first("LossNotDecreasing", trial({"loss": [1.0] * 30}, "losses")) == 10
    assert first("LossNotDecreasing", trial({"loss": FALLING}, "losses")) is None


def test_a_loss_may_rise_a_little() -> None:
    rising = trial({"loss": [1.0] * 10 + [1.04] * 10}, "losses")
    assert first("LossNotDecreasing", rising) is None
    assert first("LossNotDecreasing", rising, increase_threshold_percent="3") == 10


def test_a_loss_is_compared_with_one_far_enough_back() -> None:
    assert first("LossNotDecreasing", trial({"loss": [1.0] * 30}, "losses", every=4)) == 12


def test_overfitting_compares_both_losses() -> None:
    apart = {"train-rmse": FALLING, "validation-rmse": FALLING[:20] + [1.0] * 10}
    assert first("Overfit", trial(apart, "losses")) == 20
    assert first("Overfit", trial(apart, "losses"), patience="3") == 22
    assert first("Overfit", trial({"train-rmse": FALLING, "validation-rmse": FALLING}, "losses")) is None


def test_overfitting_knows_modes() -> None:
    run = trial({"CrossEntropyLoss_output_0": [1.0, 0.5]}, "losses", "TRAIN")
    for step, value in ((2, 1.0), (3, 2.0)):
        run.add("CrossEntropyLoss_output_0", "EVAL", step, lambda value=value: np.array(value))  # type: ignore[misc]
    assert first("Overfit", run) == 2


def test_overtraining_waits_with_patience() -> None:
    run = trial({"train-rmse": FALLING, "validation-rmse": [1.0, 0.5] + [0.5] * 28}, "losses")
    assert first("Overtraining", run, patience_train="50") == 12
    assert first("Overtraining", run, patience_train="50", patience_validation="40") is None


@pytest.mark.parametrize(("value", "fires"), [(1e-9, True), (1e-3, False)])
def test_gradients_vanish_below_the_threshold(value: float, fires: bool) -> None:
    assert bool(first("VanishingGradient", trial({"gradient/w": [np.full(5, value), np.full(5, -value)]}, "gradients")) == 0) is fires


def test_tensors_explode() -> None:
    run = trial({"w": [np.ones(3), np.array([1, np.inf, 2]), np.array([np.nan])]})
    assert (first("ExplodingTensor", run), first("ExplodingTensor", run, only_nan="True")) == (1, 2)
    assert first("ExplodingTensor", run, tensor_regex="^other") is None


def test_tensors_are_zero_or_do_not_change() -> None:
    run = trial({"w": [np.ones(4), np.array([0, 0, 0, 1.0]), np.zeros(4), np.zeros(4)]})
    assert (first("AllZero", run), first("AllZero", run, threshold="75"), first("UnchangedTensor", run)) == (2, 1, 3)


def test_variances_have_bounds() -> None:
    run = trial({"w": [np.array([0.0, 1.0]), np.array([0.0, 10.0])]})
    assert (first("TensorVariance", run, max_threshold="1"), first("TensorVariance", run, min_threshold="1")) == (1, 0)
    assert first("TensorVariance", run) is None


def test_weights_are_updated_too_much_or_too_little() -> None:
    run = trial({"w": [np.ones(3), np.full(3, 1.1), np.full(3, 50.0)]}, "weights")
    assert first("WeightUpdateRatio", run) == 2
    assert first("WeightUpdateRatio", run, small_threshold="0.2") == 1


def test_neurons_die_and_saturate() -> None:
    lively, half = RNG.random((50, 4)), RNG.random((50, 4)) * np.array([0, 0, 0, 1])
    assert first("DeadRelu", trial({"relu1_relu_output_0": [lively, half]})) == 1
    assert first("DeadRelu", trial({"relu1_relu_output_0": [lively, half]}), threshold_layer="80") is None
    run = trial({"tanh1_tanh_input_0": [lively, lively * 0 + 20], "sigmoid_sigmoid_input_0": [lively, lively * 0 + 12]})
    assert first("SaturatedActivation", run) == 1
    assert first("SaturatedActivation", run, threshold_tanh_max="30") is None


def test_weights_are_badly_initialized() -> None:
    narrow = {"gradient/w": [np.full(50, 0.5)] * 3}
    assert first("PoorWeightInitialization", trial(narrow, "gradients")) == 0
    inputs = {"a_relu_input_0": [RNG.normal(0, 1, 500)], "b_relu_input_0": [RNG.normal(0, 10, 500)]}
    assert first("PoorWeightInitialization", trial(inputs)) == 0
    assert first("PoorWeightInitialization", trial(inputs), threshold="500") is None
    assert first("PoorWeightInitialization", trial({"loss": [1.0] * 12}, "losses")) == 5


def test_classes_are_out_of_balance() -> None:
    labels = np.array([0] * 580 + [1] * 20)
    assert first("ClassImbalance", trial({"labels": [labels], "predictions": [labels]})) == 0
    even = np.array([0, 1] * 300)
    assert first("ClassImbalance", trial({"labels": [even], "predictions": [even * 0]})) == 0
    assert first("ClassImbalance", trial({"labels": [even[:100]], "predictions": [even[:100] * 0]})) is None


def test_classes_are_confused() -> None:
    labels = np.array([0, 1, 2] * 20)
    chances = np.eye(3)[labels]
    assert first("Confusion", trial({"labels": [labels, labels], "predictions": [chances, np.roll(chances, 1, axis=0)]})) == 1


def test_few_features_weigh_too_much() -> None:
    run = {f"feature_importance/weight/f{n}": [weight] for n, weight in enumerate((0.5, 0.3, 0.1, 0.05, 0.05))}
    assert first("FeatureImportanceOverweight", trial(run)) == 0
    assert first("FeatureImportanceOverweight", trial(run), threshold="0.95") is None


def test_trees_have_a_depth() -> None:
    run = trial({"trees/Node": [np.arange(15), np.arange(63)]})
    assert (first("TreeDepth", run), first("TreeDepth", run, depth="2"), first("TreeDepth", run, depth="5")) == (1, 0, None)


def test_inputs_are_not_normalized_or_padded() -> None:
    images = RNG.random((300, 3, 2, 2))
    assert first("CheckInputImages", trial({"hybridsequential0_input_0": [images, images]})) == 1
    tokens = np.array([[5, 0, 0], [7, 0, 0]])
    assert first("NLPSequenceRatio", trial({"embedding0_input_0": [tokens]})) == 0
    assert first("NLPSequenceRatio", trial({"embedding0_input_0": [tokens]}), token_thresholds_percent="70") is None


def test_a_parameter_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="threshold must be a number, not 'wide'"):
        first("AllZero", trial({"w": [np.zeros(2)]}), threshold="wide")


def test_runs_are_compared_step_by_step() -> None:
    run = trial({"loss": [1.0, 0.5, np.nan, 0.2], "own": [1.0] * 4}, "losses")
    run.other = trial({"loss": [1.0, 0.5, np.nan, 0.3]}, "losses")
    assert first("SimilarAcrossRuns", run) == 3
    assert first("SimilarAcrossRuns", run, tensor_regex="own") is None
    run.other = trial({"loss": [1.0, 0.5, np.nan, 0.2], "own": [[1.0, 2.0]] * 4}, "losses")
    assert first("SimilarAcrossRuns", run, collection_names="nothing", tensor_regex="loss") is None
    assert first("SimilarAcrossRuns", run) == 0
    run = trial({"mask": [True]})
    assert first("SimilarAcrossRuns", run) is None
    run.other = trial({"mask": [False]})
    assert first("SimilarAcrossRuns", run) == 0
