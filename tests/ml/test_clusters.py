"""k-means, components and neighbours against scikit-learn."""

import doctest

import numpy as np
import pytest

from dewfall.ml import components, kmeans, neighbors

RNG = np.random.default_rng(7)
BLOBS = np.concatenate([RNG.normal(size=(300, 5)) + RNG.normal(size=5) * 8 for _ in range(6)])
QUERIES = RNG.normal(size=(40, 5)) * 5


@pytest.mark.parametrize("module", [kmeans, components, neighbors])
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("init", ["random", "kmeans++"])
def test_streamed_centers_are_nearly_as_good_as_scikit_learns(init: str) -> None:
    from sklearn.cluster import KMeans

    shuffled = RNG.permutation(BLOBS)
    centers = kmeans.fit([shuffled[i : i + 300] for i in range(0, 1800, 300)], 6, kmeans.Settings(init=init))
    cost = float((kmeans.assign(centers, BLOBS)[1] ** 2).sum())
    assert cost < KMeans(6, n_init=10, random_state=0).fit(BLOBS).inertia_ * 1.05


def test_assignment_is_the_nearest_by_distance() -> None:
    from scipy.spatial.distance import cdist

    centers = QUERIES[:7]
    nearest, distance = kmeans.assign(centers, BLOBS)
    table = cdist(BLOBS, centers)
    assert np.array_equal(nearest, table.argmin(axis=1))
    assert np.allclose(distance, table.min(axis=1))


@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_components_equal_scikit_learns(mode: str) -> None:
    from sklearn.decomposition import PCA

    ours, theirs = components.fit(BLOBS, 3, mode=mode), PCA(3).fit(BLOBS)
    assert np.allclose(ours.values[::-1], theirs.singular_values_, rtol=1e-6)
    assert np.allclose(np.abs(ours.vectors.T[::-1]), np.abs(theirs.components_), atol=1e-5)


def test_without_centering_components_are_those_of_the_raw_table() -> None:
    found = components.fit(BLOBS, 2, subtract_mean=False)
    assert np.allclose(found.values[::-1], np.linalg.svd(BLOBS, compute_uv=False)[:2])


@pytest.mark.parametrize(
    ("shift", "scale", "places"),
    [(0, 1, 4), (1000, 1, 4), (1e7, 1e4, 1), (0, 1, 0), (0, 0, 0), (0, 1e20, 4)],
    ids=["clusters", "far from the origin", "large numbers", "rounded to few places", "all alike", "squares beyond single precision"],
)
def test_the_sifted_search_of_many_queries_is_exact(shift: float, scale: float, places: int) -> None:
    rng = np.random.default_rng(3)
    rows = (np.round(rng.normal(size=(5_000, 6)), places) * scale + shift).astype(np.float32)
    asked = (np.round(rng.normal(size=(300, 6)), places) * scale + shift).astype(np.float32)
    distances, found = neighbors.search(neighbors.build(rows), asked, 7)
    truth = ((asked[:, None].astype(np.float64) - rows[None]) ** 2).sum(axis=2)
    assert np.allclose(distances, np.sort(truth, axis=1)[:, :7], rtol=1e-9, atol=1e-9 * max(1.0, shift, scale) ** 2)
    assert np.allclose(np.take_along_axis(truth, found, axis=1), distances, atol=1e-9 * max(1.0, shift, scale) ** 2)
    assert all(len(set(row)) == 7 for row in found.tolist())
    one_by_one = [neighbors.search(neighbors.build(rows), asked[i : i + 1], 7)[1][0] for i in range(20)]
    assert places > 0 or shift or np.array_equal(found[:20], one_by_one)  # rounded: of rows at one distance the earlier ones, however many ask


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT", "COSINE"])
def test_flat_search_is_exact(metric: str) -> None:
    from sklearn.neighbors import NearestNeighbors

    distances, rows = neighbors.search(neighbors.build(BLOBS, metric=metric), QUERIES, 4)
    if metric == "INNER_PRODUCT":
        assert np.array_equal(rows, np.argsort(-(QUERIES @ BLOBS.T), axis=1)[:, :4])
        return
    theirs = NearestNeighbors(n_neighbors=4, metric="euclidean" if metric == "L2" else "cosine").fit(BLOBS).kneighbors(QUERIES)
    assert (rows == theirs[1]).mean() > 0.99
    assert np.allclose(distances if metric == "L2" else 1 - distances, theirs[0] ** 2 if metric == "L2" else theirs[0], atol=1e-3)


@pytest.mark.parametrize(("kind", "share"), [("IVFFlat", 0.8), ("IVFPQ", 0.3)])
def test_inexact_indexes_find_most_neighbors(kind: str, share: float) -> None:
    exact = neighbors.search(neighbors.build(BLOBS), BLOBS[:60], 10)[1]
    found = neighbors.search(neighbors.build(BLOBS, kind=kind, lists=12, parts=5), BLOBS[:60], 10)[1]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found.tolist(), strict=True)]) > share


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_projections_keep_lengths(kind: str) -> None:
    wide = RNG.normal(size=(100, 200))
    ratio = np.linalg.norm(wide @ neighbors.projection(kind, 200, 64), axis=1) / np.linalg.norm(wide, axis=1)
    assert 0.9 < ratio.mean() < 1.1


def test_ties_go_to_the_least_label() -> None:
    assert neighbors.vote(np.array([3.0, 1.0]), np.array([[0, 1]])).tolist() == [1.0]
