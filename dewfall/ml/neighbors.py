"""Nearest neighbours: exact search, inverted lists and product quantization, and random projections before them.

NumPy does what faiss does for AWS's k-NN; the index kinds and their knobs mean the same, results of "faiss.Flat" are exact.
Sources: Jégou, Douze, Schmid, "Product quantization for nearest neighbor search", PAMI 2011; Ailon, Chazelle, "The fast
Johnson–Lindenstrauss transform", 2009.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml import kmeans

Table = NDArray[np.float32]
Numbers = NDArray[np.float64]
Indices = NDArray[np.intp]
METRICS = ("L2", "INNER_PRODUCT", "COSINE")
CELLS = 8_000_000
MANY = 64  # queries from which on sifting pays
SIFTED, FIRST, BLOCK = 256, 1024, 2048  # queries together, rows of the first round, rows of a block: a block of distances fits the cache
MOST = 40  # times as many candidates in a round as there should be


@dataclass(frozen=True, slots=True)
class Index:
    """rows (n, d). Inverted lists: coarse (nlist, d), cell (n,). Product codes: books (m, 256, d/m), codes (n, m)."""

    rows: Table
    metric: str = "L2"
    coarse: Table | None = None
    cell: NDArray[np.int32] | None = None
    books: Table | None = None
    codes: NDArray[np.uint8] | None = None
    probes: int = 5

    def arrays(self) -> dict[str, NDArray[Any]]:
        found = {name: getattr(self, name) for name in ("coarse", "cell", "books", "codes")}
        return {"rows": self.rows, "metric": np.array(self.metric), "probes": np.array(self.probes)} | {
            k: v for k, v in found.items() if v is not None
        }


def build(rows: NDArray[Any], *, kind: str = "Flat", metric: str = "L2", lists: int = 0, probes: int = 5, parts: int = 1, seed: int = 0) -> Index:
    """Index rows for `search`.

    rows: (n, d). kind: "Flat" (exact), "IVFFlat" (only the `probes` nearest of `lists` cells are searched) or "IVFPQ" (and distances come
    from codes of `parts` bytes per row). metric: one of METRICS; COSINE normalises rows. lists 0: the square root of n.
    Raises ValueError for an unknown kind or metric, and when parts does not divide d.

    >>> build(np.eye(3)).metric
    'L2'
    """
    if metric not in METRICS:
        raise ValueError(f"metric: {metric!r} is not one of {', '.join(METRICS)}")
    data = _unit(np.asarray(rows, dtype=np.float32)) if metric == "COSINE" else np.asarray(rows, dtype=np.float32)
    if kind == "Flat":
        return Index(data, metric)
    if kind not in ("IVFFlat", "IVFPQ"):
        raise ValueError(f"kind: {kind!r} is not Flat, IVFFlat or IVFPQ")
    count = min(len(data), lists or max(1, int(np.sqrt(len(data)))))
    coarse = _centers(data, count, seed)
    cell = kmeans.assign(coarse.astype(np.float64), data)[0].astype(np.int32)
    if kind == "IVFFlat":
        return Index(data, metric, coarse, cell, probes=probes)
    if parts < 1 or data.shape[1] % parts:
        raise ValueError(f"parts: {parts} does not divide {data.shape[1]} features")
    books, codes = _quantize(data - coarse[cell], parts, seed)
    return Index(data, metric, coarse, cell, books, codes, probes)


def search(index: Index, queries: NDArray[Any], k: int) -> tuple[Numbers, Indices]:
    """The k nearest rows of each query, nearest first.

    queries: (n, d). Returns distances (n, k) and row numbers (n, k). For L2 the distance is squared, as faiss gives it; for inner product
    and cosine it is the similarity, greatest first. Where a probed list holds too few rows: distance inf (or -inf), row -1.

    >>> [part.tolist() for part in search(build(np.array([[0.0], [5.0], [9.0]])), np.array([[6.0]]), 2)]
    [[[1.0, 9.0]], [[1, 2]]]
    """
    asked = _unit(np.asarray(queries, dtype=np.float32)) if index.metric == "COSINE" else np.asarray(queries, dtype=np.float32)
    k = min(k, len(index.rows))
    if index.coarse is None and index.metric == "L2" and len(asked) >= MANY:
        return _sift(index.rows, asked, k)
    if index.coarse is None:
        far, rows = _plain(index.rows, index.metric, asked, k)
    else:
        each = [_probe(index, query, k) for query in asked]
        far, rows = np.stack([part[0] for part in each]), np.stack([part[1] for part in each])
    return (far if index.metric == "L2" else -far), rows


def _plain(rows: Table, metric: str, asked: Table, k: int) -> tuple[Numbers, Indices]:
    """Exact search by every distance that there is."""
    step = max(1, CELLS // max(1, len(rows)))
    found = [_nearest(_far(metric, asked[i : i + step], rows), k) for i in range(0, len(asked), step)]
    return _joined(found)


def _joined(found: list[tuple[Numbers, Indices]]) -> tuple[Numbers, Indices]:
    far, places = (np.concatenate([part[j] for part in found]) for j in (0, 1))
    return far, places


def _sift(rows: Table, asked: Table, k: int) -> tuple[Numbers, Indices]:
    """Exact search for many queries, block by block, all that is sorted being what may still be among a query's nearest.

    The rows come in a random order, each round twice as many as before, so that a round has about k rows per query that lie below the
    distance of its k-th nearest so far. Single precision sifts with the room its rounding needs; what remains is measured in double
    precision. Where too much remains (as many rows at one distance) or squares overflow, the search falls to `_plain`.
    """
    greatest = max(float(np.abs(rows).max()), float(np.abs(asked).max()))
    if not 16 * rows.shape[1] * greatest**2 < float(np.finfo(np.float32).max):
        return _plain(rows, "L2", asked, k)
    order = np.random.default_rng(0).permutation(len(rows))
    center = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    near = rows[order] - center
    squares = (near.astype(np.float64) ** 2).sum(axis=1)
    table = np.concatenate([near, squares[:, None].astype(np.float32)], axis=1).T.copy()
    largest = float(squares.max())
    found = [_sift_some(rows, asked[i : i + SIFTED], k, order, center, table, largest) for i in range(0, len(asked), SIFTED)]
    return _joined(found)


def _sift_some(rows: Table, asked: Table, k: int, order: Indices, center: Table, table: Table, largest: float) -> tuple[Numbers, Indices]:
    """`_sift` for a few queries. table (d + 1, n): the centred rows in `order`, and their squares."""
    moved = asked - center
    own = (moved.astype(np.float64) ** 2).sum(axis=1)
    sides = np.concatenate([-2 * moved, np.ones((len(moved), 1), np.float32)], axis=1)
    room = 4 * (asked.shape[1] + 2) * float(np.finfo(np.float32).eps) * (own + largest)
    seen = min(len(order), max(FIRST, 4 * k))
    first = np.sort(order[:seen])
    far, places = _nearest(_far("L2", asked, rows[first]), k)
    places = first[places]
    while seen < len(order):
        limit = (far[:, -1] - own + room).astype(np.float32)[:, None]
        until = min(len(order), 2 * seen)
        passed: list[Indices] = []
        for start in range(seen, until, BLOCK):
            some = table[:, start : min(until, start + BLOCK)]
            fits = np.flatnonzero((sides @ some <= limit).ravel())
            query, row = np.divmod(fits, some.shape[1])
            passed.append(np.stack([query, row + start]))
        queries, near = np.concatenate(passed, axis=1)
        if len(queries) > min(MOST * k * len(asked), max(k * len(asked), CELLS // asked.shape[1])):
            return _plain(rows, "L2", asked, k)
        seen = until
        near = order[near]
        apart = asked[queries].astype(np.float64) - rows[near]
        measured = np.einsum("ij,ij->i", apart, apart)
        far, places = _merged(far, places, queries, measured, near)
    return far, places


def _merged(far: Numbers, places: Indices, queries: Indices, measured: Numbers, near: Indices) -> tuple[Numbers, Indices]:
    """Each query's k nearest of those it had and of those that came: (far, places), nearest first, of equal ones the earlier row."""
    count, k = far.shape
    whose = np.concatenate([np.repeat(np.arange(count), k), queries])
    distance, row = np.concatenate([far.ravel(), measured]), np.concatenate([places.ravel(), near])
    order = np.lexsort((row, distance, whose))
    begins = np.searchsorted(whose[order], np.arange(count))
    best = order[(begins[:, None] + np.arange(k)).ravel()]
    return distance[best].reshape(count, k), row[best].reshape(count, k)


