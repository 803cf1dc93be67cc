"""smdebug's Hook for scripts: a callback for `xgboost.train`, of the job's DebugHookConfig or the script's arguments.

Why apart from boosting.py: a class of XGBoost's needs XGBoost when this is imported, which the script has done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xgboost

from dewfall.images.debugging import boosting
from dewfall.images.debugging.config import HookConfig
from dewfall.images.debugging.saving import SaveConfig, make_config


class Hook(xgboost.callback.TrainingCallback):
    """Saves tensors after rounds that are due. `train_data`, `validation_data` and `hyperparameters` may be set later."""

    def __init__(
        self,
        out_dir: str | None = None,
        save_config: SaveConfig | None = None,
        include_collections: Sequence[str] = (),
        hyperparameters: Mapping[str, Any] | None = None,
        train_data: Any = None,
        validation_data: Any = None,
        config: HookConfig | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        names = (*boosting.DEFAULTS, *include_collections)
        self.config = config or make_config(out_dir, save_config, names, boosting.PATTERNS, boosting.INTERVAL)
        self.hyperparameters, self.train_data, self.validation_data = hyperparameters, train_data, validation_data
        self.inner: Any = None

    @classmethod
    def create_from_json_file(cls, json_file_path: str | None = None) -> Hook:
        """The hook of the job's configuration. Raises FileNotFoundError when it has none."""
        config = boosting.find_config()
        if config is None:
            raise FileNotFoundError("/opt/ml/input/config/debughookconfig.json: this job has no DebugHookConfig")
        return cls(config=config)

    hook_from_config = create_from_json_file

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """One round."""
        if self.inner is None:
            self.inner = boosting.xgboost_hook(self.config, self.hyperparameters or {}, self.train_data, self.validation_data)
        return bool(self.inner.after_iteration(model, epoch, evals_log))
