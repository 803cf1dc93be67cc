"""Several agents that are one job: started all or none, seen as one, ended together.

Why apart from Compute: a Compute knows agents, a job's step wants to know how the job is. With one agent it is that agent.

    all there? ─ one Lost → the job is Lost ─ one failed → the others are stopped, the job failed for its reason ─ all Exited → Exited
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dewfall.engine.ports import AgentSpec, AgentStatus, Compute

FAREWELL = 10.0  # seconds that the others of a failed agent get to end by themselves
OVER = ("Exited", "Lost")
ASKED = ("Stopped",)  # reasons that are an answer to somebody's request
PATIENT = ("MaxRuntimeExceeded",)  # reasons for which the others keep their whole grace


def crew(lead: str, count: int) -> tuple[str, ...]:
    """The ids of a job's agents: the lead's, and those of algo-2 and so on."""
    return (lead, *(f"{lead}.algo-{number}" for number in range(2, count + 1)))


def host_of(agent: str) -> str:
    """The host's name in an id of `crew`."""
    last = agent.rpartition(".")[2]
    return last if last.startswith("algo-") else "algo-1"


def statuses(compute: Compute, agents: Sequence[str]) -> list[AgentStatus | None]:
    """Each agent's word, None for those that nobody has started."""
    return [compute.status(agent) for agent in agents]


def start(compute: Compute, specs: Sequence[AgentSpec]) -> None:
    """Start them all; those that have been started already go on."""
    for spec in specs:
        compute.start(spec)


def stop(compute: Compute, agents: Sequence[str]) -> None:
    """Ask all of them for an end."""
    for agent in agents:
        compute.stop(agent)


def discard(compute: Compute, agents: Sequence[str]) -> None:
    """Forget all of them, the lead last: as long as it is there, the job is known to have begun."""
    for agent in reversed(agents):
        compute.discard(agent)


def settle(compute: Compute, agents: Sequence[str], now: float) -> AgentStatus:
    """The job's status, once somebody of it has started; the others of one that has failed are ended by this.

    Its id is the lead's, its outputs are all that was collected, the lead's first.
    """
    found = [status for status in statuses(compute, agents) if status is not None]
    failed = first_failure(found)
    living = [status for status in found if status.state not in OVER]
    if failed is not None and living:
        for status in living:
            compute.stop(status.id)
        if failed.state != "Lost" and (failed.reason in PATIENT or now - ended(failed) < FAREWELL):
            return _together(agents[0], living)
        return replace(_summary(agents[0], found, failed), state=failed.state)
    return _together(agents[0], found) if living else _summary(agents[0], found, failed or found[0])


def first_failure(found: Sequence[AgentStatus]) -> AgentStatus | None:
    """Who ended first of those that did not end well, other than by request; a lost one comes before all."""
    failed = [s for s in found if s.state == "Lost" or (s.state == "Exited" and s.reason not in ASKED and (s.exit_code != 0 or s.reason))]
    return min(failed, key=lambda status: (status.state != "Lost", ended(status)), default=None)


def ended(status: AgentStatus) -> float:
    """When an agent spoke last, in seconds since the epoch; 0 when it never did."""
    return status.phases[-1][1] if status.phases else 0.0


def _together(lead: str, living: Sequence[AgentStatus]) -> AgentStatus:
    """How a running job is: as far as its slowest agent."""
    slowest = min(living, key=lambda status: len(status.phases))
    return replace(slowest, id=lead, phases=_phases(living))


def _summary(lead: str, found: Sequence[AgentStatus], telling: AgentStatus) -> AgentStatus:
    """How a job ended: as the telling one, with what all of them collected. One that was stopped stands for all that were."""
    stopped = next((status for status in found if status.reason in ASKED), None)
    told = stopped if telling.state == "Exited" and telling.exit_code == 0 and not telling.reason and stopped is not None else telling
    outputs = tuple(output for status in found for output in status.outputs)
    return replace(told, id=lead, outputs=outputs, phases=_phases(found))


def _phases(found: Sequence[AgentStatus]) -> tuple[tuple[str, float], ...]:
    """A phase begins for the job when its last agent has reached it; the first one begins with the first."""
    slowest = min(found, key=lambda status: len(status.phases))
    reached = []
    for number, (phase, _) in enumerate(slowest.phases):
        times = [at for status in found for name, at in status.phases if name == phase]
        reached.append((phase, min(times) if number == 0 else max(times)))
    return tuple(reached)