def _probe(index: Index, query: Table, k: int) -> tuple[Numbers, Indices]:
    assert index.coarse is not None
    assert index.cell is not None
    near_cells = _nearest(_far(index.metric, query[None], index.coarse), min(index.probes, len(index.coarse)))[1][0]
    rows = np.flatnonzero(np.isin(index.cell, near_cells))
    if index.books is None or index.codes is None:
        far = _far(index.metric, query[None], index.rows[rows])[0]
    else:
        books, codes = index.books, index.codes[rows]
        decoded = np.concatenate([books[part][codes[:, part]] for part in range(len(books))], axis=1) + index.coarse[index.cell[rows]]
        far = _far(index.metric, query[None], decoded)[0]
    take = min(k, len(rows))
    order = np.argsort(far, kind="stable")[:take]
    missing = k - take
    return np.append(far[order], np.full(missing, np.inf)), np.append(rows[order], np.full(missing, -1)).astype(np.intp)


def _far(metric: str, asked: Table, rows: Table) -> Numbers:
    """Smaller is nearer: squared distance, or the similarity with its sign turned."""
    if metric != "L2":
        return -(asked.astype(np.float64) @ rows.T.astype(np.float64))
    if len(asked) == 1:
        alone: Numbers = ((rows - asked).astype(np.float64) ** 2).sum(axis=1)[None]
        return alone
    wide, tall = asked.astype(np.float64), rows.astype(np.float64)
    squares = (wide**2).sum(axis=1)[:, None] - 2 * (wide @ tall.T) + (tall**2).sum(axis=1)
    far: Numbers = np.maximum(squares, 0)
    return far


