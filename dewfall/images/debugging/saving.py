"""A hook configuration from a script's own arguments, where it does not take the job's; smdebug's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dewfall.images import contract
from dewfall.images.debugging.config import FOLDER, MODES, Collection, HookConfig, SaveAt


class ModeKeys(Enum):
    """What a step is for."""

    TRAIN = 1
    EVAL = 2
    PREDICT = 3
    GLOBAL = 4


modes = ModeKeys


@dataclass(frozen=True, slots=True)
class SaveConfig:
    """When a hook that a script makes by itself saves."""

    save_interval: int | None = None
    start_step: int | None = None
    end_step: int | None = None
    save_steps: tuple[int, ...] | list[int] = ()


def make_config(
    out_dir: str | None,
    save_config: SaveConfig | None,
    collections: Sequence[str],
    patterns: Mapping[str, tuple[str, ...]],
    interval: int,
) -> HookConfig:
    """The configuration; `collections` are saved at the same steps."""
    given = save_config or SaveConfig()
    at = SaveAt(given.save_interval or interval, given.start_step or 0, given.end_step, frozenset(given.save_steps))
    home = contract.folders().home
    folder = home / FOLDER if not out_dir else home / Path(out_dir).relative_to("/opt/ml") if out_dir.startswith("/opt/ml/") else Path(out_dir)
    return HookConfig(folder, tuple(Collection(name, dict.fromkeys(MODES, at), patterns.get(name, ())) for name in dict.fromkeys(collections)))
