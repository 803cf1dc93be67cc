"""Searching hyperparameters: what to try next, which trials to stop early, and when the search has converged.

The search itself is Optuna's, asked anew for every trial from the record of all former ones: no state is kept, so none can be lost, and
the same seed, number and record always give the same suggestion.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

STRATEGIES = ("Bayesian", "Random", "Hyperband", "Grid")
SCALINGS = ("Auto", "Linear", "Logarithmic", "ReverseLogarithmic")
WIDE = 1000.0  # a range that spans such a factor is searched logarithmically when its scaling is Auto
FIRST_AT_RANDOM = 5  # trials before the Bayesian search trusts what it has seen
ETA = 3  # Hyperband: of so many trials at a rung, one goes on
CONVERGENCE_MINIMUM = 20  # trials before a search may be said to have converged
SIGNIFICANT = 0.01  # an objective that is better by less than a hundredth is no improvement


@dataclass(frozen=True, slots=True)
class Range:
    """The values of one hyperparameter: `kind` integer, continuous or categorical; `low` and `high` inclusive, or the `values`."""

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    scaling: str = "Auto"
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A former trial: its hyperparameters as text, and its objective; None while it runs."""

    parameters: Mapping[str, str]
    value: float | None = None


def suggest(ranges: Sequence[Range], seen: Sequence[Seen], *, strategy: str, maximize: bool, seed: int, number: int) -> dict[str, str]:
    """The hyperparameters of trial `number` (from 1), as text by name.

    Bayesian: a tree-structured Parzen estimator (Bergstra et al. 2011) over the trials `seen`, those that run counted as bad so that
    parallel ones spread. Random and Hyperband: independent of what was seen. Grid: combination `number` of the categorical values, the
    last parameter changing fastest. ValueError for a range that cannot be searched, and beyond the grid's end.

    >>> suggest([Range("a", "categorical", values=("x", "y"))], [], strategy="Grid", maximize=True, seed=0, number=2)
    {'a': 'y'}
    >>> 1 <= int(suggest([Range("n", "integer", 1, 9)], [], strategy="Random", maximize=True, seed=7, number=1)["n"]) <= 9
    True
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy: {strategy!r} is none of {', '.join(STRATEGIES)}")
    if strategy == "Grid":
        return _grid_point(ranges, number)
    if not ranges:
        return {}
    import optuna

    distributions = {one.name: _distribution(one) for one in ranges}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize" if maximize else "minimize", sampler=_sampler(strategy, _mixed(seed, number)))
        if strategy == "Bayesian":
            study.add_trials([trial for one in seen if (trial := _trial(ranges, distributions, one)) is not None])
        found = study.ask(distributions).params
    return {one.name: _text(one, found[one.name]) for one in ranges}


def grid_size(ranges: Sequence[Range]) -> int:
    """How many combinations a grid of categorical ranges has; 1 without ranges. ValueError for other ranges.

    >>> grid_size([Range("a", "categorical", values=("x", "y")), Range("b", "categorical", values=("1", "2", "3"))])
    6
    """
    if any(one.kind != "categorical" for one in ranges):
        raise ValueError("ranges: a grid has categorical ranges only")
    return int(combinations(ranges))


def combinations(ranges: Sequence[Range]) -> float:
    """How many different trials the ranges allow: infinitely many as soon as one is continuous.

    >>> combinations([Range("a", "categorical", values=("x", "y")), Range("b", "integer", 1, 3)])
    6.0
    """
    return float(math.prod(_size(one) for one in ranges))


def _size(one: Range) -> float:
    if one.kind == "continuous":
        return math.inf
    return len(one.values) if one.kind == "categorical" else one.high - one.low + 1


def check_range(one: Range) -> None:
    """ValueError, saying what is wrong, for a range that cannot be searched.

    >>> check_range(Range("x", "continuous", 0.0, 1.0, "Logarithmic"))
    Traceback (most recent call last):
    ValueError: range x: logarithmic scaling needs a minimum greater than 0
    """
    if one.kind == "categorical":
        if not one.values or len(set(one.values)) != len(one.values):
            raise ValueError(f"range {one.name}: its values must be distinct")
        return
    if not (math.isfinite(one.low) and math.isfinite(one.high)) or one.low > one.high:
        raise ValueError(f"range {one.name}: the minimum {one.low:g} is greater than the maximum {one.high:g}")
    if one.scaling == "Logarithmic" and one.low <= 0:
        raise ValueError(f"range {one.name}: logarithmic scaling needs a minimum greater than 0")
    if one.scaling == "ReverseLogarithmic" and (one.kind != "continuous" or one.low < 0 or one.high >= 1):
        raise ValueError(f"range {one.name}: reverse logarithmic scaling needs a continuous range within 0 <= x < 1")


def stops_early(curve: Sequence[float], others: Sequence[Sequence[float]], *, maximize: bool) -> bool:
    """Whether a running trial does worse than most did, by the median rule (Golovin et al. 2017, "Google Vizier", 3.2.2).

    `curve`: its objective after each epoch; `others`: those of finished trials. It stops when its last value is worse than the median of the
    others' averages up to the same epoch; never with fewer than three others that came as far.

    >>> stops_early([0.9, 0.9], [[0.5, 0.4], [0.5, 0.3], [0.6, 0.5]], maximize=False)
    True
    """
    epochs = len(curve)
    averages = [statistics.fmean(other[:epochs]) for other in others if len(other) >= epochs]
    if not epochs or len(averages) < 3:
        return False
    median = statistics.median(averages)
    return curve[-1] < median if maximize else curve[-1] > median


@dataclass(frozen=True, slots=True)
class Resources:
    """Hyperband's: epochs before the first rung, and after which a trial has had enough (0: as many as it takes)."""

    least: int = 1
    most: int = 0


