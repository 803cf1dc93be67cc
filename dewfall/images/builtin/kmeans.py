"""The k-means image: web-scale k-means; the answer is the nearest centre and the Euclidean distance to it.

The model is `model.npz` with `centroids` (k, feature_dim) float32.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.builtin import algorithm, report
from dewfall.images.contract import UserError, cluster, folders
from dewfall.ml import kmeans

LARGEST_EXTRA = 10


def train() -> None:
    """One pass (or `epochs`) over channel train in mini-batches; msd and ssd of train and test."""
    given = algorithm.settings("kmeans")
    host = cluster().current_host
    table = algorithm.train_table(label_size=0, feature_dim=given["feature_dim"])
    k = given["k"]
    if table.rows < k:
        raise UserError(f"The number of training records, {table.rows}, is less than k, {k}.")
    chosen = _settings(given)
    rng = np.random.default_rng(0)
    stream = None
    for epoch in range(given["epochs"]):
        order = rng.permutation(table.rows)
        for first in range(0, table.rows, max(given["mini_batch_size"], k)):
            batch = table.features[order[first : first + max(given["mini_batch_size"], k)]]
            stream = kmeans.start(batch, k, chosen) if stream is None else stream
            stream = kmeans.learn(stream, batch, chosen)
        report.progress(host, 100 * (epoch + 1) // given["epochs"])
    assert stream is not None
    centers = kmeans.reduce(stream, k, chosen)
    for name, value in measure(centers, table.features, given["eval_metrics"]).items():
        report.quality(host, f"train {name}", value)
    test = algorithm.other_table("test", label_size=0, feature_dim=given["feature_dim"])
    if test is not None:
        for name, value in measure(centers, test.features, given["eval_metrics"]).items():
            report.final(host, "test", name, value)
    folders().model.mkdir(parents=True, exist_ok=True)
    np.savez(folders().model / "model.npz", centroids=centers.astype(np.float32))


def _settings(given: dict[str, Any]) -> kmeans.Settings:
    extra, trials = given["extra_center_factor"], given["local_lloyd_num_trials"]
    return kmeans.Settings(
        extra=LARGEST_EXTRA if extra == "auto" else extra,
        init=given["init_method"],
        half_life=given["half_life_time_size"],
        lloyd_init=given["local_lloyd_init_method"],
        lloyd_iterations=given["local_lloyd_max_iter"],
        lloyd_tolerance=given["local_lloyd_tol"],
        lloyd_trials=5 if trials == "auto" else trials,
    )


def measure(centers: NDArray[np.float64], rows: NDArray[Any], metrics: list[str]) -> dict[str, float]:
    """Mean and sum of the squared distances to the nearest centre."""
    squared = kmeans.assign(centers, rows)[1] ** 2
    found = {"msd": float(squared.mean()), "ssd": float(squared.sum())}
    return {name: found[name] for name in metrics}


class KMeansModel:
    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.centers = arrays["centroids"].astype(np.float64)

    @property
    def features(self) -> int:
        return int(self.centers.shape[1])

    def predict(self, rows: algorithm.Numbers, *, verbose: bool = False) -> list[dict[str, Any]]:
        nearest, distance = kmeans.assign(self.centers, rows)
        return [{"closest_cluster": float(one), "distance_to_cluster": far} for one, far in zip(nearest.tolist(), distance.tolist(), strict=True)]


def load(folder: Path) -> KMeansModel:
    return KMeansModel(folder / "model.npz")


if __name__ == "__main__":
    algorithm.run(train, load)
