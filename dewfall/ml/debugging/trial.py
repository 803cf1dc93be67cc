"""A training run as rules see it: which tensors there are, at which steps, and their values, read when they are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MODES = ("TRAIN", "EVAL", "PREDICT", "GLOBAL")


@dataclass(slots=True)
class Trial:
    """The run so far. Tensors are known by (name, mode); `add` tells of one, `fetch` reads it. `other` is a run that is over, to compare it with.

    Example::

        trial = Trial()
        trial.add("train-rmse", "GLOBAL", 0, lambda: np.array([0.5]))
        trial.value("train-rmse", "GLOBAL", 0)
    """

    collections: Mapping[str, frozenset[str]] = field(default_factory=dict)
    other: Trial | None = None
    _steps: dict[tuple[str, str], dict[int, Callable[[], Array]]] = field(default_factory=dict)
    _read: dict[tuple[str, str, int], Array] = field(default_factory=dict)

    def add(self, name: str, mode: str, step: int, fetch: Callable[[], Array]) -> None:
        """Tell of a tensor of a step."""
        self._steps.setdefault((name, mode), {})[step] = fetch

    def names(self, regex: str = "", collections: Iterable[str] = ()) -> list[str]:
        """Tensors of a pattern (of its own at any place in the name) or of collections; all of them where neither is given."""
        known = list(dict.fromkeys(name for name, _ in self._steps))
        wanted = [name for name in collections if name]
        if not regex and not wanted:
            return known
        patterns = [re.compile(part) for part in regex.split(",") if part] if regex else []
        members = frozenset().union(*(self.collections.get(name, frozenset()) for name in wanted))
        return [name for name in known if name in members or any(pattern.search(name) for pattern in patterns)]

    def modes(self, name: str) -> list[str]:
        """The modes in which a tensor was saved."""
        return [mode for mode in MODES if (name, mode) in self._steps]

    def steps(self, name: str, mode: str) -> list[int]:
        """The steps at which a tensor was saved, in order."""
        return sorted(self._steps.get((name, mode), ()))

    def at(self, step: int, names: Iterable[str]) -> list[tuple[str, str, Array]]:
        """(name, mode, value) of those tensors that this step has."""
        return [(name, mode, self.value(name, mode, step)) for name in names for mode in self.modes(name) if step in self._steps[name, mode]]

    def before(self, name: str, mode: str, step: int, distance: int = 1) -> int | None:
        """The last step with this tensor that lies at least so far back."""
        earlier = [one for one in self.steps(name, mode) if one <= step - distance]
        return earlier[-1] if earlier else None

    def value(self, name: str, mode: str, step: int) -> Array:
        """A tensor, kept once it has been read, unless it is large: rules look back."""
        key = (name, mode, step)
        if key not in self._read:
            value = np.asarray(self._steps[name, mode][step]())
            if value.size > 1 << 20:
                return value
            self._read[key] = value
        return self._read[key]

    def scalar(self, name: str, mode: str, step: int) -> float:
        """The mean of a tensor, which is a loss or a metric."""
        return float(np.mean(self.value(name, mode, step)))


@dataclass(frozen=True, slots=True)
class Options:
    """RuleParameters: text by name."""

    given: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """A parameter as it was given."""
        return self.given.get(name, default)

    def number(self, name: str, default: float) -> float:
        """A parameter that is a number. Raises ValueError naming it."""
        text = self.given.get(name)
        if text is None:
            return default
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{name} must be a number, not {text!r}") from None

    def flag(self, name: str, default: bool) -> bool:
        """A parameter that is true or false."""
        return self.given.get(name, str(default)).strip().lower() == "true"

    def chosen(self, trial: Trial, regex: str = "", collection: str = "") -> list[str]:
        """The tensors that `tensor_regex` and `collection_names` choose, else the rule's own."""
        own_regex, own = self.text("tensor_regex"), self.text("collection_names")
        if own_regex or own:
            return trial.names(own_regex, own.split(","))
        return trial.names(regex, (collection,)) if regex or collection else trial.names()