def falls_behind(curve: Sequence[float], others: Sequence[Sequence[float]], resources: Resources, *, number: int = 1, maximize: bool = True) -> bool:
    """Whether a running trial ends at its rung, by asynchronous successive halving (Li et al. 2020, "Massively parallel hyperparameter tuning").

    Rungs lie at `resources.least * 3**k` epochs; trial `number` begins with the bracket that it falls into. At its latest rung it goes on if it is
    among the best third of all that came there. A trial that has had its `most` epochs ends in any case.

    >>> falls_behind([0.1], [[0.9], [0.8], [0.7]], Resources(1, 9), maximize=True)
    True
    """
    if resources.most and len(curve) >= resources.most:
        return True
    brackets = 1 + (int(math.log(resources.most / resources.least, ETA) + 1e-9) if resources.most > resources.least else 0)
    rung, reached = resources.least * ETA ** ((number - 1) % brackets), 0
    while rung <= len(curve):
        reached, rung = rung, rung * ETA
    values = [other[reached - 1] for other in others if len(other) >= reached]
    if not reached or len(values) < ETA - 1:
        return False
    better = sum(value > curve[reached - 1] if maximize else value < curve[reached - 1] for value in values)
    return better >= max(1, (len(values) + 1) // ETA)


def not_improving(values: Sequence[float], *, maximize: bool) -> int:
    """How many of the last trials, in the order of their end, have not made the best objective better by a hundredth of it.

    The best is what the last improvement reached, so that many small steps together are one.

    >>> not_improving([1.0, 3.0, 2.0, 3.01], maximize=True)
    2
    """
    best, since = -math.inf, 0
    for value in values:
        signed = value if maximize else -value
        if signed > best and (best == -math.inf or signed - best >= SIGNIFICANT * abs(best)):
            best, since = signed, 0
        else:
            since += 1
    return since


def converged_after(values: Sequence[float], *, maximize: bool) -> int:
    """After how many trials, in the order of their end, the search went on in vain: of 20 or more, the latter half had not made the best better
    by a hundredth of it. 0: it has not converged.

    >>> converged_after([0.1, 0.5, 0.9] + [0.5] * 30, maximize=True)
    20
    """
    return next((n for n in range(CONVERGENCE_MINIMUM, len(values) + 1) if not_improving(values[:n], maximize=maximize) >= n / 2), 0)


def _grid_point(ranges: Sequence[Range], number: int) -> dict[str, str]:
    if not 1 <= number <= grid_size(ranges):
        raise ValueError(f"number: the grid has {grid_size(ranges)} combinations")
    values = next(itertools.islice(itertools.product(*(one.values for one in ranges)), number - 1, None))
    return dict(zip((one.name for one in ranges), values, strict=True))


def _mixed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big")


def _sampler(strategy: str, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler, TPESampler

    if strategy == "Bayesian":
        return TPESampler(seed=seed, n_startup_trials=FIRST_AT_RANDOM, constant_liar=True)
    return RandomSampler(seed=seed)


def _is_logarithmic(one: Range) -> bool:
    return one.scaling == "Logarithmic" or (one.scaling == "Auto" and one.low > 0 and one.high / one.low >= WIDE)


def _distribution(one: Range) -> BaseDistribution:
    """ReverseLogarithmic is searched as the logarithm of 1 - x."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    check_range(one)
    if one.kind == "categorical":
        return CategoricalDistribution(one.values)
    if one.kind == "integer":
        return IntDistribution(int(one.low), int(one.high), log=_is_logarithmic(one))
    if one.scaling == "ReverseLogarithmic":
        return FloatDistribution(1.0 - one.high, 1.0 - one.low, log=True)
    return FloatDistribution(one.low, one.high, log=_is_logarithmic(one))


def _trial(ranges: Sequence[Range], distributions: dict[str, BaseDistribution], seen: Seen) -> Any:
    """A former trial as Optuna's; None when its parameters are not of these ranges, or its objective is no number."""
    from optuna.trial import TrialState, create_trial

    if seen.value is not None and not math.isfinite(seen.value):
        return None
    try:
        parameters = {one.name: _value(one, seen.parameters[one.name]) for one in ranges}
        state = TrialState.RUNNING if seen.value is None else TrialState.COMPLETE
        return create_trial(state=state, value=seen.value, params=parameters, distributions=distributions)
    except (KeyError, ValueError):
        return None


def _value(one: Range, text: str) -> Any:
    if one.kind == "categorical":
        return text
    if one.kind == "integer":
        return int(float(text))
    value = float(text)
    return min(max(1.0 - value, 1.0 - one.high), 1.0 - one.low) if one.scaling == "ReverseLogarithmic" else value


def _text(one: Range, value: Any) -> str:
    if one.kind == "continuous" and one.scaling == "ReverseLogarithmic":
        return repr(min(max(1.0 - value, one.low), one.high))
    return value if one.kind == "categorical" else repr(value)
