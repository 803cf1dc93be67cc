"""The PCA image: projections on the principal components, the principal one last, as AWS orders them.

The model is `model.npz` with `mean` (d,), `v` (d, k) and `s` (k,), AWS's names for the same arrays.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from dewfall.images.builtin import algorithm, report
from dewfall.images.contract import UserError, cluster, folders
from dewfall.ml import components


def train() -> None:
    """Components of channel train."""
    given = algorithm.settings("pca")
    host = cluster().current_host
    begin = time.monotonic()
    table = algorithm.train_table(label_size=0, feature_dim=given["feature_dim"], batch=given["mini_batch_size"])
    if given["num_components"] > given["feature_dim"]:
        raise UserError(f"num_components, {given['num_components']}, is greater than feature_dim, {given['feature_dim']}.")
    try:
        found = components.fit(
            table.features,
            given["num_components"],
            mode=given["algorithm_mode"],
            extra=given["extra_components"],
            subtract_mean=given["subtract_mean"],
        )
    except ValueError as error:
        raise UserError(str(error))
    report.progress(host, 100)
    report.say(f"#throughput_metric: host={host}, train throughput={table.rows / max(time.monotonic() - begin, 1e-6)} records/second")
    folders().model.mkdir(parents=True, exist_ok=True)
    np.savez(folders().model / "model.npz", mean=found.mean, v=found.vectors, s=found.values)


class PcaModel:
    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.components = components.Components(arrays["mean"], arrays["v"], arrays["s"])

    @property
    def features(self) -> int:
        return len(self.components.mean)

    def predict(self, rows: algorithm.Numbers, *, verbose: bool = False) -> list[dict[str, Any]]:
        return [{"projection": row} for row in components.project(self.components, rows).tolist()]


def load(folder: Path) -> PcaModel:
    return PcaModel(folder / "model.npz")


if __name__ == "__main__":
    algorithm.run(train, load, answer="projections")
