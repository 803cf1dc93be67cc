"""What a dead agent left is found, and nobody else: numbers of namespaces are used again at once."""

from __future__ import annotations

import json
import os
import signal

from dewfall.engine.command import MARKER, place_of
from dewfall.engine.processes import marked, start_time
from tests.engine.agents.jobs import Jobs

DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid(); print("pid", os.getpid(), flush=True)
    os.execve("/bin/sleep", ["sleep", "60"], {})
time.sleep(60)
"""


def test_a_child_without_environment_and_session_is_found(isolated_jobs: Jobs) -> None:
    agent = isolated_jobs.script(DAEMON)
    isolated_jobs.wait(agent, "Running")
    folder = isolated_jobs.folder / "jobs" / agent
    while b"pid" not in (folder / "log").read_bytes():
        pass
    child = int((folder / "log").read_text().split()[-1])
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)
    isolated_jobs.wait(agent, "Lost")
    while start_time(child):
        pass


def test_others_are_not_found(isolated_jobs: Jobs) -> None:
    agent, other = isolated_jobs.script("import time; time.sleep(60)"), isolated_jobs.script("import time; time.sleep(60)")
    for one in (agent, other):
        isolated_jobs.wait(one, "Running")
    folders = {one: isolated_jobs.folder / "jobs" / one for one in (agent, other)}
    found = {one: set(marked(f"{MARKER}={folder}", place_of(folder))) for one, folder in folders.items()}
    assert all(found.values())
    assert not found[agent] & found[other]
