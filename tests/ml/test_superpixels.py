"""Superpixels, and Shapley values of them: exact against the definition, additive, masked by the baseline."""

from __future__ import annotations

import doctest
import math
from itertools import combinations
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from dewfall.ml import heatmaps, imageshap, superpixels
from dewfall.ml.imageshap import superpixel_shap
from dewfall.ml.superpixels import lab, slic

RNG = np.random.default_rng(0)
SEGMENTS = np.repeat(np.arange(4), 6).reshape(4, 6)
IMAGE, MASK = (RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8) for _ in range(2))


def curved(many: Any) -> Any:
    """Two outputs that are not additive in the pixels."""
    means = many.reshape(len(many), 4, -1).mean(axis=2) / 255
    return np.stack([means.prod(axis=1), (means[:, 0] - means[:, 3]) ** 2], axis=1)


@pytest.mark.parametrize("module", [superpixels, imageshap, heatmaps])
def test_examples(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_values_are_shapleys_by_their_definition() -> None:
    def worth(inside: Any) -> Any:
        return curved(np.where(np.isin(SEGMENTS, list(inside))[..., None], IMAGE, MASK)[None])[0]

    expected = np.zeros((4, 2))
    for player in range(4):
        others = [one for one in range(4) if one != player]
        for size in range(4):
            for held in combinations(others, size):
                weight = math.factorial(size) * math.factorial(3 - size) / math.factorial(4)
                expected[player] += weight * (worth({*held, player}) - worth(held))
    found = superpixel_shap(curved, IMAGE, MASK, SEGMENTS)
    assert np.allclose(found.values[0], expected, atol=1e-12)
    assert np.allclose(found.expected, worth(()))


def test_values_add_up_also_when_sampled_and_when_some_never_take_part() -> None:
    image, mask = (RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(2))
    segments = slic(image, 30)
    for players in (None, np.arange(0, segments.max() + 1, 2)):
        found = superpixel_shap(lambda many: many.mean(axis=(1, 2, 3)) ** 2, image, mask, segments, players=players, num_samples=50)
        assert np.allclose(found.expected + found.values.sum(axis=1), found.predictions)
    assert not np.allclose(found.predictions[0], image.mean() ** 2)  # the others are the mask's


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (31, 17), (400, 700)])
def test_superpixels_cover_connected_and_numbered(shape: tuple[int, int]) -> None:
    across = np.linspace(0, 255, shape[1])[None, :, None] + np.zeros((*shape, 3))
    found = slic(across.astype(np.uint8), 12)
    assert found.shape == shape
    assert set(np.unique(found)) == set(range(found.max() + 1))
    assert all(ndimage.label(found == number)[1] == 1 for number in range(found.max() + 1))


def test_lab_of_known_colours() -> None:
    """Red and blue of sRGB under D65, as the CIE's formulas give them."""
    assert np.allclose(lab(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8))[0], [[53.24, 80.09, 67.20], [32.30, 79.19, -107.86]], atol=0.05)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: slic(np.zeros((2, 2, 4))), "image"),
        (lambda: slic(np.full((2, 2, 3), 7.0)), "image"),
        (lambda: slic(IMAGE, 0), "num_segments"),
        (lambda: slic(IMAGE, compactness=0), "compactness"),
        (lambda: superpixel_shap(curved, IMAGE, MASK[:2], SEGMENTS), "baseline"),
        (lambda: superpixel_shap(curved, IMAGE, MASK, SEGMENTS[:2]), "segments"),
        (lambda: superpixel_shap(curved, IMAGE, MASK, SEGMENTS, players=[]), "players"),
        (lambda: superpixel_shap(lambda many: [1.0], IMAGE, MASK, SEGMENTS), "predict"),
        (lambda: imageshap.within(SEGMENTS, [0, 0, 1, 1], 2), "context"),
        (lambda: heatmaps.heatmap(IMAGE, SEGMENTS, [np.nan] * 4), "values"),
    ],
)
def test_what_does_not_fit_is_named(call: Any, named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
