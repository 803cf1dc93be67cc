"""The sketch against Deequ's, and its promises about ranks."""

import doctest
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dewfall.ml import kll

SEQUENCE = ((np.arange(20000) * 7919) % 10007) / 10


def test_examples() -> None:
    assert doctest.testmod(kll).failed == 0


def test_levels_and_buckets_equal_deequ(golden: Callable[[str], Any]) -> None:
    want = golden("kll_golden")
    sketch = kll.learn(kll.Sketch(), SEQUENCE)
    levels = [level.items for level in sketch.levels]
    assert [len(items) for items in levels] == want["level_sizes"]
    assert [items.sum() for items in levels] == pytest.approx(want["level_sums"], rel=1e-12)
    assert [items[:3].tolist() for items in levels] == want["level_first3"]
    assert [items[-3:].tolist() for items in levels] == want["level_last3"]
    assert sketch.count == want["total_weight"]
    for found, bucket in zip(kll.buckets(sketch, want["min"], want["max"]), want["buckets"], strict=True):
        assert found == pytest.approx(bucket, rel=1e-12)


def test_batches_do_not_change_the_sketch() -> None:
    whole = kll.learn(kll.Sketch(), SEQUENCE)
    parts = kll.Sketch()
    for part in np.split(SEQUENCE, [1, 2, 5000, 5001, 13000]):
        parts = kll.learn(parts, part)
    assert kll.to_json(parts) == kll.to_json(whole)


def test_merged_ranks_are_close() -> None:
    data = np.random.default_rng(5).normal(size=60000)
    merged = kll.merge(kll.learn(kll.Sketch(), data[:20000]), kll.learn(kll.Sketch(), data[20000:]))
    assert merged.count == pytest.approx(60000, rel=0.001)
    shares = np.linspace(0.01, 0.99, 25)
    ranks = np.searchsorted(np.sort(data), kll.quantiles(merged, list(shares))) / len(data)
    assert np.abs(ranks - shares).max() < 0.01


def test_json_is_read_back() -> None:
    sketch = kll.learn(kll.Sketch(), SEQUENCE)
    assert kll.to_json(kll.from_json(kll.to_json(sketch))) == kll.to_json(sketch)
    with pytest.raises(ValueError, match="document"):
        kll.from_json({"data": []})


def test_a_constant_column_and_an_empty_one() -> None:
    counts = [bucket["count"] for bucket in kll.buckets(kll.learn(kll.Sketch(), [4.0] * 7), 4.0, 4.0)]
    assert counts == [0.0] * 9 + [7.0]
    assert np.isnan(kll.quantiles(kll.Sketch(), [0.5])).all()


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [[1.0]]])
def test_bad_values_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="values"):
        kll.learn(kll.Sketch(), values)
