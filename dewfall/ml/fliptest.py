"""The flip test: would rows of the sensitive facet be decided otherwise if they were judged like their neighbours outside it?

It is the one bias metric that needs the features, so it stands apart from the counts. Source: smclarify 0.5 (after Black, Yeom,
Fredrikson, "FlipTest", FAT* 2020); its sign is the code's: a row that is accepted while its neighbours are rejected counts +1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBORS = 5
MANY_ROWS = 9
TREE_FEATURES = 15
CELLS = 4_000_000
DESCRIPTION = "Flip Test (FT)"


def flip_test(features: Any, facet: Any, predicted: Any) -> float:
    """FT = (F+ - F-) / n_d, in [-1, 1].

    features: (n, d) finite numbers, used unscaled. facet, predicted: masks (n,) of rows in the sensitive facet and predicted positive.
    The neighbours are the 5 nearest (Euclidean) rows outside the facet, or the nearest one when there are at most 9 such rows; majority vote.
    Raises ValueError with smclarify's text when either side is empty or a column is no number, and naming `features` for NaN and infinity.

    >>> flip_test([[0.0], [1.0], [0.1], [0.9]], [False, False, True, True], [False, True, True, True])
    0.5
    """
    sensitive, positive = np.asarray(facet, dtype=bool), np.asarray(predicted, dtype=bool)
    if not sensitive.any():
        raise ValueError("Facet set is empty")
    if sensitive.all():
        raise ValueError("Negated Facet set is empty")
    table = _numbers(features)
    if not len(table) == len(sensitive) == len(positive):
        raise ValueError(f"features: expected {len(sensitive)} rows as in facet and predicted, got {len(table)}")
    others = ~sensitive
    k = NEIGHBORS if int(others.sum()) > MANY_ROWS else 1
    votes = positive[others][_nearest(table[others], table[sensitive], k)].mean(axis=1) > 0.5
    decided = positive[sensitive]
    return float((decided.astype(int) - votes.astype(int)).sum() / len(decided))


def _numbers(features: Any) -> NDArray[np.float64]:
    raw = features if isinstance(features, np.ndarray) else np.asarray(features)
    if raw.dtype.kind not in "biuf":
        raise ValueError("FlipTest does not support non-numeric columns")
    table = raw.astype(np.float64)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError("features: expected a table of rows and at least one column")
    if not np.isfinite(table).all():
        raise ValueError("features: values must be finite")
    return table


def _nearest(rows: NDArray[np.float64], asked: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    """(m, k) indices into rows; a tree for few features, plain products otherwise."""
    if rows.shape[1] <= TREE_FEATURES:
        from scipy.spatial import cKDTree

        return np.asarray(cKDTree(rows).query(asked, k=k)[1], dtype=np.intp).reshape(len(asked), k)
    center = rows.mean(axis=0)
    rows, asked = rows - center, asked - center
    norms, step = (rows**2).sum(axis=1), max(1, CELLS // len(rows))
    found = []
    for start in range(0, len(asked), step):
        distance = norms - 2 * asked[start : start + step] @ rows.T
        found.append(np.argpartition(distance, k - 1, axis=1)[:, :k])
    return np.concatenate(found)
