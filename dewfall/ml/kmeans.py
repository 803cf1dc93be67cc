"""Web-scale k-means: one pass over mini-batches with more centres than asked for, then reduced to k by weighted Lloyd iterations.

It is the scheme AWS describes for its k-means, so its hyperparameters have the same meaning here; memory is one batch and the centres.
Sources: Sculley, "Web-scale k-means clustering", WWW 2010; Arthur, Vassilvitskii, "k-means++", SODA 2007.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
BLOCK = 262_144


@dataclass(frozen=True, slots=True)
class Settings:
    """extra: centres kept per final centre while streaming; half_life: rows after which a row weighs half (0: never fades)."""

    extra: int = 10
    init: str = "random"
    half_life: int = 0
    lloyd_init: str = "kmeans++"
    lloyd_iterations: int = 300
    lloyd_tolerance: float = 1e-4
    lloyd_trials: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """What streaming has learned so far: centres and how many rows each of them stands for."""

    centers: Table
    weights: Table


def fit(batches: Iterable[NDArray[Any]], k: int, settings: Settings | None = None) -> Table:
    """Find k centres in one pass over the batches.

    batches: tables (n_i, d) with the same d; the first should hold at least k rows. k: number of centres, positive.
    Returns (k, d). Raises ValueError when there are fewer rows than k in the first batch.

    >>> rows = np.repeat([[0.0, 0.0], [9.0, 9.0]], 50, axis=0)
    >>> sorted(fit([rows], 2).sum(axis=1).round(6).tolist())
    [0.0, 18.0]
    """
    settings = settings or Settings()
    stream = None
    for batch in batches:
        stream = start(batch, k, settings) if stream is None else stream
        stream = learn(stream, batch, settings)
    if stream is None:
        raise ValueError("batches: there are no rows")
    return reduce(stream, k, settings)


def start(batch: NDArray[Any], k: int, settings: Settings) -> Stream:
    """The first centres, drawn from the first batch: min(k·extra, n) of them."""
    data = np.asarray(batch, dtype=np.float64)
    if len(data) < k:
        raise ValueError(f"k: {k} centers cannot be drawn from a first batch of {len(data)} rows")
    count = max(k, min(k * settings.extra, len(data) // 2))
    rng = np.random.default_rng(settings.seed)
    centers = seed_centers(data, count, settings.init, rng)
    return Stream(centers, np.zeros(count))


def learn(stream: Stream, batch: NDArray[Any], settings: Settings) -> Stream:
    """Move every centre to the weighted mean of what it stood for and the rows of the batch that are nearest to it."""
    data = np.asarray(batch, dtype=np.float64)
    nearest = _nearest(stream.centers, data)
    fade = 0.5 ** (len(data) / settings.half_life) if settings.half_life > 0 else 1.0
    old = stream.weights * fade
    counts = np.bincount(nearest, minlength=len(stream.centers)).astype(np.float64)
    total = old + counts
    sums = _sums(data, nearest, np.ones(len(data)), len(stream.centers)) + stream.centers * old[:, None]
    centers = np.where(total[:, None] > 0, sums / np.maximum(total, 1e-12)[:, None], stream.centers)
    return Stream(centers, total)


def reduce(stream: Stream, k: int, settings: Settings) -> Table:
    """Bring the streamed centres down to k: the best of several weighted Lloyd runs, each from its own seeding."""
    kept = stream.weights > 0
    centers, weights = stream.centers[kept], stream.weights[kept]
    if len(centers) <= k:
        spare = stream.centers[~kept][: k - len(centers)]
        return np.concatenate([centers, spare])
    rng = np.random.default_rng(settings.seed + 1)
    best, best_cost = centers[:k], np.inf
    for _ in range(max(1, settings.lloyd_trials)):
        found, cost = _lloyd(centers, weights, seed_centers(centers, k, settings.lloyd_init, rng, weights), settings)
        if cost < best_cost:
            best, best_cost = found, cost
    return best


def assign(centers: Table, points: NDArray[Any]) -> tuple[NDArray[np.intp], Table]:
    """The nearest centre of each point and the Euclidean distance to it.

    centers: (k, d). points: (n, d). Returns indices (n,) in 0..k-1 and distances (n,) >= 0.

    >>> [part.tolist() for part in assign(np.array([[0.0], [10.0]]), np.array([[7.0]]))]
    [[1], [3.0]]
    """
    data = np.asarray(points)
    nearest, distance = _nearest(centers, data), np.empty(len(data))
    step = max(64, BLOCK // centers.shape[1])
    for first in range(0, len(data), step):
        apart = data[first : first + step] - centers[nearest[first : first + step]]
        distance[first : first + step] = np.sqrt(np.einsum("ij,ij->i", apart, apart))
    return nearest, distance


def _nearest(centers: Table, data: NDArray[Any]) -> NDArray[np.intp]:
    nearest = np.empty(len(data), dtype=np.intp)
    norms, twice = np.einsum("ij,ij->i", centers, centers), -2 * centers.T
    step = max(64, BLOCK // max(len(centers), centers.shape[1]))
    for first in range(0, len(data), step):
        part = data[first : first + step].astype(np.float64, copy=False) @ twice
        part += norms
        np.argmin(part, axis=1, out=nearest[first : first + step])
    return nearest


def seed_centers(data: Table, count: int, method: str, rng: np.random.Generator, weights: Table | None = None) -> Table:
    """`count` different rows: "random" draws evenly, "kmeans++" in proportion to the squared distance to those drawn before."""
    chance = np.ones(len(data)) if weights is None else weights
    if method == "random":
        return data[rng.choice(len(data), count, replace=False, p=chance / chance.sum())].copy()
    chosen = [int(rng.choice(len(data), p=chance / chance.sum()))]
    squared = ((data - data[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        mass = squared * chance
        total = mass.sum()
        row = int(rng.choice(len(data), p=mass / total)) if total > 0 else int(rng.integers(len(data)))
        chosen.append(row)
        squared = np.minimum(squared, ((data - data[row]) ** 2).sum(axis=1))
    return data[chosen].copy()


def _lloyd(data: Table, weights: Table, centers: Table, settings: Settings) -> tuple[Table, float]:
    cost = np.inf
    for _ in range(settings.lloyd_iterations):
        nearest, distance = assign(centers, data)
        new_cost = float((weights * distance**2).sum())
        mass = np.bincount(nearest, weights, minlength=len(centers))
        sums = _sums(data, nearest, weights, len(centers))
        centers = np.where(mass[:, None] > 0, sums / np.maximum(mass, 1e-12)[:, None], centers)
        if cost - new_cost <= settings.lloyd_tolerance * max(cost if np.isfinite(cost) else 0.0, 1e-300):
            break
        cost = new_cost
    _, distance = assign(centers, data)
    return centers, float((weights * distance**2).sum())


def _sums(data: Table, nearest: NDArray[np.intp], weights: Table, count: int) -> Table:
    from scipy.sparse import csr_matrix

    chosen = csr_matrix((weights, (nearest, np.arange(len(data)))), shape=(count, len(data)))
    return np.asarray(chosen @ data)
