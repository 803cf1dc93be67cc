"""The LightGBM image, JumpStart's layout: label first in CSV files, categories named in a file, answers as probabilities.

The model is LightGBM's own: `model.txt`, the same pickled as `model.pkl`, and `task.json` with the task and its classes.
"""

import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import lightgbm_network as network
from dewfall.images.builtin.algorithm import settings as read_settings
from dewfall.images.builtin.lightgbm_row import row_predictor
from dewfall.images.builtin.report import threads
from dewfall.images.builtin.tabular import answer, encode, find_task, read_about, read_data, read_rows, run, write_about
from dewfall.images.contract import UserError
from dewfall.images.debugging import boosting
from dewfall.images.lean import import_lean

__all__ = ["LightGbmModel", "answer", "read_rows", "train"]  # what JumpStart's scripts import

METRICS = {"regression": "rmse", "binary": "binary_logloss", "multiclass": "multi_logloss"}
OURS = (
    "num_boost_round",
    "early_stopping_rounds",
    "metric",
    "use_dask",
    "task",
    "objective",
    "num_class",
    "tree_learner",
    "num_threads",
    "is_unbalance",
)


def train(task: str = "") -> None:
    """Train on the channel's rows, stop by its validation rows (a fifth of them when there are none); `task` overrides detection."""
    import lightgbm

    given = read_settings("lightgbm")
    training, validation, categories = read_data()
    together: dict[str, Any] = {}
    labels = np.unique(np.concatenate([training.labels, validation.labels]))
    if not network.is_alone():
        training, validation, labels = network.share(training, validation)
        together = network.parameters()
    task = find_task(task or given["task"], "DEWFALL_LIGHTGBM_TASK", labels)
    kinds = labels if task == "classification" else np.zeros(0)
    parameters = _parameters(given, kinds, task) | together
    known: dict[str, Any] = {"categorical_feature": categories or "auto", "free_raw_data": False}
    train_set = lightgbm.Dataset(training.rows, encode(training.labels, kinds), **known)
    held = lightgbm.Dataset(validation.rows, encode(validation.labels, kinds), reference=train_set, **known)
    lightgbm.register_logger(_Printer())
    is_leader = contract.cluster().is_leader
    callbacks: list[Callable[..., Any]] = [lightgbm.log_evaluation(1)] if is_leader else []
    debugging = boosting.find_config()
    if debugging is not None and is_leader:
        callbacks.append(boosting.lightgbm_hook(debugging, parameters))
    if given["early_stopping_rounds"] > 0:
        callbacks.append(lightgbm.early_stopping(given["early_stopping_rounds"], first_metric_only=True))
    try:
        booster = lightgbm.train(parameters, train_set, given["num_boost_round"], valid_sets=[held], valid_names=["valid"], callbacks=callbacks)
    except lightgbm.basic.LightGBMError as error:
        raise UserError(str(error))
    if is_leader:
        _save(booster, task, kinds)


class _Printer:
    """LightGBM's log on stdout, where metric regexes look."""

    def info(self, message: str) -> None:
        """Small numbers are written out: AWS's metric regexes know no exponents."""
        print(re.sub(r"\d+(?:\.\d+)?e-\d+", lambda found: f"{float(found[0]):.12f}", message), flush=True)

    warning = info


def _parameters(given: dict[str, Any], kinds: NDArray[np.float64], task: str) -> dict[str, Any]:
    objective = "regression" if task == "regression" else "binary" if len(kinds) <= 2 else "multiclass"
    found = {name: value for name, value in given.items() if name not in OURS and value is not None}
    found |= {"objective": objective if given["objective"] == "auto" else given["objective"]}
    found |= {"metric": METRICS[objective] if given["metric"] == "auto" else given["metric"], "num_threads": given["num_threads"] or threads()}
    if objective != "binary":
        found.pop("scale_pos_weight", None)
    if given["is_unbalance"]:
        found["is_unbalance"] = True  # with a scale_pos_weight other than 1 LightGBM refuses it
    return found | ({"num_class": len(kinds)} if objective == "multiclass" else {})


def _save(booster: Any, task: str, kinds: NDArray[np.float64]) -> None:
    folder = contract.folders().model
    folder.mkdir(parents=True, exist_ok=True)
    booster.save_model(folder / "model.txt")
    (folder / "model.pkl").write_bytes(pickle.dumps(booster))
    write_about(folder, task, kinds, booster.num_feature())


class LightGbmModel:
    """A booster, what it predicts and the class labels in the order of its probabilities."""

    def __init__(self, folder: Path) -> None:
        import lightgbm

        self.booster = lightgbm.Booster(model_file=folder / "model.txt", params={"num_threads": threads(), "verbosity": -1})
        task, self.labels, _ = read_about(folder)
        self.features = int(self.booster.num_feature())
        self.row = row_predictor(self.booster, self.features)
        guess = "classification" if self.booster.params.get("objective", "").startswith(("binary", "multi")) else "regression"
        self.task = task or guess

    def predict(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) numbers, or (n, classes) probabilities."""
        if len(rows) == 1 and self.row is not None:
            found = self.row(rows)
        else:
            found = np.asarray(self.booster.predict(rows, num_threads=1 if len(rows) < 64 else threads()))
        if self.task == "classification" and found.ndim == 1:
            both = np.empty((len(found), 2))
            both[:, 0], both[:, 1] = 1 - found, found
            return both
        return found


if __name__ == "__main__":
    if sys.argv[1:] == ["train"]:
        import_lean("lightgbm")
    run(train, LightGbmModel)
