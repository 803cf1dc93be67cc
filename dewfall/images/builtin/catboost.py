"""The CatBoost image, JumpStart's layout of data and answers (tabular.py).

The model is CatBoost's own: `model.cbm`, with `task.json` for the task and its classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin.algorithm import settings as read_settings
from dewfall.images.builtin.report import threads
from dewfall.images.builtin.tabular import Data, answer, encode, find_task, read_about, read_data, read_rows, run, write_about
from dewfall.images.contract import UserError

__all__ = ["CatBoostModel", "answer", "read_rows", "train"]  # what JumpStart's scripts import

LOSSES = {"regression": "RMSE", "binary": "Logloss", "multiclass": "MultiClass"}
METRICS = {"regression": "RMSE", "binary": "AUC", "multiclass": "MultiClass"}
OURS = ("task", "eval_metric", "early_stopping_rounds", "max_leaves", "scale_pos_weight", "verbose", "thread_count", "boosting_type", "max_bin",
        "sampling_frequency", "bagging_temperature", "min_data_in_leaf", "rsm")  # fmt: skip
MISSING = "CatBoost is not installed. Install it where Dewfall runs: pip install 'dewfall[catboost]'"


def train(task: str = "") -> None:
    """Train on the channel's rows, stop by its validation rows (a fifth of them when there are none); `task` overrides detection."""
    try:
        import catboost
    except ImportError:
        raise UserError(MISSING) from None
    given = read_settings("catboost")
    training, validation, categories = read_data()
    task = find_task(task or given["task"], "DEWFALL_CATBOOST_TASK", training.labels)
    kinds = np.unique(np.concatenate([training.labels, validation.labels])) if task == "classification" else np.zeros(0)
    patience = given["early_stopping_rounds"]
    try:
        model = catboost.CatBoost(_parameters(given, kinds, task))
        pools = [_pool(data, encode(data.labels, kinds), categories) for data in (training, validation)]
        model.fit(pools[0], eval_set=pools[1], early_stopping_rounds=patience if patience > 0 else None, use_best_model=True)
    except catboost.CatBoostError as error:
        raise UserError(str(error)) from None
    for name, value in model.get_best_score().get("validation", {}).items():
        print(f"{name}: {value:.10f}", flush=True)  # bestTest, CatBoost's own line, does not name its metric
    folder = contract.folders().model
    write_about(folder, task, kinds, training.rows.shape[1])
    model.save_model(str(folder / "model.cbm"))


def _parameters(given: dict[str, Any], kinds: NDArray[np.float64], task: str) -> dict[str, Any]:
    """CatBoost's own names; what is left at its default is left to CatBoost, which allows some settings only together with others."""
    kind = "regression" if task == "regression" else "binary" if len(kinds) <= 2 else "multiclass"
    found = {name: value for name, value in given.items() if name not in OURS and value is not None}
    found |= {"loss_function": LOSSES[kind], "eval_metric": METRICS[kind] if given["eval_metric"] == "auto" else given["eval_metric"]}
    found |= {"thread_count": threads() if given["thread_count"] < 1 else given["thread_count"], "verbose": max(0, given["verbose"])}
    asked = contract.hyperparameters()
    found |= {name: given[name] for name in OURS[7:] if name in asked and given[name] != "Auto"}
    if "max_leaves" in asked and given["grow_policy"] == "Lossguide":
        found["max_leaves"] = given["max_leaves"]
    if kind == "binary" and given["scale_pos_weight"] != 1:
        found["scale_pos_weight"] = given["scale_pos_weight"]
    return found | {"allow_writing_files": False}


def _pool(data: Data, labels: NDArray[np.float64], categories: list[int]) -> Any:
    import catboost

    return catboost.Pool(_typed(data.rows, categories), labels, cat_features=categories or None)


def _typed(rows: NDArray[Any], categories: list[int]) -> Any:
    """CatBoost wants categories as whole numbers or texts."""
    if not categories:
        return rows
    import pandas as pd

    columns = {index: rows[:, index] for index in range(rows.shape[1])}
    return pd.DataFrame(columns | {index: [_category(value) for value in rows[:, index].tolist()] for index in categories})


def _category(value: float) -> str:
    return str(int(value)) if value == value and value.is_integer() else str(value)


class CatBoostModel:
    """A CatBoost model and what it predicts."""

    def __init__(self, folder: Path) -> None:
        try:
            import catboost
        except ImportError:
            raise RuntimeError(MISSING) from None
        self.model = catboost.CatBoost()
        self.model.load_model(str(folder / "model.cbm"))
        self.task, self.labels, self.features = read_about(folder)
        self.categories = [int(index) for index in self.model.get_cat_feature_indices()]

    def predict(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) numbers, or (n, classes) probabilities."""
        kind = "Probability" if self.task == "classification" else "RawFormulaVal"
        count = 1 if len(rows) < 64 else threads()
        return np.asarray(self.model.predict(_typed(rows, self.categories), prediction_type=kind, thread_count=count))


if __name__ == "__main__":
    run(train, CatBoostModel)
