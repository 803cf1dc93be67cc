"""What happens after each round: the metric line, a checkpoint, the model kept for an early end.

Callbacks of XGBoost behind functions, so that only training imports it.
"""

import contextlib
import os
import re
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xgboost

CHECKPOINT = "xgboost-checkpoint"
KEEP = 5


def say(text: str, level: str = "INFO") -> None:
    """A log line of the XGBoost container."""
    print(f"[{datetime.now(UTC):%Y-%m-%d:%H:%M:%S}:{level}] {text}", flush=True)


class Monitor(xgboost.callback.TrainingCallback):
    """Print `[round]<tab>train-rmse:…<tab>validation-rmse:…`, the line that metric regexes read."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start = start

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        if xgboost.collective.get_rank() == 0:
            scores = (f"\t{data}-{metric}:{log[-1]:.5f}" for data, by_metric in evals_log.items() for metric, log in by_metric.items())
            print(f"[{epoch + self.start}]{''.join(scores)}", flush=True)
        return False


class KeptModel(xgboost.callback.TrainingCallback):
    """Keep the model of the last round in the model folder, so that a stopped job still has one; SIGTERM then ends the job well."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        _write(self.path, bytes(model.save_raw(raw_format="ubj")))
        return False


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoint folder: files `xgboost-checkpoint.<round>`, the newest few."""

    folder: Path
    keep: int = KEEP

    @classmethod
    def find(cls, path: str | None, fold: int | None) -> "Checkpoints | None":
        if not path:
            return None
        folder = _relocated(path)
        return cls(folder if fold is None else folder / f"model-{fold}")

    def newest(self) -> tuple[int, bytearray | None]:
        """(rounds done, model to go on from); broken files are passed over."""
        for number, path in sorted(self._files().items(), reverse=True):
            with contextlib.suppress(xgboost.core.XGBoostError):
                body = bytearray(path.read_bytes())
                xgboost.Booster().load_model(body)
                say(f"Checkpoint loaded from {path}")
                say(f"Resuming from iteration {number + 1}")
                return number + 1, body
        return 0, None

    def _files(self) -> dict[int, Path]:
        if not self.folder.is_dir():
            return {}
        named = ((re.fullmatch(rf"{CHECKPOINT}\.(\d+)", path.name), path) for path in self.folder.iterdir())
        return {int(match[1]): path for match, path in named if match}

    def callback(self, start: int) -> Any:
        self.folder.mkdir(parents=True, exist_ok=True)
        return _Save(self, start, frozenset(self._files()))

    def save(self, model: Any, number: int, before: frozenset[int]) -> None:
        _write(self.folder / f"{CHECKPOINT}.{number}", bytes(model.save_raw(raw_format="ubj")))
        for old, path in self._files().items():
            uploading = path.with_name(path.name + ".sagemaker-uploading").exists() and not path.with_name(path.name + ".sagemaker-uploaded").exists()
            if old <= number - self.keep and old not in before and not uploading:
                path.unlink(missing_ok=True)


class _Save(xgboost.callback.TrainingCallback):
    def __init__(self, checkpoints: Checkpoints, start: int, before: frozenset[int]) -> None:
        super().__init__()
        self.checkpoints, self.start, self.before = checkpoints, start, before

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        if xgboost.collective.get_rank() == 0:
            self.checkpoints.save(model, self.start + epoch, self.before)
        return False


def _write(path: Path, body: bytes) -> None:
    """Whole or not at all; the platform leaves files with this ending alone."""
    draft = path.with_name(path.name + ".sagemaker-ignore")
    draft.write_bytes(body)
    draft.replace(path)


def _relocated(path: str) -> Path:
    """/opt/ml/checkpoints where this container's /opt/ml really lies."""
    base = os.environ.get("SAGEMAKER_BASE_DIR")
    return Path(base) / Path(path).relative_to("/opt/ml") if base and path.startswith("/opt/ml/") else Path(path)
