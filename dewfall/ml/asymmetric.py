"""Asymmetric Shapley values of forecasts (Frye, Rowat, Feige 2020): what each time step adds when steps join in the order of time.

A symmetric value averages over all orders of joining; time has one order, so a step's value is what the forecast gains as it joins after
(chronological) or before (anti_chronological) the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Game = Callable[[NDArray[np.bool_]], Numbers]
DIRECTIONS = ("chronological", "anti_chronological", "bidirectional")


def timewise(game: Game, steps: int, direction: str = "chronological") -> tuple[Numbers, Numbers]:
    """(values (steps, h), expected (h,)): each step's share in each point of the forecast.

    game: masks (m, steps), True where a step is there → forecasts (m, h). values.sum(axis=0) + expected is the forecast with every step.
    Raises ValueError (direction, steps, game).

    >>> values, expected = timewise(lambda masks: masks @ np.array([[1.0], [2.0]]), 2)
    >>> values.ravel().tolist(), expected.tolist()
    ([1.0, 2.0], [0.0])
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction: {direction!r} is not one of {', '.join(DIRECTIONS)}")
    if steps < 1:
        raise ValueError("steps: at least one is needed")
    if direction == "bidirectional":
        one, other = timewise(game, steps), timewise(game, steps, "anti_chronological")
        return (one[0] + other[0]) / 2, one[1]
    joined = np.tri(steps + 1, steps, -1, dtype=bool)
    if direction == "anti_chronological":
        joined = joined[:, ::-1]
    worth = _asked(game, joined)
    gains = np.diff(worth, axis=0)
    return (gains if direction == "chronological" else gains[::-1]), worth[0]


def fine_grained(game: Game, steps: int, features: int, samples: int, *, static: int = 0, seed: int = 0) -> tuple[Numbers, Numbers, Numbers]:
    """(values (steps, features, h), static values (static, h), expected (h,)): each feature's share at each step, in the order of time.

    Static features join first, then step after step; within a step, the order of features is drawn `samples` times and averaged (all
    orders are taken where there are no more than that). game: masks (m, static + steps·features), steps slowest. Raises ValueError (samples).

    >>> weights = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> fine_grained(lambda masks: masks @ weights, 2, 2, 4)[0][:, :, 0].tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if samples < 1:
        raise ValueError("samples: at least one is needed")
    rng = np.random.default_rng(seed)
    values: Any = 0.0
    fixed: Any = 0.0
    expected = np.zeros(0)
    rounds = _orders(max(features, static), samples, rng)
    for order in rounds:
        first = [player for player in order if player < static]
        path = [*first, *(static + step * features + feature for step in range(steps) for feature in order if feature < features)]
        joined = np.zeros((len(path) + 1, static + steps * features), dtype=bool)
        for place, player in enumerate(path):
            joined[place + 1 :, player] = True
        worth = _asked(game, joined)
        gains = np.empty((len(path), worth.shape[1]))
        gains[path] = np.diff(worth, axis=0)
        fixed, values, expected = fixed + gains[:static], values + gains[static:], worth[0]
    count = len(rounds)
    shaped = np.asarray(values).reshape(steps, features, -1) / count
    return shaped, np.asarray(fixed).reshape(static, -1) / count if static else np.zeros((0, shaped.shape[2])), expected


def _orders(players: int, samples: int, rng: np.random.Generator) -> list[list[int]]:
    import itertools
    import math

    if math.factorial(min(players, 12)) <= samples:
        return [list(order) for order in itertools.permutations(range(players))]
    return [rng.permutation(players).tolist() for _ in range(samples)]


def _asked(game: Game, masks: Any) -> Numbers:
    worth = np.asarray(game(masks), dtype=np.float64)
    if worth.ndim != 2 or len(worth) != len(masks):
        raise ValueError(f"game: returned shape {worth.shape} for {len(masks)} masks")
    if not np.isfinite(worth).all():
        raise ValueError("game: returned missing or infinite values")
    return worth
