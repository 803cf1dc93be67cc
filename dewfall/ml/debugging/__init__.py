"""Rules that look at the tensors of a training run, as AWS's Debugger names and parameterizes them.

`find_rule(name)` gives the function; it is asked once for each saved step, in order, and answers what is wrong, or "".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dewfall.ml.debugging import losses, outcomes, tensors
from dewfall.ml.debugging.trial import Options, Trial

Rule = Callable[[Trial, int, Options], str]

RULES: Mapping[str, Rule] = {
    "AllZero": tensors.all_zero,
    "CheckInputImages": outcomes.check_input_images,
    "ClassImbalance": outcomes.class_imbalance,
    "Confusion": outcomes.confusion,
    "DeadRelu": tensors.dead_relu,
    "ExplodingTensor": tensors.exploding_tensor,
    "FeatureImportanceOverweight": outcomes.feature_importance_overweight,
    "LossNotDecreasing": losses.loss_not_decreasing,
    "NLPSequenceRatio": outcomes.nlp_sequence_ratio,
    "Overfit": losses.overfit,
    "Overtraining": losses.overtraining,
    "PoorWeightInitialization": tensors.poor_weight_initialization,
    "SaturatedActivation": tensors.saturated_activation,
    "SimilarAcrossRuns": tensors.similar_across_runs,
    "TensorVariance": tensors.tensor_variance,
    "TreeDepth": outcomes.tree_depth,
    "UnchangedTensor": tensors.unchanged_tensor,
    "VanishingGradient": tensors.vanishing_gradient,
    "WeightUpdateRatio": tensors.weight_update_ratio,
}
