"""smdebug's Rule, which custom rules inherit, and how it is invoked step by step."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dewfall.images.debugging.actions import act, read_actions
from dewfall.images.debugging.analysis.errors import (
    NoMoreProfilerData,
    RuleEvaluationConditionMet,
    StepUnavailable,
    TensorUnavailable,
    TensorUnavailableForStep,
)
from dewfall.images.debugging.analysis.tensor import Tensor


def get_logger(name: str = "smdebug") -> logging.Logger:
    """smdebug's logger."""
    return logging.getLogger(name)


class RequiredTensors:
    """The tensors that a rule wants at a step, of each trial."""

    def __init__(self, base_trial: Any, other_trials: Iterable[Any] | None) -> None:
        self.base_trial = base_trial
        self._wanted: dict[int, dict[str, list[int]]] = {id(trial): {} for trial in (base_trial, *(other_trials or ()))}
        self._trials = {id(trial): trial for trial in (base_trial, *(other_trials or ()))}

    def add(self, name: str, steps: Sequence[int], trial: Any = None, should_match_regex: bool = False) -> None:
        """Ask for a tensor, or for all of a pattern. Raises TensorUnavailable."""
        chosen = self.base_trial if trial is None else trial
        for one in chosen.tensor_names(regex=[name]) if should_match_regex else [name]:
            if not chosen.has_tensor(one):
                raise TensorUnavailable(one)
            self._wanted[id(chosen)].setdefault(one, []).extend(steps)

    def get(self, trial: Any = None) -> list[Tensor]:
        """The tensors."""
        chosen = self.base_trial if trial is None else trial
        return [chosen.tensor(name) for name in self._wanted[id(chosen)]]

    def get_names(self, trial: Any = None) -> list[str]:
        """Their names."""
        return list(self._wanted[id(self.base_trial if trial is None else trial)])

    def get_tensor_steps(self, name: str, trial: Any = None) -> list[int]:
        """The steps at which one is wanted."""
        return self._wanted[id(self.base_trial if trial is None else trial)][name]

    def clear(self) -> None:
        """Want nothing."""
        for wanted in self._wanted.values():
            wanted.clear()

    def fetch(self) -> None:
        """Read them. Raises what tells which is not there."""
        for number, wanted in self._wanted.items():
            trial = self._trials[number]
            trial.wait_for_steps(sorted({step for steps in wanted.values() for step in steps}))
            for name, steps in wanted.items():
                for step in steps:
                    trial.tensor(name).value(step)


class Rule(ABC):
    """A rule: `invoke_at_step` says whether its condition is met. `action_str` is the JSON of what to do then."""

    def __init__(self, base_trial: Any, action_str: str | None = "", other_trials: Sequence[Any] | None = None) -> None:
        self.base_trial, self.other_trials = base_trial, other_trials
        self.trials = [base_trial, *(other_trials or ())]
        self.req_tensors = RequiredTensors(base_trial, other_trials)
        self.logger = get_logger()
        self.rule_name = type(self).__name__
        self.actions = read_actions(action_str or "")
        self.report: dict[str, Any] = {"RuleTriggered": 0, "Violations": 0, "Details": {}, "Datapoints": 0, "RuleParameters": ""}

    def set_required_tensors(self, step: int) -> None:  # noqa: B027  # a rule need not say so
        """Say by `self.req_tensors.add` what the step needs."""

    @abstractmethod
    def invoke_at_step(self, step: int) -> Any:
        """Whether the condition is met at a global step."""

    def invoke(self, step: int) -> None:
        """Look at a step as soon as it is there. Raises RuleEvaluationConditionMet."""
        self.base_trial.wait_for_steps([step])
        for trial in self.other_trials or ():
            trial.catch_up()
        with no_refresh(self.trials):
            self.req_tensors.clear()
            self.set_required_tensors(step)
            self.req_tensors.fetch()
            is_met = self.invoke_at_step(step)
        if is_met:
            met = RuleEvaluationConditionMet(self.rule_name, step)
            for action in self.actions:
                self.logger.warning(act(action, self.rule_name, dict(os.environ).get("training_job_name", ""), str(met), _client))
            raise met


def invoke_rule(rule_obj: Any, start_step: int | None = 0, end_step: int | None = None, raise_eval_cond: bool = False) -> None:
    """Invoke a rule at each step from `start_step` on, those passed over that were not saved. Raises NoMoreData at the job's end."""
    step = start_step or 0
    while end_step is None or step < end_step:
        try:
            rule_obj.invoke(step)
        except (TensorUnavailableForStep, StepUnavailable, TensorUnavailable) as problem:
            get_logger().debug("%s", problem)
        except NoMoreProfilerData:
            return
        except RuleEvaluationConditionMet as met:
            if raise_eval_cond:
                raise
            if met.end_of_rule:
                return
        step += 1


@contextmanager
def no_refresh(trials: Any) -> Iterator[Any]:
    """No looking for new steps meanwhile."""
    yield from _refreshing(trials, False)


@contextmanager
def refresh(trials: Any) -> Iterator[Any]:
    """Looking for new steps meanwhile."""
    yield from _refreshing(trials, True)


def _refreshing(trials: Any, wanted: bool) -> Iterator[Any]:
    chosen = trials if isinstance(trials, list) else [trials]
    before = [trial.dynamic_refresh for trial in chosen]
    for trial in chosen:
        trial.dynamic_refresh = wanted
    try:
        yield trials
    finally:
        for trial, was in zip(chosen, before, strict=True):
            trial.dynamic_refresh = was


def _client(service: str) -> Any:
    import boto3

    return boto3.client(service)
