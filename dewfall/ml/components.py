"""Principal components by covariance or by a random sketch, as AWS's PCA algorithm offers both.

Named for what it finds. Components come in AWS's order: the least of the kept ones first, the principal one last.
Source of the sketch: Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 53(2), 2011, algorithms 4.4 and 5.1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
BLOCK = 131_072


@dataclass(frozen=True, slots=True)
class Components:
    """mean (d,), vectors (d, k) with unit columns, singular values (k,) ascending."""

    mean: Table
    vectors: Table
    values: Table


def fit(data: NDArray[Any], count: int, *, mode: str = "regular", extra: int = -1, subtract_mean: bool = True, seed: int = 0) -> Components:
    """The `count` directions in which the rows vary most.

    data: (n, d). count: 1..d. mode: "regular" (exact, by the d×d covariance) or "randomized" (by count + extra random directions;
    extra -1 means max(10, count)). subtract_mean: centre the rows first.
    Returns Components. Raises ValueError for a count above d or an unknown mode.

    >>> found = fit(np.array([[0.0, 0.0], [1.0, 0.1], [2.0, -0.1]]), 1)
    >>> bool(abs(found.vectors[0, 0]) > 0.99)
    True
    """
    rows = np.asarray(data)
    if not 1 <= count <= rows.shape[1]:
        raise ValueError(f"count: {count} components of {rows.shape[1]} features")
    mean = rows.mean(axis=0, dtype=np.float64) if subtract_mean else np.zeros(rows.shape[1])
    if mode == "regular":
        squared, vectors = np.linalg.eigh(_scatter(rows, mean))
        values, vectors = np.sqrt(np.maximum(squared[-count:], 0)), vectors[:, -count:]
    elif mode == "randomized":
        values, vectors = _sketch(rows - mean, count, max(10, count) if extra < 0 else extra, np.random.default_rng(seed))
    else:
        raise ValueError(f"mode: {mode!r} is neither 'regular' nor 'randomized'")
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    return Components(mean, vectors * np.where(signs == 0, 1, signs), values)


def _scatter(rows: NDArray[Any], mean: Table) -> Table:
    """Σ (x − m)(x − m)ᵀ in blocks that fit in the processor's cache."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    step = max(256, BLOCK // rows.shape[1])
    for first in range(0, len(rows), step):
        centered = rows[first : first + step] - mean
        total += centered.T @ centered
    return total


def _sketch(centered: Table, count: int, extra: int, rng: np.random.Generator) -> tuple[Table, Table]:
    width = min(count + extra, *centered.shape)
    basis, _ = np.linalg.qr(centered @ rng.normal(size=(centered.shape[1], width)))
    for _ in range(2):
        other, _ = np.linalg.qr(centered.T @ basis)
        basis, _ = np.linalg.qr(centered @ other)
    _, values, rows = np.linalg.svd(basis.T @ centered, full_matrices=False)
    if len(values) < count:
        raise ValueError(f"count: {count} components of {len(centered)} rows")
    return values[:count][::-1], rows[:count][::-1].T


def project(components: Components, data: NDArray[Any]) -> Table:
    """Coordinates of rows on the components.

    data: (n, d). Returns (n, k), the principal component in the last column.

    >>> project(Components(np.zeros(2), np.eye(2), np.ones(2)), np.array([[3.0, 4.0]])).tolist()
    [[3.0, 4.0]]
    """
    rows: Table = (np.asarray(data, dtype=np.float64) - components.mean) @ components.vectors
    return rows
