"""smdebug's Hook for scripts of PyTorch, of the job's DebugHookConfig or the script's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dewfall.images.debugging import torch_hook
from dewfall.images.debugging.saving import SaveConfig, make_config

_made: list[Hook] = []


class Hook(torch_hook.TorchHook):
    """smdebug's Hook."""

    def __init__(
        self, out_dir: str | None = None, save_config: SaveConfig | None = None, include_collections: Sequence[str] = (), **others: Any
    ) -> None:
        config = others.pop("config", None)
        names = (*torch_hook.DEFAULTS, *include_collections)
        super().__init__(config or make_config(out_dir, save_config, names, torch_hook.PATTERNS, torch_hook.INTERVAL))
        _made.append(self)

    @classmethod
    def create_from_json_file(cls, json_file_path: str | None = None) -> Hook:
        """The hook of the job's configuration. Raises FileNotFoundError when it has none."""
        config = torch_hook.find_config()
        if config is None:
            raise FileNotFoundError("/opt/ml/input/config/debughookconfig.json: this job has no DebugHookConfig")
        return cls(config=config)


def get_hook(json_config_path: str | None = None, create_if_not_exists: bool = False) -> Hook | None:
    """The hook made last, or one of the job's configuration."""
    if not _made and create_if_not_exists and torch_hook.find_config() is not None:
        Hook.create_from_json_file()
    return _made[-1] if _made else None
