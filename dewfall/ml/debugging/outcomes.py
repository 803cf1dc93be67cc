"""Rules on labels, predictions, inputs, trees and importances."""

from __future__ import annotations

import numpy as np

from dewfall.ml.debugging.trial import Array, Options, Trial

LABELS, PREDICTIONS = ".*labels", ".*predictions"


def class_imbalance(trial: Trial, step: int, options: Options) -> str:
    """From `samples` labels on: a class `threshold_imbalance` times as frequent as another, or one of which more than
    `threshold_misprediction` are predicted wrongly.
    """
    labels, predictions = _seen(trial, step, options)
    if len(labels) < options.number("samples", 500):
        return ""
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) > 1 and counts.max() / counts.min() > options.number("threshold_imbalance", 10):
        return f"class {classes[counts.argmax()]:g} is {counts.max() / counts.min():.3g} times as frequent as class {classes[counts.argmin()]:g}"
    for one in classes if len(predictions) else ():
        wrong = float(np.mean(predictions[labels == one] != one))
        if wrong > options.number("threshold_misprediction", 0.7):
            return f"{100 * wrong:.3g} % of class {one:g} are predicted wrongly"
    return ""


def confusion(trial: Trial, step: int, options: Options) -> str:
    """The confusion matrix, each row summing to one: a diagonal value below `min_diag`, or another one above `max_off_diag`."""
    labels, predictions = _at_step(trial, step, options)
    if not len(labels) or len(labels) != len(predictions):
        return ""
    classes = np.arange(int(options.number("category_no", 0))) if options.number("category_no", 0) else np.unique(np.append(labels, predictions))
    for one in classes:
        mine = predictions[labels == one]
        if not len(mine):
            continue
        if float(np.mean(mine == one)) < options.number("min_diag", 0.9):
            return f"only {100 * float(np.mean(mine == one)):.3g} % of class {one:g} are predicted as such"
        for other in classes[classes != one]:
            if float(np.mean(mine == other)) > options.number("max_off_diag", 0.1):
                return f"{100 * float(np.mean(mine == other)):.3g} % of class {one:g} are predicted as class {other:g}"
    return ""


def feature_importance_overweight(trial: Trial, step: int, options: Options) -> str:
    """The `nfeatures` most important features have more than `threshold` of all importance."""
    found = trial.at(step, options.chosen(trial, ".*feature_importance/weight"))
    weights = sorted((float(value.mean()) for _, _, value in found), reverse=True)
    top, total = sum(weights[: int(options.number("nfeatures", 3))]), sum(weights)
    if total > 0 and top / total > options.number("threshold", 0.8):
        return f"{int(options.number('nfeatures', 3))} features have {100 * top / total:.3g} % of the importance"
    return ""


def tree_depth(trial: Trial, step: int, options: Options) -> str:
    """A tree deeper than `depth`: the logarithm of its largest node's number, as nodes are numbered from the root at 0."""
    for _, _, nodes in trial.at(step, options.chosen(trial, "^trees/Node$")):
        depth = int(np.log2(max(1, int(np.max(nodes.astype(float))) + 1))) if nodes.size else 0
        if depth > options.number("depth", 4):
            return f"the tree is {depth} levels deep"
    return ""


def check_input_images(trial: Trial, step: int, options: Options) -> str:
    """From `threshold_samples` images on: a channel whose mean is further from 0 than `threshold_mean`."""
    channel = int(options.number("channel", 1))
    for name in options.chosen(trial, options.text("regex", ".*hybridsequential0_input_0")):
        images = [trial.value(name, mode, one) for mode in trial.modes(name) for one in trial.steps(name, mode) if one <= step]
        if sum(map(len, images)) < options.number("threshold_samples", 500):
            continue
        means = np.concatenate(images).mean(axis=tuple(axis for axis in range(images[0].ndim) if axis != channel))
        if np.abs(means).max() > options.number("threshold_mean", 0.2):
            return f"{name} is not normalized: the means of its channels are {np.round(means, 3).tolist()}"
    return ""


def nlp_sequence_ratio(trial: Trial, step: int, options: Options) -> str:
    """More than so many percent of a step's tokens are one token: `token_values` and `token_thresholds_percent`, one for each."""
    tokens = [float(one) for one in options.text("token_values", "0").split(",")]
    limits = [float(one) for one in options.text("token_thresholds_percent", "50").split(",")]
    for name, _, value in trial.at(step, options.chosen(trial, ".*embedding0_input_0")):
        for token, limit in zip(tokens, limits, strict=True):
            share = 100 * float(np.mean(value == token))
            if share > limit:
                return f"{share:.3g} % of {name} are token {token:g}"
    return ""


def _seen(trial: Trial, step: int, options: Options) -> tuple[Array, Array]:
    """Labels and predictions of all steps up to this one."""
    pairs = [_at_step(trial, one, options) for one in _label_steps(trial, step, options)]
    labels = np.concatenate([labels for labels, _ in pairs]) if pairs else np.zeros(0)
    predictions = np.concatenate([predictions for _, predictions in pairs]) if pairs else np.zeros(0)
    return labels, predictions if len(predictions) == len(labels) else np.zeros(0)


def _label_steps(trial: Trial, step: int, options: Options) -> list[int]:
    names = trial.names(options.text("labels_regex", options.text("labels", LABELS)))
    return sorted({one for name in names for mode in trial.modes(name) for one in trial.steps(name, mode) if one <= step})


def _at_step(trial: Trial, step: int, options: Options) -> tuple[Array, Array]:
    labels = trial.at(step, trial.names(options.text("labels_regex", options.text("labels", LABELS))))
    predictions = trial.at(step, trial.names(options.text("predictions_regex", options.text("predictions", PREDICTIONS))))
    if not labels:
        return np.zeros(0), np.zeros(0)
    return labels[0][2].reshape(-1), _classes(predictions[0][2], options) if predictions else np.zeros(0)


def _classes(values: Array, options: Options) -> Array:
    """Classes of predictions: the most probable one, or the nearer of 0 and 1."""
    if values.ndim > 1 and values.shape[-1] > 1:
        return np.asarray(values.argmax(axis=-1) if options.flag("argmax", True) else values.max(axis=-1)).reshape(-1)
    return np.rint(values.reshape(-1))
