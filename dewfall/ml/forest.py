"""Robust random cut forests: how much a point disturbs trees that were cut at random.

Built and scored for all trees at once, level by level in arrays, because a Python step per node would be a hundred times slower.
Sources: Guha, Mishra, Roy, Schrijvers, "Robust Random Cut Forest Based Anomaly Detection on Streams", ICML 2016; the score's depth
functions are those that AWS publishes with its open-source random cut forest.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
MEMORY_ROWS = 4_000_000


@dataclass(frozen=True, slots=True)
class Forest:
    """Nodes of all trees in one table; `roots[t]` is tree t's first node, a leaf has `left` = -1."""

    roots: Ints
    feature: Ints
    cut: Floats
    left: Ints
    right: Ints
    mass: Ints
    low: Floats
    high: Floats

    @property
    def dimension(self) -> int:
        return int(self.low.shape[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        names = ("roots", "feature", "cut", "left", "right", "mass", "low", "high")
        return {name: getattr(self, name) for name in names}


def grow(points: NDArray[Any], *, trees: int = 100, samples: int = 256, seed: int = 0) -> Forest:
    """Grow a forest, each tree on its own sample drawn without replacement.

    points: (n, d) finite numbers. trees, samples: positive; a tree takes at most n rows.
    A cut's dimension is drawn in proportion to the side lengths of the bounding box, its place uniformly (Guha et al., definition 1).
    Raises ValueError when points is empty or not finite.

    >>> forest = grow(np.arange(40.0).reshape(20, 2), trees=3, samples=8)
    >>> [int(forest.mass[root]) for root in forest.roots]
    [8, 8, 8]
    """
    data = np.asarray(points, dtype=np.float32)
    if data.ndim != 2 or not len(data):
        raise ValueError("points: expected a non-empty table of rows and features")
    if not np.isfinite(data).all():
        raise ValueError("points: values must be finite")
    rng = np.random.default_rng(seed)
    size = min(samples, len(data))
    at_once = max(1, MEMORY_ROWS // max(1, size * data.shape[1]))
    parts, offset = [], 0
    for first in range(0, trees, at_once):
        count = min(at_once, trees - first)
        rows = np.concatenate([rng.choice(len(data), size, replace=False) for _ in range(count)])
        part = _grow_together(data[rows], count, rng, offset)
        offset += len(part.mass)
        parts.append(part)
    return Forest(**{name: np.concatenate([part.arrays()[name] for part in parts]) for name in parts[0].arrays()})


def _grow_together(points: Floats, count: int, rng: np.random.Generator, offset: int) -> Forest:
    """Split every open node of every tree once per round; rows stay sorted by the node that holds them."""
    size = len(points) // count
    starts = np.arange(count) * size
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("feature", "cut", "left", "right", "mass", "low", "high")}
    next_node = offset + count
    while len(points):
        low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
        sizes = np.diff(np.append(starts, len(points)))
        feature, cut = _draw_cuts(low, high, rng)
        open_ = feature >= 0
        children = next_node + 2 * (np.cumsum(open_) - 1)
        columns["left"].append(np.where(open_, children, -1).astype(np.int32))
        columns["right"].append(np.where(open_, children + 1, -1).astype(np.int32))
        for name, value in (("feature", feature), ("cut", cut), ("mass", sizes.astype(np.int32)), ("low", low), ("high", high)):
            columns[name].append(value)
        next_node += 2 * int(open_.sum())
        points, starts = _partition(points, sizes, feature, cut)
    return Forest(roots=np.arange(offset, offset + count, dtype=np.int32), **{name: np.concatenate(values) for name, values in columns.items()})


def _draw_cuts(low: Floats, high: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """A feature (-1: the box is a point, a leaf) and a place below the box's upper side, so that both children hold rows."""
    sides = np.cumsum(high.astype(np.float64) - low, axis=1)
    total = sides[:, -1]
    place = rng.random(len(low)) * total
    feature = np.minimum((sides <= place[:, None]).sum(axis=1), low.shape[1] - 1)
    index = np.arange(len(low))
    before = np.where(feature > 0, sides[index, np.maximum(feature - 1, 0)], 0.0)
    upper, lower = high[index, feature], low[index, feature]
    cut = np.clip((lower + (place - before)).astype(np.float32), lower, np.nextafter(upper, lower))
    return np.where(total > 0, feature, -1).astype(np.int32), cut.astype(np.float32)


def _partition(points: Floats, sizes: NDArray[Any], feature: Ints, cut: Floats) -> tuple[Floats, NDArray[np.intp]]:
    node = np.repeat(np.arange(len(sizes)), sizes)
    keep = feature[node] >= 0
    points, node = points[keep], node[keep]
    if not len(points):
        return points, np.zeros(0, dtype=np.intp)
    side = points[np.arange(len(points)), feature[node]] > cut[node]
    key = node * 2 + side
    order = np.argsort(key, kind="stable")
    return points[order], np.flatnonzero(np.diff(key[order], prepend=-1))


def score(forest: Forest, points: NDArray[Any]) -> NDArray[np.float64]:
    """How anomalous each point is: near 1 for ordinary points, higher the earlier random cuts separate it.

    points: (n, d). Returns (n,), each > 0.
    A tree gives the expectation of 1/(depth+1) over the depth at which a random cut would part the point from the tree's own, or
    1/(depth + log2(1+m)), damped by 1 - m/(2M), when it meets m equal ones among M; times log2(1+M), the mean over trees.
    Raises ValueError when d is not the forest's.

    >>> forest = grow(np.random.default_rng(0).normal(size=(500, 2)), trees=20, samples=64)
    >>> bool(score(forest, np.array([[9.0, 9.0]]))[0] > score(forest, np.array([[0.0, 0.0]]))[0])
    True
    """
    return _by_rows(forest, points)[0]


def displacement(forest: Forest, points: NDArray[Any]) -> NDArray[np.float64]:
    """Collusive displacement (CoDisp) that inserting each point is expected to cause, the mean over trees.

    points: (n, d). Returns (n,), each >= 0: the largest ratio, over the subtrees that hold the inserted point, of the mass beside the
    subtree to the subtree's own mass (Guha et al., definition 4), in expectation over the place of the insertion.

    >>> forest = grow(np.arange(100.0).reshape(100, 1), trees=10, samples=50)
    >>> bool(displacement(forest, np.array([[500.0]]))[0] > 20)
    True
    """
    return _by_rows(forest, points)[1]


def _by_rows(forest: Forest, points: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    data = np.asarray(points, dtype=np.float32)
    if data.ndim != 2 or data.shape[1] != forest.dimension:
        raise ValueError(f"points: expected rows of {forest.dimension} features")
    step = max(1, MEMORY_ROWS // max(1, len(forest.roots) * forest.dimension))
    parts = [_walk(forest, data[first : first + step]) for first in range(0, len(data), step)]
    if not parts:
        return np.zeros(0), np.zeros(0)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _walk(forest: Forest, data: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Carry every (point, tree) pair down its path; `weight` is the chance that no cut above has parted the pair."""
    trees = len(forest.roots)
    node = np.tile(forest.roots, len(data))
    row = np.repeat(np.arange(len(data)), trees)
    tree_mass = forest.mass[node].astype(np.float64)
    pair = np.arange(len(node))
    weight, beside = np.ones(len(node)), np.zeros(len(node))
    depth_score, codisp = np.zeros(len(node)), np.zeros(len(node))
    depth = 0
    while len(pair):
        x, low, high = data[row[pair]], forest.low[node], forest.high[node]
        outside = np.maximum(np.maximum(low - x, x - high), 0).sum(axis=1, dtype=np.float64)
        side = (high - low).sum(axis=1, dtype=np.float64)
        mass, leaf = forest.mass[node].astype(np.float64), forest.left[node] < 0
        parted = np.divide(outside, outside + side, out=np.zeros(len(pair)), where=outside > 0)
        chance = weight * parted
        depth_score[pair] += chance / (depth + 1)
        codisp[pair] += chance * np.maximum(beside, mass)
        weight = weight - chance
        equal = leaf & (outside == 0)
        damp = 1 - mass / (2 * tree_mass[pair])
        depth_score[pair] += np.where(equal, weight * damp / (depth + np.log2(1 + mass)), 0)
        codisp[pair] += np.where(equal, weight * beside, 0)
        feature = np.where(leaf, 0, forest.feature[node])
        goes_left = x[np.arange(len(pair)), feature] <= forest.cut[node]
        child = np.where(goes_left, forest.left[node], forest.right[node])
        child_mass = forest.mass[np.maximum(child, 0)]
        beside = np.maximum(beside, (mass - child_mass) / (child_mass + 1))
        go = ~leaf & (weight > 1e-12)
        pair, node, weight, beside, depth = pair[go], child[go], weight[go], beside[go], depth + 1
    depth_score *= np.log2(1 + tree_mass)
    return depth_score.reshape(-1, trees).mean(axis=1), codisp.reshape(-1, trees).mean(axis=1)
