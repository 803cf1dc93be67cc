"""Rules on losses: does it fall, and does it fall for rows that were not trained on?"""

from __future__ import annotations

import re

from dewfall.ml.debugging.trial import Options, Trial

HELD_OUT = re.compile(r"^(validation|valid|val|eval|test)[-_/]", re.I)
FALLING = "losses"


def loss_not_decreasing(trial: Trial, step: int, options: Options) -> str:
    """A loss that has fallen by less than `diff_percent` since the last saved step at least `num_steps` ago, or risen by more than
    `increase_threshold_percent`.

    The percentages are of the earlier loss's size. A rise below its threshold is tolerated.
    """
    distance = max(1, int(options.number("num_steps", 10)))
    wanted, tolerated = options.number("diff_percent", 0.1), options.number("increase_threshold_percent", 5)
    for name, mode, value in trial.at(step, _losses(trial, options)):
        earlier = trial.before(name, mode, step, distance)
        if earlier is None or not _is_turn(trial.steps(name, mode), step, distance):
            continue
        old, new = trial.scalar(name, mode, earlier), float(value.mean())
        fall = 100 * (old - new) / max(abs(old), 1e-12)
        if -fall > tolerated or 0 <= fall < wanted:
            return f"{name} went from {old:g} at step {earlier} to {new:g}, a decrease of {fall:g} %"
    return ""


def overfit(trial: Trial, step: int, options: Options) -> str:
    """(validation − training) / training above `ratio_threshold` at `patience` steps in a row, from `start_step` on."""
    limit, patience = options.number("ratio_threshold", 0.1), max(1, int(options.number("patience", 1)))
    if step < options.number("start_step", 0):
        return ""
    steps = [one for one in _common_steps(trial, options) if options.number("start_step", 0) <= one <= step][-patience:]
    if len(steps) < patience or steps[-1] != step:
        return ""
    ratios = []
    for one in steps:
        train, held = _mean(trial, options, one, held_out=False), _mean(trial, options, one, held_out=True)
        ratios.append((held - train) / max(abs(train), 1e-12))
    return f"the validation loss is {100 * ratios[-1]:.3g} % above the training loss" if min(ratios) > limit else ""


def overtraining(trial: Trial, step: int, options: Options) -> str:
    """A training loss without a new optimum for more than `patience_train` steps or a validation loss for `patience_validation` steps.

    A loss counts as a new optimum when it is better than the last one by more than `delta`. Steps are those at which the loss was saved.
    """
    delta = options.number("delta", 0.01)
    for name, mode, _ in trial.at(step, _losses(trial, options)):
        held = _is_held_out(name, mode)
        patience = options.number("patience_validation", 10) if held else options.number("patience_train", 5)
        best, since = float("inf"), 0
        for one in (known for known in trial.steps(name, mode) if known <= step):
            loss = trial.scalar(name, mode, one)
            best, since = (loss, 0) if loss < best - delta else (best, since + 1)
        if since > patience:
            return f"{name} has not improved for {since} saved steps"
    return ""


def _losses(trial: Trial, options: Options) -> list[str]:
    uses = options.flag("use_losses_collection", True) or not (options.text("tensor_regex") or options.text("collection_names"))
    own = options.chosen(trial, collection=FALLING) if options.text("tensor_regex") or options.text("collection_names") else []
    return list(dict.fromkeys([*own, *(trial.names(collections=(FALLING,)) if uses and not own else ())]))


def _is_turn(steps: list[int], step: int, distance: int) -> bool:
    """Whether the rule looks at this step: it does at the first saved one, and whenever `distance` steps have gone by since."""
    looked = None
    for one in steps:
        if looked is None or one - looked >= distance:
            looked = one
            if one == step:
                return True
    return False


def _is_held_out(name: str, mode: str) -> bool:
    return mode == "EVAL" or bool(HELD_OUT.match(name))


def _pairs(trial: Trial, options: Options, held_out: bool) -> list[tuple[str, str]]:
    names = _losses(trial, options)
    return [(name, mode) for name in names for mode in trial.modes(name) if _is_held_out(name, mode) == held_out]


def _common_steps(trial: Trial, options: Options) -> list[int]:
    """Steps of the validation loss that have a training loss at or before them."""
    held = {step for pair in _pairs(trial, options, held_out=True) for step in trial.steps(*pair)}
    trained = sorted(step for pair in _pairs(trial, options, held_out=False) for step in trial.steps(*pair))
    return sorted(step for step in held if trained and trained[0] <= step)


def _mean(trial: Trial, options: Options, step: int, *, held_out: bool) -> float:
    values = []
    for name, mode in _pairs(trial, options, held_out):
        at = trial.before(name, mode, step, 0)
        if at is not None:
            values.append(trial.scalar(name, mode, at))
    return sum(values) / len(values)
