"""Rules of one's own that look at two trials: the other one's steps are found, however many there are and whenever they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dewfall.images.debugging.analysis.errors import NoMoreData
from dewfall.images.debugging.analysis.rule import Rule, invoke_rule
from dewfall.images.debugging.analysis.trial import create_trial
from dewfall.images.debugging.config import HookConfig
from dewfall.images.debugging.folder import END_OF_JOB, TensorFolder

pytestmark = pytest.mark.timeout(60)


class Compared(Rule):
    """Asks both trials for the step; `before` is called before they are read, while nothing is refreshed."""

    def __init__(self, base_trial: Any, other_trials: Any, before: Any = lambda step: None) -> None:
        super().__init__(base_trial, other_trials=other_trials)
        self.before, self.seen = before, list[int]()

    def set_required_tensors(self, step: int) -> None:
        for trial in self.trials:
            self.req_tensors.add("loss", steps=[step], trial=trial)
        self.before(step)

    def invoke_at_step(self, step: int) -> bool:
        first, second = (self.req_tensors.get(trial)[0].value(step) for trial in self.trials)
        self.seen.append(int(first - second))
        return False


def writer(folder: Path, values: list[float], *, ended: bool = True) -> TensorFolder:
    made = TensorFolder(HookConfig(folder, ()))
    for step, value in enumerate(values):
        made.write(step, [("losses", "loss", value)])
    if ended:
        (folder / END_OF_JOB).touch()
    return made


@pytest.mark.parametrize("count", [100, 230])
def test_another_trials_steps_are_seen_beyond_the_first_batch(tmp_path: Path, count: int) -> None:
    writer(tmp_path / "base", [5.0] * (count + 1))
    writer(tmp_path / "other", [3.0] * count)
    rule = Compared(create_trial(str(tmp_path / "base")), [create_trial(str(tmp_path / "other"))])
    with pytest.raises(NoMoreData):
        invoke_rule(rule)
    assert rule.seen == [2] * count


def test_a_tensor_that_another_trial_saved_late_is_there_at_the_first_step(tmp_path: Path) -> None:
    writer(tmp_path / "base", [5.0])
    writer(tmp_path / "other", [3.0] * 149).write(149, [("losses", "late", np.ones(2))])
    rule = Compared(create_trial(str(tmp_path / "base")), [other := create_trial(str(tmp_path / "other"))])
    rule.before = lambda step: rule.req_tensors.add("late", steps=[149], trial=other)
    rule.invoke(0)
    assert rule.req_tensors.get(other)[1].value(149).tolist() == [1, 1]


def test_a_step_that_another_trial_saves_meanwhile_is_waited_for(tmp_path: Path) -> None:
    writer(tmp_path / "base", [5.0] * 3)
    growing = writer(tmp_path / "other", [3.0], ended=False)
    other = create_trial(str(tmp_path / "other"))
    rule = Compared(create_trial(str(tmp_path / "base")), [other], lambda step: growing.write(step, [("losses", "loss", 3.0)]))
    with pytest.raises(NoMoreData):
        invoke_rule(rule)
    assert (rule.seen, other.dynamic_refresh) == ([2, 2, 2], True)
