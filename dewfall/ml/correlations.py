"""Matrices of how columns go together: Pearson and Spearman for numbers, Cramér's V for categories.

Columns are standardised (ranked) once and multiplied as one matrix product. Sources: Pearson 1895, Spearman 1904, Cramér 1946.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml import facets

Numbers = NDArray[np.float64]


def pearson(rows: Any) -> Numbers:
    """Linear correlation (d, d), [-1, 1]; NaN beside a constant column.

    rows: (n, d) finite numbers, n at least 2. Raises ValueError (rows) otherwise.

    >>> pearson([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]).round(9).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    table = np.asarray(rows, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2 or not table.shape[1]:
        raise ValueError(f"rows: expected a table of at least two rows and one column, got shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("rows: values must be finite")
    centred = table - table.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    constant = (table == table[0]).all(axis=0)
    unit = centred / np.where(constant, np.nan, size)
    return np.asarray(np.clip(unit.T @ unit, -1, 1))


def spearman(rows: Any) -> Numbers:
    """Correlation of ranks (d, d), [-1, 1], ties sharing their mean rank; NaN beside a constant column. Raises ValueError as `pearson`.

    >>> spearman([[1.0, 1.0], [2.0, 10.0], [3.0, 100.0]]).round(9).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    table = np.asarray(rows, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError("rows: expected a table of finite numbers")
    return pearson(np.column_stack([_ranks(column) for column in table.T]) if table.shape[1] else table)


def _ranks(column: Numbers) -> Numbers:
    _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], dtype=np.float64)


def cramers_v(columns: list[Any]) -> Numbers:
    """Association of categories (d, d), [0, 1]: sqrt(chi² / (n·(min(r, c) - 1))); NaN beside a column of one category.

    columns: d columns (n,) of any type; rows with a missing value are left out pair by pair. Raises ValueError (columns) for unequal
    lengths, no columns or no rows.

    >>> cramers_v([["a", "b", "a", "b"], [1, 2, 1, 2]]).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    coded = [facets.encode(column) for column in columns]
    if not coded or len({len(one.codes) for one in coded}) > 1 or not len(coded[0].codes):
        raise ValueError("columns: expected at least one, all of one length above zero")
    found = np.full((len(coded), len(coded)), np.nan)
    for i, one in enumerate(coded):
        for j, other in enumerate(coded[: i + 1]):
            found[i, j] = found[j, i] = _cramer(one.codes, other.codes)
    return found


def _cramer(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    kept = (one >= 0) & (other >= 0)
    if not kept.any():
        return float("nan")
    width = int(other.max()) + 1
    table = np.bincount(one[kept] * width + other[kept], minlength=(int(one.max()) + 1) * width).reshape(-1, width).astype(np.float64)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    smaller = min(table.shape) - 1
    if smaller < 1:
        return float("nan")
    rows = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / rows
    return float(np.sqrt(min(1.0, ((table - expected) ** 2 / expected).sum() / rows / smaller)))
