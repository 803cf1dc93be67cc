"""A tensor of a trial, over all its steps."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from dewfall.images.debugging.analysis.errors import InvalidWorker, NoMoreData, StepNotYetAvailable, StepUnavailable, TensorUnavailableForStep
from dewfall.images.debugging.saving import ModeKeys

if TYPE_CHECKING:
    from dewfall.images.debugging.analysis.trial import Trial

WORKER = "worker_0"  # one process saves for all
REDUCTIONS: dict[str, Any] = {"min": np.min, "max": np.max, "mean": np.mean, "std": np.std, "variance": np.var, "sum": np.sum, "prod": np.prod}
NORMS = {"l1": 1, "l2": 2}


class StepState(Enum):
    """How a step stands."""

    UNAVAILABLE = 0
    AVAILABLE = 1
    NOT_YET_AVAILABLE = 2


class Tensor:
    """smdebug's Tensor. Steps are numbers among those of `mode`; of GLOBAL among all."""

    def __init__(self, name: str, trial: Trial) -> None:
        self.name, self.trial = name, trial

    def steps(self, mode: ModeKeys = ModeKeys.GLOBAL, show_incomplete_steps: bool = False) -> list[int]:
        """The steps at which it was saved."""
        self.trial.maybe_refresh()
        mine = self.trial.steps_of(self.name)
        return [step for step in self.trial.known_steps(mode) if self.trial.global_step(mode, step) in mine]

    def prev_steps(self, step: int, n: int | None = None, mode: ModeKeys = ModeKeys.GLOBAL) -> list[int]:
        """The last `n` steps up to this one, which is among them; all of them without `n`."""
        earlier = [one for one in self.steps(mode) if one <= step]
        return earlier[-n:] if n else earlier

    def value(self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None) -> Any:
        """The array of a step. Raises what tells why there is none."""
        if worker not in (None, WORKER):
            raise InvalidWorker(str(worker))
        place = self.trial.global_step(mode, step_num)
        if place is None or place not in self.trial.steps_of(self.name):
            self.trial.maybe_refresh()
            place = self.trial.global_step(mode, step_num)
        if place is not None and place in self.trial.steps_of(self.name):
            return self.trial.read(self.name, place)
        state = self.trial.has_passed_step(step_num, mode)
        if state is StepState.AVAILABLE:
            raise TensorUnavailableForStep(self.name, step_num, mode)
        last = max(self.trial.known_steps(mode), default=-1)
        if self.trial.loaded_all_steps and step_num > last:
            raise NoMoreData(step_num, mode, last)
        raise StepUnavailable(step_num, mode) if state is StepState.UNAVAILABLE else StepNotYetAvailable(step_num, mode)

    def values(self, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None) -> dict[int, Any]:
        """Step → array."""
        return {step: self.value(step, mode, worker) for step in self.steps(mode)}

    def shape(self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(np.shape(self.value(step_num, mode, worker)))

    def reduction_value(
        self, step_num: int, reduction_name: str, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None, abs: bool = False
    ) -> Any:
        """min, max, mean, std, variance, sum, prod, l1 or l2 of the array, or of its absolute values. Raises ValueError at another name."""
        value = np.abs(self.value(step_num, mode, worker)) if abs else self.value(step_num, mode, worker)
        if reduction_name in NORMS:
            return np.linalg.norm(np.atleast_1d(value), ord=NORMS[reduction_name])
        if reduction_name not in REDUCTIONS:
            raise ValueError(f"Invalid reduction type {reduction_name}")
        return REDUCTIONS[reduction_name](value)

    def reduction_values(self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None) -> dict[tuple[str, bool], Any]:
        """Reductions that were saved instead of the array: none, for whole arrays are."""
        self.value(step_num, mode, worker)
        return {}

    def workers(self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL) -> list[str]:
        """Who has saved it at a step."""
        self.value(step_num, mode)
        return [WORKER]
