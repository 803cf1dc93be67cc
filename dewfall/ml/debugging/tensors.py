"""Rules on weights, gradients and activations."""

from __future__ import annotations

import numpy as np

from dewfall.ml.debugging.losses import FALLING
from dewfall.ml.debugging.trial import Array, Options, Trial

RELU_OUTPUTS, RELU_INPUTS = ".*relu_output,.*ReLU_output", ".*relu_input,.*ReLU_input"
SATURATING = ".*tanh_input,.*sigmoid_input,.*Tanh_input,.*Sigmoid_input"


def vanishing_gradient(trial: Trial, step: int, options: Options) -> str:
    """A gradient whose mean absolute value lies below `threshold`."""
    limit = options.number("threshold", 1e-7)
    for name, _, value in _numbers(trial, step, trial.names(collections=("gradients",))):
        mean = float(np.abs(value).mean())
        if mean < limit:
            return f"the mean of |{name}| is {mean:g}, below {limit:g}"
    return ""


def exploding_tensor(trial: Trial, step: int, options: Options) -> str:
    """NaN, and unless `only_nan` also infinity."""
    for name, _, value in _numbers(trial, step, options.chosen(trial)):
        if np.isnan(value).any() or (not options.flag("only_nan", False) and np.isinf(value).any()):
            return f"{name} has values that are {'NaN' if np.isnan(value).any() else 'infinite'}"
    return ""


def all_zero(trial: Trial, step: int, options: Options) -> str:
    """A tensor of which `threshold` percent are zero."""
    limit = options.number("threshold", 100)
    for name, _, value in _numbers(trial, step, options.chosen(trial)):
        share = 100 * float(np.mean(value == 0))
        if share >= limit:
            return f"{share:.3g} % of {name} are zero"
    return ""


def unchanged_tensor(trial: Trial, step: int, options: Options) -> str:
    """A tensor that is close to what it was at the step saved before (numpy.allclose)."""
    rtol, atol, same_nan = options.number("rtol", 1e-5), options.number("atol", 1e-8), options.flag("equal_nan", False)
    for name, mode, value in _numbers(trial, step, options.chosen(trial)):
        earlier = trial.before(name, mode, step)
        if earlier is None:
            continue
        old = trial.value(name, mode, earlier)
        if old.shape == value.shape and np.allclose(value, old, rtol, atol, same_nan):
            return f"{name} has not changed since step {earlier}"
    return ""


def similar_across_runs(trial: Trial, step: int, options: Options) -> str:
    """A tensor that differs (numpy.allclose, NaN being like NaN) from that of the other run at the same step; one that only one run has does not."""
    other = trial.other or Trial()
    for name, mode, value in _numbers(trial, step, options.chosen(trial)):
        if step not in other.steps(name, mode):
            continue
        theirs = other.value(name, mode, step)
        if theirs.shape != value.shape:
            return f"{name} has the shape {value.shape}, in the other run {theirs.shape}"
        if not np.allclose(value, theirs, equal_nan=True):
            return f"{name} differs by up to {float(np.abs(value.astype(float) - theirs.astype(float)).max()):g} from the other run"
    return ""


def tensor_variance(trial: Trial, step: int, options: Options) -> str:
    """A variance above `max_threshold` or below `min_threshold`."""
    most, least = options.number("max_threshold", np.inf), options.number("min_threshold", -np.inf)
    for name, _, value in _numbers(trial, step, options.chosen(trial)):
        variance = float(value.var())
        if variance > most or variance < least:
            return f"the variance of {name} is {variance:g}"
    return ""


