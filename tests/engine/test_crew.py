"""What the words of several agents come to."""

from __future__ import annotations

from typing import Any

import pytest

from dewfall.engine import crew
from dewfall.engine.ports import AgentStatus

AGENTS = crew.crew("job.1", 3)
WELL = {"state": "Exited", "exit_code": 0, "phases": (("Downloading", 1.0), ("Training", 2.0), ("Exited", 5.0))}
RUNS = {"state": "Running", "phases": (("Downloading", 1.5), ("Training", 3.0))}
FAILED = {"state": "Exited", "exit_code": 2, "message": "no", "phases": (("Downloading", 1.0), ("Training", 2.0), ("Exited", 4.0))}
STOPPED = {"state": "Exited", "exit_code": 143, "reason": "Stopped", "phases": (("Downloading", 1.0), ("Exited", 4.5))}
LATE = {**FAILED, "state": "Exited", "exit_code": 143, "reason": "MaxRuntimeExceeded"}


class Words:
    """Agents that say what they are told to; `asked` are those that were asked for an end."""

    def __init__(self, *said: dict[str, Any]) -> None:
        self.said = {agent: AgentStatus(agent, **words) for agent, words in zip(AGENTS, said, strict=True)}
        self.asked: list[str] = []

    def status(self, agent: str) -> AgentStatus | None:
        return self.said[agent]

    def stop(self, agent: str) -> None:
        self.asked.append(agent)


@pytest.mark.parametrize(
    ("said", "now", "state", "exit_code", "reason"),
    [
        ((WELL, WELL, WELL), 9.0, "Exited", 0, ""),
        ((WELL, RUNS, WELL), 9.0, "Running", None, ""),
        ((WELL, FAILED, STOPPED), 9.0, "Exited", 2, ""),
        ((RUNS, FAILED, WELL), 5.0, "Running", None, ""),
        ((RUNS, FAILED, WELL), 99.0, "Exited", 2, ""),
        ((RUNS, LATE, WELL), 99.0, "Running", None, ""),
        ((WELL, STOPPED, STOPPED), 9.0, "Exited", 143, "Stopped"),
        ((RUNS, {"state": "Lost"}, FAILED), 9.0, "Lost", None, ""),
    ],
)
def test_a_job_is_as_its_agents_are(said: Any, now: float, state: str, exit_code: int | None, reason: str) -> None:
    found = crew.settle(Words(*said), AGENTS, now)  # type: ignore[arg-type]
    assert (found.id, found.state, found.exit_code, found.reason) == ("job.1", state, exit_code, reason)


def test_the_others_of_a_failed_agent_are_asked_for_an_end() -> None:
    words = Words(RUNS, FAILED, RUNS)
    crew.settle(words, AGENTS, 5.0)  # type: ignore[arg-type]
    assert words.asked == ["job.1", "job.1.algo-3"]


def test_phases_begin_when_the_last_agent_has_reached_them() -> None:
    found = crew.settle(Words(RUNS, {**RUNS, "phases": (("Downloading", 1.0), ("Training", 7.0))}, WELL), AGENTS, 9.0)  # type: ignore[arg-type]
    assert found.phases == (("Downloading", 1.0), ("Training", 7.0))
