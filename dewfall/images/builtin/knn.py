"""The k-NN image: a sample of the training rows, perhaps projected, in an index; votes or means of the nearest answer.

The model is `model.npz`: the index's arrays (dewfall.ml.neighbors.Index), `labels`, `settings` and perhaps `projection`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.builtin import algorithm, report
from dewfall.images.contract import UserError, cluster, folders
from dewfall.ml import neighbors


def train() -> None:
    """Sample, project, index; accuracy or mse of channel test."""
    given = algorithm.settings("knn")
    host = cluster().current_host
    table = algorithm.train_table(label_size=1, feature_dim=given["feature_dim"])
    labels = algorithm.labels_of(table, "train")
    size = min(given["sample_size"], table.rows)
    if size < given["k"]:
        raise UserError(f"The sample of {size} training records is smaller than k, {given['k']}.")
    rows = np.sort(np.random.default_rng(0).choice(table.rows, size, replace=False)) if size < table.rows else np.arange(size)
    sample, kept = table.features[rows], labels[rows]
    projection, parts = _projection(given), int(given["faiss_index_pq_m"] or 1)
    sample = sample if projection is None else sample @ projection
    lists = given["faiss_index_ivf_nlists"]
    try:
        index = neighbors.build(
            sample,
            kind=given["index_type"].removeprefix("faiss."),
            metric=given["index_metric"],
            lists=0 if lists == "auto" else lists,
            parts=parts,
        )
    except ValueError as error:
        raise UserError(str(error))
    report.progress(host, 100)
    model = KnnModel(index, kept, given["k"], given["predictor_type"] == "classifier", projection, int(given["feature_dim"]))
    test = algorithm.other_table("test", label_size=1, feature_dim=given["feature_dim"])
    if test is not None:
        _report_test(model, test.features, algorithm.labels_of(test, "test"), host)
    model.save(folders().model)


def _projection(given: dict[str, Any]) -> NDArray[np.float32] | None:
    """What rows are multiplied with: a reduction, and for IVFPQ such a width that faiss_index_pq_m divides it."""
    kind, target, width = given["dimension_reduction_type"], given["dimension_reduction_target"], given["feature_dim"]
    if kind is not None and (target is None or not 0 < target < width):
        raise UserError("dimension_reduction_target must be greater than 0 and less than feature_dim when dimension_reduction_type is set.")
    if given["index_type"] == "faiss.IVFPQ" and given["index_metric"] != "L2":
        raise UserError(f"index_metric {given['index_metric']} is not supported with index_type faiss.IVFPQ. Use L2.")
    parts = int(given["faiss_index_pq_m"] or 1) if given["index_type"] == "faiss.IVFPQ" else 1
    if kind is not None:
        wide = -(-target // parts) * parts
        reduced = neighbors.projection(kind, width, min(wide, width))
        return np.pad(reduced, ((0, 0), (0, wide - reduced.shape[1])))
    return np.eye(width, -(-width // parts) * parts, dtype=np.float32) if width % parts else None


def _report_test(model: "KnnModel", rows: NDArray[Any], truth: NDArray[np.float64], host: str) -> None:
    found = model.answers(rows)[0]
    if model.is_classifier:
        report.final(host, "test", "accuracy", float((found == truth).mean()))
    else:
        report.final(host, "test", "mse", float(((found - truth) ** 2).mean()))


class KnnModel:
    def __init__(
        self, index: neighbors.Index, labels: NDArray[Any], k: int, is_classifier: bool, projection: NDArray[np.float32] | None, features: int
    ) -> None:
        self.index, self.labels, self.k, self.is_classifier = index, labels, k, is_classifier
        self.projection, self.width = projection, features

    @property
    def features(self) -> int:
        return self.width

    def answers(self, rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
        """(predicted labels, distances, row numbers of the neighbours)."""
        asked = rows if self.projection is None else rows @ self.projection
        distances, found = neighbors.search(self.index, asked, self.k)
        if self.is_classifier:
            return neighbors.vote(self.labels, found), distances, found
        return np.nanmean(np.where(found >= 0, self.labels[found], np.nan), axis=1), distances, found

    def predict(self, rows: algorithm.Numbers, *, verbose: bool = False) -> list[dict[str, Any]]:
        labels, distances, found = self.answers(rows)
        if not verbose:
            return [{"predicted_label": label} for label in labels.tolist()]
        near = self.labels[found]
        return [
            {"predicted_label": label, "distances": far, "labels": names}
            for label, far, names in zip(labels.tolist(), distances.tolist(), near.tolist(), strict=True)
        ]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        arrays = self.index.arrays() | {"labels": self.labels, "settings": np.array([self.k, int(self.is_classifier), self.width])}
        if self.projection is not None:
            arrays["projection"] = self.projection
        np.savez(folder / "model.npz", **arrays)  # type: ignore[arg-type]


def load(folder: Path) -> KnnModel:
    with np.load(folder / "model.npz") as stored:
        arrays = dict(stored)
    k, is_classifier, width = arrays.pop("settings").tolist()
    labels, projection = arrays.pop("labels"), arrays.pop("projection", None)
    index = neighbors.Index(**arrays | {"metric": str(arrays["metric"]), "probes": int(arrays["probes"])})
    return KnnModel(index, labels, k, bool(is_classifier), projection, width)


if __name__ == "__main__":
    algorithm.run(train, load)