def weight_update_ratio(trial: Trial, step: int, options: Options) -> str:
    """mean |new − old| / (mean |old| + epsilon) of a weight over `num_steps` above `large_threshold` or below `small_threshold`."""
    large, small = options.number("large_threshold", 10), options.number("small_threshold", 1e-8)
    for name, mode, value in _numbers(trial, step, trial.names(collections=("weights",))):
        earlier = trial.before(name, mode, step, max(1, int(options.number("num_steps", 1))))
        if earlier is None:
            continue
        old = trial.value(name, mode, earlier)
        ratio = float(np.abs(value - old).mean() / (np.abs(old).mean() + options.number("epsilon", 1e-9)))
        if ratio > large or ratio < small:
            return f"{name} has been updated by {ratio:g} of its size since step {earlier}"
    return ""


def dead_relu(trial: Trial, step: int, options: Options) -> str:
    """A layer of which more than `threshold_layer` percent of the neurons are active for at most `threshold_inactivity` percent of the batch."""
    return _inactive(trial, step, options, RELU_OUTPUTS, "dead")


def saturated_activation(trial: Trial, step: int, options: Options) -> str:
    """The same for tanh and sigmoid: a neuron is active where its input lies between the thresholds."""
    return _inactive(trial, step, options, SATURATING, "saturated")


def poor_weight_initialization(trial: Trial, step: int, options: Options) -> str:
    """In the first `steps` saved steps: layers whose inputs' variances differ by more than `threshold` times, gradients whose 5th and 95th
    percentiles lie closer than `distribution_range`, or a loss that has not fallen for `patience` saved steps.
    """
    inputs = trial.names(options.text("activation_inputs_regex", RELU_INPUTS))
    gradients, losses = trial.names(collections=("gradients",)), trial.names(collections=(FALLING,))
    known = sorted({one for name in (*inputs, *gradients, *losses) for mode in trial.modes(name) for one in trial.steps(name, mode)})
    if step not in known[: int(options.number("steps", 10))]:
        return ""
    variances = [float(value.var()) for _, _, value in _numbers(trial, step, inputs)]
    if len(variances) > 1 and max(variances) > options.number("threshold", 10) * max(min(variances), 1e-30):
        return f"the variances of the layers' inputs differ {max(variances) / max(min(variances), 1e-30):.3g} times"
    for name, _, value in _numbers(trial, step, gradients):
        low, high = np.percentile(value, [5, 95])
        if high - low < options.number("distribution_range", 0.001):
            return f"the gradient {name} hardly differs between neurons: its 5th and 95th percentiles are {low:g} and {high:g}"
    return _stuck(trial, step, losses, int(options.number("patience", 5)))


def _stuck(trial: Trial, step: int, losses: list[str], patience: int) -> str:
    for name, mode, _ in trial.at(step, losses):
        seen = [trial.scalar(name, mode, one) for one in trial.steps(name, mode) if one <= step]
        if len(seen) > patience and min(seen[-patience:]) >= seen[-patience - 1]:
            return f"{name} has not fallen for {patience} saved steps"
    return ""


def _inactive(trial: Trial, step: int, options: Options, regex: str, word: str) -> str:
    inactivity, layer = options.number("threshold_inactivity", 1.0), options.number("threshold_layer", 50.0)
    for name, _, value in _numbers(trial, step, options.chosen(trial, regex)):
        active = value != 0 if word == "dead" else _is_between(name, value, options)
        rows = active.reshape(len(active), -1) if active.ndim else active.reshape(1, 1)
        share = 100 * float(np.mean(100 * rows.mean(axis=0) <= inactivity))
        if share > layer:
            return f"{share:.3g} % of the neurons of {name} are {word}"
    return ""


def _is_between(name: str, value: Array, options: Options) -> Array:
    if "sigmoid" in name.lower():
        low, high = options.number("threshold_sigmoid_min", -23), options.number("threshold_sigmoid_max", 16.99999)
    else:
        low, high = options.number("threshold_tanh_min", -9.4999), options.number("threshold_tanh_max", 9.4999)
    return np.asarray((value > low) & (value < high))


def _numbers(trial: Trial, step: int, names: list[str]) -> list[tuple[str, str, Array]]:
    return [(name, mode, value) for name, mode, value in trial.at(step, names) if value.size and value.dtype.kind in "fiub"]
