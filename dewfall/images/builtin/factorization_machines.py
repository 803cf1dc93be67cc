"""The Factorization Machines image: second-order factorization machines on sparse records, for two classes or a number.

The model is `model.npz`: `bias` (1,), `linear` (d,), `factors` (d, num_factors) and `predictor_type`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.builtin import algorithm, report
from dewfall.images.builtin.linear_metrics import area_under_roc
from dewfall.images.contract import UserError, cluster, folders
from dewfall.images.datasets import Table
from dewfall.ml import factorization, losses, thresholds

GROUPS = ("bias", "linear", "factors")
SIZES = {"uniform": "init_scale", "normal": "init_sigma", "constant": "init_value"}
DEFAULT_SIZE = {"uniform": 0.001, "normal": 0.01, "constant": 0.001}


def train() -> None:
    """Train on channel train, report after each epoch and on channel test."""
    given = algorithm.settings("factorization-machines")
    host = cluster().current_host
    table = algorithm.sparse_table("train", feature_dim=given["feature_dim"])
    assert table is not None
    labels = _labels(table, "train", given)

    def watch(epoch: int, machine: factorization.Machine) -> None:
        for name, value in evaluate(machine, table, labels, given).items():
            report.quality(host, f"train {name}", value, epoch=epoch)
        report.progress(host, 100 * (epoch + 1) // given["epochs"])

    machine = factorization.fit(table.features, labels, _settings(given), watch=watch)
    if not all(np.isfinite(getattr(machine, name)).all() for name in GROUPS):
        raise UserError("The model's weights are not finite any more: training diverged. Please lower the learning rates or set clip_gradient.")
    test = algorithm.sparse_table("test", feature_dim=given["feature_dim"])
    if test is not None:
        for name, value in evaluate(machine, test, _labels(test, "test", given), given).items():
            report.final(host, "test", name, value)
    folders().model.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(machine, name) for name in GROUPS} | {"predictor_type": np.array(given["predictor_type"])}
    np.savez(folders().model / "model.npz", **arrays)


def _labels(table: Table, channel: str, given: dict[str, Any]) -> NDArray[np.float64]:
    labels = algorithm.labels_of(table, channel)
    if given["predictor_type"] == "binary_classifier" and not np.isin(labels, (0, 1)).all():
        raise UserError(f"Channel '{channel}': labels of a binary_classifier must be 0 or 1, found {np.unique(labels)[:10].tolist()}.")
    return labels


def _settings(given: dict[str, Any]) -> factorization.Settings:
    parts = {}
    for group in GROUPS:
        method = given[f"{group}_init_method"]
        size = given[f"{group}_{SIZES[method]}"]
        size = DEFAULT_SIZE[method] if size is None else size
        parts[group] = factorization.Part(given[f"{group}_lr"], given[f"{group}_wd"], method, size)
    return factorization.Settings(
        given["num_factors"],
        "logistic" if given["predictor_type"] == "binary_classifier" else "squared",
        given["epochs"],
        given["mini_batch_size"],
        parts,
        given["clip_gradient"],
        given["eps"] or 1e-8,
        given["rescale_grad"],
    )


def evaluate(machine: factorization.Machine, table: Table, labels: NDArray[np.float64], given: dict[str, Any]) -> dict[str, float]:
    """The metrics of the predictor type."""
    z = factorization.scores(machine, table.features).astype(np.float64)
    if given["predictor_type"] == "regressor":
        squared = float(((z - labels) ** 2).mean())
        return {"rmse": squared**0.5, "mse": squared, "absolute_loss": float(np.abs(z - labels).mean())}
    found = thresholds.measures(z >= 0, labels, 1.0)
    return {
        "binary_classification_accuracy": found["accuracy"],
        "binary_classification_cross_entropy": float(losses.loss("logistic", z[:, None], labels, losses.Shape()).mean()),
        "binary_f_1.000": found["f_beta"],
        "roc_auc_score": area_under_roc(z, labels),
    }


class FactorizationModel:
    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.machine = factorization.Machine(*(arrays[name] for name in GROUPS))
            self.is_classifier = str(arrays["predictor_type"]) == "binary_classifier"

    @property
    def features(self) -> int:
        return len(self.machine.linear)

    def predict(self, rows: Any, *, verbose: bool = False) -> list[dict[str, Any]]:
        z = factorization.scores(self.machine, rows)
        if not self.is_classifier:
            return [{"score": score} for score in z.tolist()]
        return [{"score": score, "predicted_label": float(score >= 0.5)} for score in losses.sigmoid(z).tolist()]


def load(folder: Path) -> FactorizationModel:
    return FactorizationModel(folder / "model.npz")


if __name__ == "__main__":
    algorithm.run(train, load, read=algorithm.read_sparse)
