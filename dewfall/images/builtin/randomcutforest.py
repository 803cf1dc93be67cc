"""The Random Cut Forest image: anomaly scores by a robust random cut forest.

The model is `model.npz`, the forest's arrays (dewfall.ml.forest.Forest).
"""

from pathlib import Path
from typing import Any

import numpy as np

from dewfall.images.builtin import algorithm, report
from dewfall.images.contract import cluster, folders
from dewfall.images.datasets import Table
from dewfall.ml import forest

DEVIATIONS = 3


def train() -> None:
    """Grow the forest on channel train; score channel test, whose label 1 marks anomalies."""
    given = algorithm.settings("randomcutforest")
    host = cluster().current_host
    table = algorithm.train_table(label_size=0, feature_dim=given["feature_dim"])
    grown = forest.grow(table.features, trees=given["num_trees"], samples=given["num_samples_per_tree"])
    report.progress(host, 100)
    test = algorithm.other_table("test", label_size=1, feature_dim=given["feature_dim"])
    if test is not None:
        for name, value in evaluate(grown, test, given["eval_metrics"]).items():
            report.final(host, "test", name, value)
    folders().model.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folders().model / "model.npz", **grown.arrays())  # type: ignore[arg-type]


def evaluate(grown: forest.Forest, test: Table, metrics: list[str]) -> dict[str, float]:
    """Anomalies are scores above the mean by more than three standard deviations, as AWS defines them for these metrics."""
    truth = algorithm.labels_of(test, "test") > 0
    scores = forest.score(grown, test.features)
    found = scores > scores.mean() + DEVIATIONS * scores.std()
    hits, said, true = float((found & truth).sum()), float(found.sum()), float(truth.sum())
    precision, recall = hits / said if said else 0.0, hits / true if true else 0.0
    values = {"accuracy": {"accuracy": float((found == truth).mean())}}
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    values["precision_recall_fscore"] = {"f1": f1, "precision": precision, "recall": recall}
    return {name: value for metric in metrics for name, value in values[metric].items()}


class ForestModel:
    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.forest = forest.Forest(**{name: arrays[name] for name in arrays.files})

    @property
    def features(self) -> int:
        return self.forest.dimension

    def predict(self, rows: algorithm.Numbers, *, verbose: bool = False) -> list[dict[str, Any]]:
        return [{"score": value} for value in forest.score(self.forest, rows).tolist()]


def load(folder: Path) -> ForestModel:
    return ForestModel(folder / "model.npz")


if __name__ == "__main__":
    algorithm.run(train, load, answer="scores")
