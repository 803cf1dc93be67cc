"""What an agent and everything it started use, read off /proc on the machine where it runs."""

from __future__ import annotations

import time
from pathlib import Path

from dewfall.engine.agentstatus import read_document
from dewfall.engine.ports import Usage
from dewfall.engine.processes import age, cpu_seconds, descendants, disk_bytes, is_alive, network_bytes, proportional


class Meter:
    """Remembers the last answer per folder, because processors are an average since then."""

    def __init__(self) -> None:
        self._used: dict[Path, tuple[float, float]] = {}  # agent's folder → when its processor time was asked for, and what it was

    def read(self, folder: Path) -> Usage | None:
        """None when the agent does not run."""
        document = read_document(folder) or {}
        pid, now = document.get("pid", 0), time.monotonic()
        if not is_alive(pid, document.get("started", 0)):
            self._used.pop(folder, None)
            return None
        pids = [pid, *descendants(pid)]
        seconds = cpu_seconds(pids)
        at, before = self._used.get(folder) or (now - max(0.001, age(pid)), 0.0)
        self._used[folder] = (now, seconds)
        return Usage(max(0.0, seconds - before) / max(0.001, now - at), proportional(pids), *disk_bytes(pids), *network_bytes(pids[-1]))