def _nearest(far: Numbers, k: int) -> tuple[Numbers, Indices]:
    """Each line's k least values and their columns, least first, of equal ones the earlier column."""
    few = np.argpartition(far, k - 1, axis=1)[:, :k] if k < far.shape[1] else np.tile(np.arange(far.shape[1]), (len(far), 1))
    last = np.take_along_axis(far, few, axis=1).max(axis=1)
    for line in np.flatnonzero((far <= last[:, None]).sum(axis=1) > k):  # which of those at the k-th distance were taken was chance
        few[line] = np.argsort(far[line], kind="stable")[:k]
    few = np.sort(few, axis=1)
    order = np.argsort(np.take_along_axis(far, few, axis=1), axis=1, kind="stable")
    rows = np.take_along_axis(few, order, axis=1)
    return np.take_along_axis(far, rows, axis=1), rows


def _centers(data: Table, count: int, seed: int) -> Table:
    rng = np.random.default_rng(seed)
    sample = data[rng.choice(len(data), min(len(data), 256 * count), replace=False)]
    settings = kmeans.Settings(extra=1, init="kmeans++" if count <= 64 else "random", seed=seed)
    stream = kmeans.start(np.concatenate([sample, sample]) if len(sample) < 2 * count else sample, count, settings)
    for _ in range(10):
        stream = kmeans.learn(kmeans.Stream(stream.centers, np.zeros(len(stream.centers))), sample, settings)
    return stream.centers.astype(np.float32)


def _quantize(residuals: Table, parts: int, seed: int) -> tuple[Table, NDArray[np.uint8]]:
    width, codewords = residuals.shape[1] // parts, min(256, len(residuals))
    books = np.zeros((parts, codewords, width), dtype=np.float32)
    codes = np.zeros((len(residuals), parts), dtype=np.uint8)
    for part in range(parts):
        piece = residuals[:, part * width : (part + 1) * width]
        books[part] = _centers(piece, codewords, seed + part)
        codes[:, part] = kmeans.assign(books[part].astype(np.float64), piece)[0]
    return books, codes


def _unit(rows: Table) -> Table:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Table = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit


def projection(kind: str, features: int, target: int, *, seed: int = 0) -> Table:
    """A random (features, target) matrix that keeps distances roughly (Johnson–Lindenstrauss).

    kind: "sign" (entries ±1/√target) or "fjlt" (random signs, Walsh–Hadamard, a sample of coordinates). target: 1..features.
    Raises ValueError for an unknown kind.

    >>> projection("sign", 4, 2).shape
    (4, 2)
    """
    rng = np.random.default_rng(seed)
    if kind == "sign":
        drawn: Table = (rng.choice([-1.0, 1.0], size=(features, target)) / np.sqrt(target)).astype(np.float32)
        return drawn
    if kind != "fjlt":
        raise ValueError(f"kind: {kind!r} is neither 'sign' nor 'fjlt'")
    width = 1 << (features - 1).bit_length()
    hadamard = np.ones((1, 1))
    while len(hadamard) < width:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    signs = rng.choice([-1.0, 1.0], size=features)
    columns = rng.choice(width, target, replace=False)
    mixed: Table = (signs[:, None] * hadamard[:features, columns] / np.sqrt(target)).astype(np.float32)
    return mixed


def vote(labels: NDArray[Any], rows: Indices) -> Numbers:
    """The commonest label among each row's neighbours; of equally common ones the least. rows (n, k) → (n,).

    >>> vote(np.array([0.0, 1.0, 1.0]), np.array([[0, 1, 2]])).tolist()
    [1.0]
    """
    near = np.where(rows >= 0, labels[rows], np.nan)
    answer = np.empty(len(near))
    step = max(1, CELLS // max(1, near.shape[1] ** 2))
    for first in range(0, len(near), step):
        part = near[first : first + step]
        votes = (part[:, :, None] == part[:, None, :]).sum(axis=2)
        answer[first : first + step] = np.where(votes == votes.max(axis=1, keepdims=True), part, np.inf).min(axis=1)
    return answer
