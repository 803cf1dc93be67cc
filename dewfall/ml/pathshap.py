"""TreeSHAP compiled: path-dependent, which is what LightGBM's pred_contrib and XGBoost's pred_contribs give, and against a baseline.

Path-dependent means that a feature that is left out follows both branches in proportion to the training data that went there. The
mathematics is in pathkernel.py. Sources: Lundberg et al. 2020 for the values; Yang, "Fast TreeSHAP", 2021, for computing beforehand what a
leaf gives; Yu et al., "Linear tree Shap", NeurIPS 2022, for the polynomial.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from dewfall.ml.trees import Node, Trees

Numbers = NDArray[np.float64]
LONGEST = 62  # different features on a path
TABLE = 4_000_000  # numbers precomputed per tree
LEAST_ROWS, MOST_ROWS = 4096, 65_536  # at a time per thread
WORD = 64


@dataclass(frozen=True, slots=True)
class Flat:
    """An ensemble as arrays. Splits and leaves are numbered tree by tree.

    splits, tree_leaf (trees + 1): where each tree's begin. feature, cut, nan_left: per split. values (leaves, k). leaf_slot (leaves + 1): where
    the different features of a leaf's path begin in slot_feature and ratio. leaf_test (leaves + 1): where its tests begin: feature test_slot
    of the path stays on it where the bits test_mask of the tree's word test_word equal test_want.
    """

    splits: NDArray[np.int64]
    feature: NDArray[np.int64]
    cut: Numbers
    nan_left: NDArray[np.bool_]
    tree_leaf: NDArray[np.int64]
    values: Numbers
    leaf_slot: NDArray[np.int64]
    slot_feature: NDArray[np.int64]
    ratio: Numbers
    leaf_test: NDArray[np.int64]
    test_slot: NDArray[np.int64]
    test_word: NDArray[np.int64]
    test_mask: NDArray[np.uint64]
    test_want: NDArray[np.uint64]


def is_fast() -> bool:
    """Whether the compiled kernel can be had."""
    from importlib.util import find_spec

    return find_spec("numba") is not None


def path_values(trees: Trees, data: Numbers, *, threads: int = 0) -> Numbers:
    """Values (n, d, k). Raises ValueError (model) for trees without covers or with more than 62 different features on a path.

    threads: 0 means as many as there are processors, where there are rows enough for them.
    """
    from dewfall.ml.pathkernel import explain_trees

    held = arrays(trees)
    points, weights = quadrature(_longest(held))

    def run(columns: Numbers, value: Numbers, out: Numbers) -> None:
        explain_trees(
            columns, held.splits, held.feature, held.cut, held.nan_left, held.tree_leaf, value, held.leaf_slot, held.slot_feature, held.ratio,
            held.leaf_test, held.test_slot, held.test_word, held.test_mask, held.test_want, points, weights, TABLE, out,
        )  # fmt: skip

    return _in_parts(trees, held, data, run, threads)


def baseline_values(trees: Trees, data: Numbers, background: Numbers, weights: tuple[Numbers, Numbers], *, threads: int = 0) -> Numbers:
    """Interventional values (n, d, k), averaged over the background (b, d). weights: of p and q up to the longest path, as treeshap has them."""
    from dewfall.ml.pathkernel import compare_trees

    held = arrays(trees)
    others = np.ascontiguousarray(background.T)

    def run(columns: Numbers, value: Numbers, out: Numbers) -> None:
        compare_trees(
            columns, others, held.splits, held.feature, held.cut, held.nan_left, held.tree_leaf, value, held.leaf_slot, held.slot_feature,
            held.leaf_test, held.test_slot, held.test_word, held.test_mask, held.test_want, *weights, out,
        )  # fmt: skip

    return _in_parts(trees, held, data, run, threads) / len(background)


def _in_parts(trees: Trees, held: Flat, data: Numbers, run: Callable[[Numbers, Numbers, Numbers], None], threads: int) -> Numbers:
    """Rows in parts that bound the memory, each output by itself."""
    found = np.zeros((*data.shape, trees.outputs))
    values = [np.ascontiguousarray(held.values[:, output]) for output in range(trees.outputs)]
    count = threads or max(1, min(os.cpu_count() or 1, len(data) // LEAST_ROWS))
    size = min(MOST_ROWS, max(1, -(-len(data) // count)))

    def part(start: int) -> None:
        columns = np.ascontiguousarray(data[start : start + size].T)
        for output, value in enumerate(values):
            out = np.zeros_like(columns)
            run(columns, value, out)
            found[start : start + size, :, output] = out.T

    if len(data) <= size:
        part(0)
        return found
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(part, range(0, len(data), size)))
    return found


def arrays(trees: Trees) -> Flat:
    """The ensemble as arrays, kept with it. Raises ValueError (model) as path_values."""
    kept = trees.__dict__.get("_flat")
    if kept is None:
        kept = trees.__dict__["_flat"] = flat(trees)
    return cast(Flat, kept)


def longest(trees: Trees) -> int:
    """The most different features on a path."""
    return _longest(arrays(trees))


def _longest(held: Flat) -> int:
    return int(np.diff(held.leaf_slot).max(initial=0))


def quadrature(most: int) -> tuple[Numbers, Numbers]:
    """Points and weights (most + 1, ⌈most/2⌉) on [0, 1]: row m integrates polynomials of degree m - 1 exactly."""
    points, weights = np.zeros((most + 1, (most + 1) // 2 + 1)), np.zeros((most + 1, (most + 1) // 2 + 1))
    for m in range(1, most + 1):
        count = (m + 1) // 2
        x, w = np.polynomial.legendre.leggauss(count)
        points[m, :count], weights[m, :count] = (x + 1) / 2, w / 2
    return points, weights


def flat(trees: Trees) -> Flat:
    """The ensemble as arrays. Raises ValueError (model) as path_values."""
    splits, tree_leaf = [0], [0]
    feature: list[int] = []
    cut: list[float] = []
    nan_left: list[bool] = []
    leaves: list[tuple[Numbers, list[tuple[int, float]], list[tuple[int, int, int, int]]]] = []
    for nodes in trees.nodes:
        inner = [place for place, node in enumerate(nodes) if node.value is None]
        feature += [nodes[place].feature for place in inner]
        cut += [nodes[place].cut for place in inner]
        nan_left += [nodes[place].nan_left for place in inner]
        leaves += _paths(nodes, {place: number for number, place in enumerate(inner)})
        splits.append(len(feature))
        tree_leaf.append(len(leaves))
    slots = [slot for _, path, _ in leaves for slot in path]
    tests = [test for _, _, held in leaves for test in held]
    whole = np.array([(slot, word) for slot, word, _, _ in tests], dtype=np.int64).reshape(-1, 2)
    bits = np.array([(mask, want) for _, _, mask, want in tests], dtype=np.uint64).reshape(-1, 2)
    return Flat(
        np.array(splits), np.array(feature, dtype=np.int64), np.array(cut, dtype=np.float64), np.array(nan_left, dtype=np.bool_), np.array(tree_leaf),
        np.array([value for value, _, _ in leaves]).reshape(len(leaves), -1), np.cumsum([0, *(len(path) for _, path, _ in leaves)]),
        np.array([name for name, _ in slots], dtype=np.int64), np.array([ratio for _, ratio in slots], dtype=np.float64),
        np.cumsum([0, *(len(held) for _, _, held in leaves)]), np.ascontiguousarray(whole[:, 0]), np.ascontiguousarray(whole[:, 1]),
        np.ascontiguousarray(bits[:, 0]), np.ascontiguousarray(bits[:, 1]),
    )  # fmt: skip


def _paths(nodes: list[Node], numbers: dict[int, int]) -> list[tuple[Numbers, list[tuple[int, float]], list[tuple[int, int, int, int]]]]:
    """Per leaf its value, the different features of its path with the share of training rows that each lets pass, and its tests."""
    found = []
    waiting: list[tuple[int, list[tuple[int, float, int, bool]]]] = [(0, [])]
    while waiting:
        place, path = waiting.pop()
        node = nodes[place]
        if node.value is not None:
            found.append((node.value, *_merged(path)))
            continue
        if node.cover <= 0:
            raise ValueError("model: its nodes do not tell how much of the training data came by")
        for child, is_left in ((node.left, True), (node.right, False)):
            waiting.append((child, [*path, (node.feature, nodes[child].cover / node.cover, numbers[place], is_left)]))
    return found


def _merged(path: list[tuple[int, float, int, bool]]) -> tuple[list[tuple[int, float]], list[tuple[int, int, int, int]]]:
    ratios: dict[int, float] = {}
    tests: dict[tuple[int, int], tuple[int, int]] = {}
    for feature, ratio, number, is_left in path:
        ratios[feature] = ratios.get(feature, 1.0) * ratio
        place = (list(ratios).index(feature), number // WORD)
        mask, want = tests.get(place, (0, 0))
        bit = 1 << number % WORD
        tests[place] = mask | bit, want | (bit if is_left else 0)
    if len(ratios) > LONGEST:
        raise ValueError(f"model: a path with more than {LONGEST} different features")
    return list(ratios.items()), [(slot, word, mask, want) for (slot, word), (mask, want) in tests.items()]
