"""debughookconfig.json: which collections are saved, at which steps, and which tensors belong to them.

A collection without parameters of its own has those of HookParameters, and these the framework's defaults, as smdebug has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dewfall.images import contract

FILE = "debughookconfig.json"
FOLDER = "output/tensors"
MODES = ("train", "eval", "predict", "global")


@dataclass(frozen=True, slots=True)
class SaveAt:
    """The steps at which something is saved."""

    interval: int = 500
    start: int = 0
    end: int | None = None
    steps: frozenset[int] = frozenset()

    def holds(self, step: int) -> bool:
        """Whether this step is one of them."""
        if step in self.steps:
            return True
        return step >= self.start and (self.end is None or step < self.end) and step % self.interval == 0

    def document(self) -> dict[str, Any]:
        """smdebug's form."""
        return {"save_interval": self.interval, "save_steps": sorted(self.steps), "start_step": self.start, "end_step": self.end}


@dataclass(frozen=True, slots=True)
class Collection:
    """Tensors that are saved together."""

    name: str
    at: Mapping[str, SaveAt] = field(default_factory=dict)  # mode → steps
    include: tuple[str, ...] = ()
    reductions: tuple[str, ...] = ()

    def takes(self, tensor: str) -> bool:
        """Whether a tensor belongs to it by its name."""
        return any(re.search(pattern, tensor) for pattern in self.include)


@dataclass(frozen=True, slots=True)
class HookConfig:
    """What to save, and where."""

    folder: Path
    collections: tuple[Collection, ...]
    save_all: bool = False

    def due(self, step: int, mode: str = "global") -> list[Collection]:
        """The collections of a step."""
        return [collection for collection in self.collections if collection.at[mode].holds(step)]


def read_config(defaults: tuple[str, ...], patterns: Mapping[str, tuple[str, ...]], interval: int) -> HookConfig | None:
    """The job's hook configuration; None when it has none. `defaults`: collections saved whatever is asked for; `patterns`: known collections."""
    document = contract.read_config(FILE)
    if not document:
        return None
    given = dict(document.get("HookParameters") or {})
    base = {mode: _save_at(given, mode, SaveAt(interval)) for mode in MODES}
    asked = {one["CollectionName"]: dict(one.get("CollectionParameters") or {}) for one in document.get("CollectionConfigurations") or ()}
    names = list(dict.fromkeys([*defaults, *asked]))
    if given.get("include_regex"):
        names.append("default")
        asked.setdefault("default", {"include_regex": given["include_regex"]})
    collections = []
    for name in dict.fromkeys(names):
        parameters = asked.get(name, {})
        include = (*patterns.get(name, ()), *_words(parameters.get("include_regex", "")))
        at = {mode: _save_at(parameters, mode, base[mode]) for mode in MODES}
        collections.append(Collection(name, at, include, _words(parameters.get("reductions", given.get("reductions", "")))))
    local = str(document.get("LocalPath") or "")
    home = contract.folders().home
    folder = home / Path(local).relative_to("/opt/ml") if local.startswith("/opt/ml/") else Path(local) if local else home / FOLDER
    return HookConfig(folder, tuple(collections), str(given.get("save_all", "")).lower() == "true")


def _save_at(parameters: Mapping[str, str], mode: str, base: SaveAt) -> SaveAt:
    found = {name: parameters.get(f"{mode}.{name}", parameters.get(name)) for name in ("save_interval", "start_step", "end_step", "save_steps")}
    return SaveAt(
        max(1, int(found["save_interval"])) if found["save_interval"] else base.interval,
        int(found["start_step"]) if found["start_step"] else base.start,
        int(found["end_step"]) if found["end_step"] else base.end,
        frozenset(int(step) for step in _words(found["save_steps"])) if found["save_steps"] else base.steps,
    )


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())
