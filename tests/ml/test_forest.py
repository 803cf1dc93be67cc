"""Random cut forests: the structure of trees, and scores against a plain recursive computation."""

import doctest

import numpy as np
import pytest
from numpy.typing import NDArray

from dewfall.ml import forest

RNG = np.random.default_rng(4)
POINTS = RNG.normal(size=(200, 3))


def recursive(grown: forest.Forest, node: int, point: NDArray[np.float32], depth: int, beside: float) -> tuple[float, float]:
    """(expected depth score, expected displacement) of one point below one node, by the definitions."""
    low, high, mass = grown.low[node].astype(float), grown.high[node].astype(float), float(grown.mass[node])
    outside = float(np.maximum(0, np.maximum(low - point, point - high)).sum())
    side = float((high - low).sum())
    if grown.left[node] < 0:
        if outside:
            return 1 / (depth + 1), max(beside, mass)
        return (1 - mass / (2 * grown.mass[grown.roots[0]])) / (depth + np.log2(1 + mass)), beside
    parted = outside / (outside + side) if outside else 0.0
    child = int(grown.left[node] if point[grown.feature[node]] <= grown.cut[node] else grown.right[node])
    below = recursive(grown, child, point, depth + 1, max(beside, (mass - grown.mass[child]) / (grown.mass[child] + 1)))
    return parted / (depth + 1) + (1 - parted) * below[0], parted * max(beside, mass) + (1 - parted) * below[1]


def test_examples() -> None:
    assert doctest.testmod(forest).failed == 0


def test_scores_equal_the_recursive_definition() -> None:
    grown = forest.grow(POINTS, trees=1, samples=64)
    asked = np.concatenate([POINTS[:5], RNG.normal(size=(5, 3)) * 5]).astype(np.float32)
    want = [recursive(grown, 0, point, 0, 0.0) for point in asked]
    assert np.allclose(forest.score(grown, asked), [one * np.log2(65) for one, _ in want], rtol=1e-4)
    assert np.allclose(forest.displacement(grown, asked), [one for _, one in want], rtol=1e-4)


def test_masses_of_children_add_up_and_lie_on_their_sides() -> None:
    grown = forest.grow(POINTS, trees=3, samples=50)
    inner = np.flatnonzero(grown.left >= 0)
    assert np.array_equal(grown.mass[inner], grown.mass[grown.left[inner]] + grown.mass[grown.right[inner]])
    feature, cut = grown.feature[inner], grown.cut[inner]
    assert (grown.high[grown.left[inner], feature] <= cut).all()
    assert (grown.low[grown.right[inner], feature] > cut).all()


def test_far_points_score_higher() -> None:
    grown = forest.grow(POINTS)
    ordinary, odd = forest.score(grown, POINTS), forest.score(grown, POINTS[:20] + 8)
    assert odd.min() > ordinary.max()


def test_equal_points_make_a_leaf() -> None:
    grown = forest.grow(np.ones((30, 2)), trees=2, samples=10)
    assert grown.mass.tolist() == [10, 10]
    assert forest.score(grown, np.ones((1, 2))).shape == (1,)


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.array([[np.nan]])])
def test_unusable_points_are_refused(points: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="points"):
        forest.grow(points)
