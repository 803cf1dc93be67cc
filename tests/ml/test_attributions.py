"""Asymmetric Shapley values and prototypes, against what can be worked out by hand."""

from __future__ import annotations

import doctest
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dewfall.ml import asymmetric, prototypes


@pytest.mark.parametrize("module", [asymmetric, prototypes])
def test_examples(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def product(masks: Any) -> Any:
    return np.prod(np.where(masks, [2.0, 3.0, 5.0], 1.0), axis=1, keepdims=True)


def everyone(masks: Any) -> Any:
    return masks.all(axis=1, keepdims=True) * 6.0


@pytest.mark.parametrize(
    ("direction", "values"),
    [("chronological", [1.0, 4.0, 24.0]), ("anti_chronological", [15.0, 10.0, 4.0]), ("bidirectional", [8.0, 7.0, 14.0])],
)
def test_steps_join_in_their_order(direction: str, values: list[float]) -> None:
    found, expected = asymmetric.timewise(product, 3, direction)
    assert found.ravel().tolist() == values
    assert found.sum() + expected[0] == 30.0


def test_features_of_a_step_share_what_they_do_together() -> None:
    values, static, expected = asymmetric.fine_grained(everyone, 1, 2, 100, static=1)
    assert values.ravel().tolist() == [3.0, 3.0]
    assert (static.ravel().tolist(), expected.tolist()) == ([0.0], [0.0])


def test_prototypes_find_the_number_of_groups() -> None:
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(centre, 0.1, (50, 2)) for centre in ((0, 0), (5, 5), (0, 9))])
    centres = prototypes.prototypes(rows)
    assert sorted(centres.round().astype(int).tolist()) == [[0, 0], [0, 9], [5, 5]]


def test_categories_take_their_commonest_value() -> None:
    rows = np.array([["a", 1.0], ["a", 2.0], ["b", 3.0]], dtype=object)
    assert prototypes.prototypes(rows, 1).tolist() == [["a", 2.0]]
