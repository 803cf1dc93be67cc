"""The hooks of XGBoost and LightGBM: after a round that is due, metrics, losses, importances, trees and predictions go to the tensor folder.

Collections and the names of their tensors are smdebug's for XGBoost; LightGBM, which AWS's Debugger does not know, has the same ones.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dewfall.images.debugging.config import HookConfig, read_config
from dewfall.images.debugging.folder import TensorFolder

DEFAULTS = ("metrics",)
INTERVAL = 10
PATTERNS = {
    "hyperparameters": ("^hyperparameters/.*$",),
    "metrics": ("^[a-zA-z]+-[a-zA-z0-9]+$",),
    "losses": ("^[a-zA-z]+-.+(?<!(auc|map))$",),
    "predictions": ("^predictions$",),
    "labels": ("^labels$",),
    "feature_importance": ("^feature_importance/.*",),
    "average_shap": ("^average_shap/.*[^/bias]$",),
    "full_shap": ("^full_shap/.*[^/bias]$",),
    "trees": ("^trees/.*",),
}
GROWING = re.compile("^[a-zA-z]+-(auc|aucpr|map|ndcg|accuracy|f1|r2)")
IMPORTANCES = ("weight", "gain", "cover", "total_gain", "total_cover")

Metrics = Mapping[str, float]


def find_config() -> HookConfig | None:
    """The job's hook configuration for boosting."""
    return read_config(DEFAULTS, PATTERNS, INTERVAL)


def xgboost_hook(config: HookConfig, parameters: Mapping[str, Any], train: Any = None, validation: Any = None, start: int = 0) -> Any:
    """A callback for `xgboost.train`; `train` and `validation` are DMatrix, for SHAP values and predictions. `start`: rounds done before."""
    import xgboost

    folder = TensorFolder(config)

    class Hook(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            step = epoch + start
            due = [collection.name for collection in config.due(step)]
            if due and xgboost.collective.get_rank() == 0:
                metrics = {f"{data}-{name}": _value(log[-1]) for data, logs in evals_log.items() for name, log in logs.items()}
                folder.write(step, _xgboost_tensors(due, model, metrics, parameters, (train, validation), step))
            return False

    return Hook()


def lightgbm_hook(config: HookConfig, parameters: Mapping[str, Any]) -> Callable[[Any], None]:
    """A callback for `lightgbm.train`."""
    folder = TensorFolder(config)

    def hook(env: Any) -> None:
        due = [collection.name for collection in config.due(env.iteration)]
        if not due:
            return
        metrics = {f"{entry[0]}-{entry[1]}": float(entry[2]) for entry in env.evaluation_result_list or ()}
        grows = {f"{entry[0]}-{entry[1]}" for entry in env.evaluation_result_list or () if entry[3]}
        tensors = list(_scalars(due, metrics, parameters, grows))
        if "feature_importance" in due:
            for kind in ("split", "gain"):
                scores = dict(zip(env.model.feature_name(), env.model.feature_importance(kind), strict=True))
                tensors += _importance(kind, {name: float(score) for name, score in scores.items() if score})
        folder.write(env.iteration, tensors)

    hook.order = 25  # type: ignore[attr-defined]  # after the evaluation's log, before early stopping, which raises
    return hook


def _xgboost_tensors(
    due: list[str], model: Any, metrics: Metrics, parameters: Mapping[str, Any], data: tuple[Any, Any], step: int
) -> Iterator[tuple[str, str, Any]]:
    train, validation = data
    yield from _scalars(due, metrics, parameters, {name for name in metrics if GROWING.match(name)})
    if "predictions" in due and validation is not None:
        yield "predictions", "predictions", model.predict(validation)
    if "labels" in due and validation is not None:
        yield "labels", "labels", validation.get_label()
    if "feature_importance" in due:
        with contextlib.suppress(ValueError):  # a linear booster knows only one of them
            for kind in IMPORTANCES:
                yield from _importance(kind, model.get_score(importance_type=kind))
    if "trees" in due:
        yield from _trees(model, step)
    if train is not None and ("full_shap" in due or "average_shap" in due):
        values = model.predict(train, pred_contribs=True)
        features = [*(model.feature_names or [f"f{number}" for number in range(model.num_features())]), "bias"]
        means = values.mean(axis=tuple(range(values.ndim - 1)))
        for number, feature in enumerate(features):
            if "full_shap" in due:
                yield "full_shap", f"full_shap/{feature}", values
            if "average_shap" in due:
                yield "average_shap", f"average_shap/{feature}", means[number]


def _scalars(due: list[str], metrics: Metrics, parameters: Mapping[str, Any], grows: set[str]) -> Iterator[tuple[str, str, Any]]:
    import numpy as np

    for name, value in metrics.items():
        if "metrics" in due:
            yield "metrics", name, np.array([value])
        if name not in grows and ("losses" in due or "metrics" in due):
            yield "losses", name, np.array([value])
    if "hyperparameters" in due:
        for name, value in parameters.items():
            yield "hyperparameters", f"hyperparameters/{name}", np.array([value if isinstance(value, int | float) else str(value)])


def _importance(kind: str, scores: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    import numpy as np

    total = sum(scores.values()) or 1.0
    for feature, score in scores.items():
        yield "feature_importance", f"feature_importance/{kind}/{feature}", np.array([score / total])


def _trees(model: Any, step: int) -> Iterator[tuple[str, str, Any]]:
    """The trees of one round, a tensor per column of XGBoost's own table."""
    import numpy as np

    with contextlib.suppress(NotImplementedError, ValueError):
        table = model.trees_to_dataframe()
        mine = table[table["Tree"] == step]
        for column in mine.columns:
            values = mine[column]
            yield "trees", f"trees/{column}", np.array(values.astype(str) if values.dtype.kind not in "if" else values)


def _value(entry: Any) -> float:
    return float(entry[0] if isinstance(entry, tuple) else entry)
