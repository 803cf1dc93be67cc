"""The AutoGluon-Tabular image, JumpStart's layout of data and answers (tabular.py): runs where the user has AutoGluon installed.

The model is AutoGluon's own folder, `predictor/`, with `task.json` for the task and its classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin.algorithm import settings as read_settings
from dewfall.images.builtin.tabular import Data, answer, encode, find_task, read_about, read_data, read_rows, run, write_about
from dewfall.images.contract import UserError

__all__ = ["AutoGluonModel", "answer", "read_rows", "train"]  # what JumpStart's scripts import

METRICS = {"regression": "root_mean_squared_error", "binary": "roc_auc", "multiclass": "accuracy"}
FIT = ("presets", "auto_stack", "num_bag_folds", "num_bag_sets", "num_stack_levels", "refit_full", "set_best_to_refit_full", "save_space")
MISSING = "AutoGluon is not installed. Install it where Dewfall runs: pip install autogluon.tabular"
LABEL = "label"


def train(task: str = "") -> None:
    """Fit AutoGluon's models on the channel's rows and weigh them by its validation rows; `task` overrides detection."""
    try:
        from autogluon.tabular import TabularPredictor
    except ImportError:
        raise UserError(MISSING) from None
    given = read_settings("autogluon-tabular")
    training, validation, categories = read_data()
    task = find_task(task or given["task"], "DEWFALL_AUTOGLUON_TASK", training.labels)
    kinds = np.unique(np.concatenate([training.labels, validation.labels])) if task == "classification" else np.zeros(0)
    kind = "regression" if task == "regression" else "binary" if len(kinds) <= 2 else "multiclass"
    metric = METRICS[kind] if given["eval_metric"] == "auto" else given["eval_metric"]
    folder = contract.folders().model
    write_about(folder, task, kinds, training.rows.shape[1])
    settings = {name: given[name] for name in FIT if name in contract.hyperparameters() or name == "presets"}
    is_bagged = given["num_bag_folds"] > 1 or given["auto_stack"]
    held = {"tuning_data": _frame(validation, kinds, categories), **({"use_bag_holdout": True} if is_bagged else {})}
    try:
        predictor = TabularPredictor(LABEL, kind, metric, path=str(folder / "predictor"), verbosity=given["verbosity"], log_to_file=False)
        predictor.fit(_frame(training, kinds, categories), **settings, **held)
    except ValueError as error:
        raise UserError(str(error))
    board = predictor.leaderboard(_frame(validation, kinds, categories), silent=True)
    print(board.to_string(), flush=True)
    print(f"{metric}: {abs(float(board['score_test'].max())) if kind == 'regression' else float(board['score_test'].max())}", flush=True)


def _frame(data: Data, kinds: NDArray[np.float64], categories: list[int]) -> Any:
    frame = _features(data.rows, categories)
    labels = encode(data.labels, kinds)
    frame[LABEL] = labels.astype(int) if len(kinds) else labels
    return frame


def _features(rows: NDArray[Any], categories: list[int]) -> Any:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=[f"x{index}" for index in range(rows.shape[1])])
    for index in categories:
        frame[f"x{index}"] = frame[f"x{index}"].map(str).astype("category")
    return frame


class AutoGluonModel:
    """AutoGluon's best model and what it predicts."""

    def __init__(self, folder: Path) -> None:
        try:
            from autogluon.tabular import TabularPredictor
        except ImportError:
            raise RuntimeError(MISSING) from None
        self.predictor = TabularPredictor.load(str(folder / "predictor"), verbosity=0)
        self.task, self.labels, self.features = read_about(folder)
        self.categories = [index for index in range(self.features) if self.predictor.feature_metadata.get_feature_type_raw(f"x{index}") == "category"]

    def predict(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) numbers, or (n, classes) probabilities."""
        frame = _features(rows, self.categories)
        if self.task == "regression":
            return np.asarray(self.predictor.predict(frame), dtype=np.float64)
        found = self.predictor.predict_proba(frame, as_multiclass=True)
        wide = np.zeros((len(rows), len(self.labels)))
        wide[:, [int(name) for name in found.columns]] = found.to_numpy()
        return wide


if __name__ == "__main__":
    run(train, AutoGluonModel)
