"""A few rows that stand for a table: k-means for numbers, k-prototypes (Huang 1998) where there are categories too.

Why: Kernel SHAP needs a baseline, and a baseline of a dozen typical rows costs a thousandth of the whole table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CLUSTERS = 12
SAMPLE = 5000  # rows that are looked at
ROUNDS = 50
GAIN = 0.1  # what one more cluster must take off the cost, as a share of the cost of one cluster


def prototypes(rows: Any, clusters: int | None = None, *, seed: int = 0) -> NDArray[Any]:
    """Centres (clusters, d) of a table (n, d): means of numbers, commonest categories of anything else.

    clusters: how many; None takes the number from 1 to 12 after which one more saves less than a tenth of the whole cost.
    A missing number counts as the column's mean, a missing category as one of its own. Raises ValueError (rows, clusters).

    >>> prototypes(np.array([[0.0, "a"], [0.2, "a"], [9.0, "b"], [9.2, "b"]], dtype=object), 2).tolist()
    [[0.1, 'a'], [9.1, 'b']]
    """
    table = np.asarray(rows, dtype=object)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"rows: expected a table of at least one row and one column, got shape {table.shape}")
    if clusters is not None and clusters < 1:
        raise ValueError("clusters: at least one is needed")
    rng = np.random.default_rng(seed)
    table = table[np.sort(rng.choice(len(table), min(SAMPLE, len(table)), replace=False))]
    numbers, codes, names = _split(table)
    most = min(clusters or MOST_CLUSTERS, len(table))
    if clusters is not None:
        members = _cluster(numbers, codes, most, rng)[0]
        return _centres(table, members, names)
    members, first = _cluster(numbers, codes, 1, rng)
    last = first
    for count in range(2, most + 1):
        tried, cost = _cluster(numbers, codes, count, rng)
        if last - cost < GAIN * first:
            break
        members, last = tried, cost
    return _centres(table, members, names)


def _split(table: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64], list[bool]]:
    """Standardised numbers (n, a), codes of categories (n, b), and which columns are numbers."""
    numbers, codes, is_number = [], [], []
    for column in table.T:
        try:
            held = np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        except (TypeError, ValueError):
            is_number.append(False)
            codes.append(np.unique([str(value) for value in column], return_inverse=True)[1])
            continue
        is_number.append(True)
        held = np.where(np.isnan(held), np.nanmean(held) if not np.isnan(held).all() else 0.0, held)
        numbers.append((held - held.mean()) / (held.std() or 1.0))
    n = len(table)
    return (
        np.column_stack(numbers) if numbers else np.empty((n, 0)),
        np.column_stack(codes).astype(np.int64) if codes else np.empty((n, 0), dtype=np.int64),
        is_number,
    )


def _cluster(numbers: NDArray[np.float64], codes: NDArray[np.int64], count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], float]:
    """Who belongs where, and the cost: squared distances of numbers plus half a variance for each category that differs."""
    start = _spread(numbers, codes, count, rng)
    centres, modes = numbers[start], codes[start]
    members = np.full(len(numbers), -1)
    cost = np.inf
    for _ in range(ROUNDS):
        apart = _distances(numbers, codes, centres, modes)
        nearest = apart.argmin(axis=1)
        cost = float(apart[np.arange(len(apart)), nearest].sum())
        if (nearest == members).all():
            break
        members = nearest
        for k in range(count):
            mine = members == k
            if mine.any():
                centres[k] = numbers[mine].mean(axis=0)
                modes[k] = [np.bincount(column).argmax() for column in codes[mine].T] if codes.shape[1] else modes[k]
    return members, cost


def _spread(numbers: NDArray[np.float64], codes: NDArray[np.int64], count: int, rng: np.random.Generator) -> list[int]:
    """Starting rows far from one another (k-means++)."""
    chosen = [int(rng.integers(len(numbers)))]
    while len(chosen) < count:
        apart = _distances(numbers, codes, numbers[chosen], codes[chosen]).min(axis=1)
        total = apart.sum()
        chosen.append(int(rng.choice(len(apart), p=apart / total)) if total > 0 else int(rng.integers(len(apart))))
    return chosen


def _distances(numbers: NDArray[np.float64], codes: NDArray[np.int64], centres: NDArray[np.float64], modes: NDArray[np.int64]) -> NDArray[np.float64]:
    far = ((numbers[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    return np.asarray(far + 0.5 * (codes[:, None, :] != modes[None, :, :]).sum(axis=2))


def _centres(table: NDArray[Any], members: NDArray[np.int64], is_number: list[bool]) -> NDArray[Any]:
    found = []
    for k in np.unique(members):
        mine = table[members == k]
        found.append([_mean(column) if numeric else _commonest(column) for column, numeric in zip(mine.T, is_number, strict=True)])
    ordered = sorted(found, key=lambda row: [str(value) for value in row])
    return np.array(ordered, dtype=np.float64 if all(is_number) else object)


def _mean(column: NDArray[Any]) -> float:
    held = np.array([np.nan if value is None else value for value in column], dtype=np.float64)
    return float(f"{np.nanmean(held):.12g}") if not np.isnan(held).all() else 0.0


def _commonest(column: NDArray[Any]) -> Any:
    counts: dict[Any, int] = {}
    for value in column:
        counts[value] = counts.get(value, 0) + 1
    return max(counts, key=lambda value: (counts[value], str(value)))
