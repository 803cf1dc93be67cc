"""Searching hyperparameters: suggestions, early stopping, convergence."""

from __future__ import annotations

import doctest
import math

import pytest

from dewfall.ml import tuning
from dewfall.ml.tuning import Range, Resources, Seen, check_range, converged_after, falls_behind, grid_size, not_improving, stops_early, suggest

RANGES = [
    Range("depth", "integer", 1, 12),
    Range("rate", "continuous", 1e-4, 1.0, "Logarithmic"),
    Range("momentum", "continuous", 0.5, 0.999, "ReverseLogarithmic"),
    Range("kind", "categorical", values=("a", "b", "c")),
]


def ask(
    number: int, seen: list[Seen] | None = None, *, strategy: str = "Bayesian", seed: int = 3, ranges: list[Range] | None = None
) -> dict[str, str]:
    return suggest(ranges or RANGES, seen or [], strategy=strategy, maximize=False, seed=seed, number=number)


def test_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(tuning).failed == 0


@pytest.mark.parametrize("strategy", ["Bayesian", "Random", "Hyperband"])
def test_suggestions_lie_within_their_ranges_and_differ(strategy: str) -> None:
    found = [ask(number, strategy=strategy) for number in range(1, 30)]
    assert all(1 <= int(one["depth"]) <= 12 and 1e-4 <= float(one["rate"]) <= 1.0 for one in found)
    assert all(0.5 <= float(one["momentum"]) <= 0.999 for one in found)
    assert {one["kind"] for one in found} == {"a", "b", "c"}
    assert len({one["rate"] for one in found}) == len(found)


def test_the_same_seed_and_record_give_the_same_suggestion() -> None:
    seen = [Seen(ask(number), float(number)) for number in range(1, 10)] + [Seen(ask(10))]
    assert ask(11, seen) == ask(11, seen)
    assert ask(11, seen) != ask(11, seen, seed=4)


def test_the_bayesian_search_finds_a_valley_sooner_than_chance() -> None:
    valley = [Range("x", "continuous", -10.0, 10.0), Range("y", "continuous", -10.0, 10.0)]

    def best(strategy: str, seed: int) -> float:
        seen: list[Seen] = []
        for number in range(1, 41):
            point = ask(number, seen, strategy=strategy, seed=seed, ranges=valley)
            seen.append(Seen(point, (float(point["x"]) - 3) ** 2 + (float(point["y"]) + 2) ** 2))
        return min(one.value for one in seen if one.value is not None)

    bayesian, random = (sorted(best(strategy, seed) for seed in range(7))[3] for strategy in ("Bayesian", "Random"))
    assert bayesian < random


def test_former_trials_outside_the_ranges_are_left_out() -> None:
    strange = [Seen({"depth": "99", "rate": "5", "momentum": "0.6", "kind": "z"}, 1.0), Seen({}, 2.0), Seen(ask(1), math.nan)]
    assert ask(2, strange) == ask(2)


def test_logarithmic_scaling_spreads_over_magnitudes() -> None:
    one = [Range("rate", "continuous", 1e-6, 1.0)]
    small = sum(float(ask(number, strategy="Random", ranges=one)["rate"]) < 1e-3 for number in range(1, 101))
    assert 30 <= small <= 70


def test_a_grid_has_every_combination_once() -> None:
    grid = [Range("a", "categorical", values=("1", "2")), Range("b", "categorical", values=("x", "y", "z"))]
    found = {tuple(ask(number, strategy="Grid", ranges=grid).values()) for number in range(1, grid_size(grid) + 1)}
    assert len(found) == 6
    with pytest.raises(ValueError, match="the grid has 6 combinations"):
        ask(7, strategy="Grid", ranges=grid)
    with pytest.raises(ValueError, match="categorical ranges only"):
        grid_size(RANGES)


@pytest.mark.parametrize(
    "wrong",
    [
        Range("x", "integer", 5, 1),
        Range("x", "continuous", 0.1, 1.0, "ReverseLogarithmic"),
        Range("x", "integer", 0, 9, "Logarithmic"),
        Range("x", "categorical", values=("a", "a")),
        Range("x", "continuous", math.nan, 1.0),
    ],
)
def test_ranges_that_cannot_be_searched(wrong: Range) -> None:
    with pytest.raises(ValueError, match="range x:"):
        check_range(wrong)


def test_the_median_rule_compares_with_averages_up_to_the_same_epoch() -> None:
    others = [[1.0, 3.0], [2.0, 4.0], [3.0, 5.0]]  # averages after two epochs: 2, 3, 4
    assert stops_early([9.0, 2.9], others, maximize=True)
    assert not stops_early([0.0, 3.0], others, maximize=True)
    assert not stops_early([0.0], others[:2], maximize=True)


def test_hyperband_keeps_the_best_third_at_a_rung() -> None:
    others = [[0.1 * n] * 3 for n in range(1, 9)]
    assert not falls_behind([0.75] * 3, others, Resources(1, 0), maximize=True)
    assert falls_behind([0.3] * 3, others, Resources(1, 0), maximize=True)
    assert falls_behind([9.0] * 9, [], Resources(1, 9), maximize=True)
    assert not falls_behind([0.0] * 2, others, Resources(3, 27), maximize=True)


def test_convergence_needs_many_trials_in_vain() -> None:
    assert not_improving([3.0, 2.0, 2.5], maximize=False) == 1
    assert converged_after([float(n) for n in range(5)] + [4.0] * 20, maximize=True) == 20
    assert not converged_after([float(n) for n in range(30)], maximize=True)
    assert not converged_after([1.0] * 5, maximize=True)
