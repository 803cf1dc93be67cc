"""Agents for tests: started on a Compute, waited for by its pokes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dewfall.engine.compute.local import LocalCompute
from dewfall.engine.ports import AgentSpec, AgentStatus, Channel, Compute, FileLink

OVER = ("Exited", "Lost")
PATIENCE = 180.0


class Jobs:
    """One Compute over one folder, which may be closed and opened again as a restarted server does."""

    def __init__(self, folder: Path, *, namespaces: bool = True, slots: int = 4) -> None:
        self.folder = folder
        self.open: Callable[[], Compute] = lambda: LocalCompute(
            folder / "jobs", slots=slots, namespaces=namespaces, poke=folder / "run" / "poke.sock"
        )
        self._changed = threading.Condition()
        self._count = 0
        self.compute: Compute = self.open()
        self.compute.on_change(self._on_change)

    def restart(self) -> None:
        """A new server over the old one's folder."""
        self.compute.close()
        self.compute = self.open()
        self.compute.on_change(self._on_change)

    def start(self, *command: str, **values: Any) -> str:
        """Start a job, by default of a Python script."""
        self._count += 1
        agent: str = values.pop("id", f"training-job.000000000000.us-east-1.job-{self._count}.1")
        spec = AgentSpec(id=agent, kind=values.pop("kind", "job"), command=command, environment=values.pop("environment", {}), **values)
        self.compute.start(spec)
        return agent

    def script(self, source: str, **values: Any) -> str:
        """Start a Python script."""
        return self.start(sys.executable, "-c", source, **values)

    def wait(self, agent: str, *states: str) -> AgentStatus:
        """Until it is in one of the states, by default over."""
        wanted = states or OVER

        def there() -> bool:
            status = self.compute.status(agent)
            return status is not None and (status.state in wanted or status.state in OVER)

        with self._changed:
            assert self._changed.wait_for(there, PATIENCE), self.compute.status(agent)
        status = self.compute.status(agent)
        assert status is not None
        return status

    def run(self, *command: str, **values: Any) -> AgentStatus:
        """Start a command and wait for its end."""
        return self.wait(self.start(*command, **values))

    def run_script(self, source: str, **values: Any) -> AgentStatus:
        """Start a Python script and wait for its end."""
        return self.wait(self.script(source, **values))

    def log(self, agent: str) -> str:
        """The log without its times."""
        lines = self.compute.log_file(agent).read_text(errors="replace").splitlines()
        return "".join(line.partition(" ")[2] + "\n" for line in lines)

    def channel(self, files: dict[str, str], *, name: str = "train", mode: str = "File") -> Channel:
        """A channel of stored files with these contents."""
        stored = self.folder / "blobs" / name
        stored.mkdir(parents=True, exist_ok=True)
        links = []
        for number, (key, text) in enumerate(files.items()):
            path = stored / f"{number}@1"
            path.write_text(text)
            links.append(FileLink(key, str(path), len(text)))
        return Channel(name, f"/opt/ml/input/data/{name}", mode, tuple(links))

    def agent_pid(self, agent: str) -> int:
        """The agent's own process."""
        import json

        return int(json.loads((self.folder / "jobs" / agent / "status.json").read_text())["pid"])

    def close(self) -> None:
        """End everything."""
        for agent in self.compute.agents():
            self.compute.discard(agent)
        self.compute.close()

    def _on_change(self, agent: str) -> None:
        with self._changed:
            self._changed.notify_all()


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def own_cpus() -> int:
    """Processors of this process."""
    return len(os.sched_getaffinity(0))
