"""Checkpoints of scripts that train XGBoost themselves: files `xgboost-checkpoint.<round>`, as the algorithm writes them."""

from typing import Any

import xgboost

from dewfall.images.builtin.xgboost.progress import CHECKPOINT, KEEP, Checkpoints, Monitor

DEFAULT_ROUNDS = 10  # of xgboost.train


def train(train_args: dict[str, Any], checkpoint_dir: str) -> Any:
    """`xgboost.train(**train_args)` that goes on from the newest checkpoint and leaves one after each round."""
    _, done, model = _newest(checkpoint_dir)
    callbacks = [*(train_args.get("callbacks") or []), print_checkpointed_evaluation(start_iteration=done), save_checkpoint(checkpoint_dir, done)]
    rounds = train_args.get("num_boost_round", DEFAULT_ROUNDS) - done
    return xgboost.train(**{**train_args, "callbacks": callbacks, "num_boost_round": rounds, "verbose_eval": False, "xgb_model": model})


def load_checkpoint(checkpoint_dir: str, max_try: int = 5) -> tuple[str | None, int]:
    """(path of the newest checkpoint that can be read, rounds done); (None, 0) where there is none."""
    path, done, _ = _newest(checkpoint_dir)
    return path, done


def _newest(checkpoint_dir: str) -> tuple[str | None, int, bytearray | None]:
    checkpoints = Checkpoints.find(checkpoint_dir, None)
    done, model = checkpoints.newest() if checkpoints else (0, None)
    return (str(checkpoints.folder / f"{CHECKPOINT}.{done - 1}") if checkpoints and model else None), done, model


def save_checkpoint(checkpoint_dir: str, start_iteration: int = 0, max_to_keep: int = KEEP, num_round: int | None = None, **_: Any) -> Any:
    """A callback for xgboost.train that saves each round and keeps the newest few."""
    found = Checkpoints.find(checkpoint_dir, None)
    if found is None:
        raise ValueError("checkpoint_dir is empty.")
    return Checkpoints(found.folder, max_to_keep).callback(start_iteration)


def print_checkpointed_evaluation(start_iteration: int = 0, **_: Any) -> Any:
    """A callback that prints the metrics of each round, counted from the first round of all."""
    return Monitor(start_iteration)


SaveCheckpoint = SaveCheckpointCallBack = save_checkpoint
