"""The end of an ephemeral server that was killed: nobody will come back for its jobs and its folder, so they go as well.

    server ── pipe ──▶ this process, which waits for the pipe's end

Standard library only: it waits for as long as the server lives.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from dewfall.engine.agentstatus import read_document
from dewfall.engine.command import MARKER, place_of
from dewfall.engine.processes import descendants, is_alive, marked, send, wait_for_end

END_SECONDS = 5.0


def watch(data: Path) -> subprocess.Popen[bytes]:
    """Begin to wait. Keep the process: its standard input is the pipe."""
    root = str(Path(__file__).parents[3])
    code = f"import sys; sys.path.insert(0, {root!r}); from dewfall.engine.compute.aftermath import main; main({str(data)!r})"
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        start_new_session=True,
    )


def main(data: str) -> None:
    """Wait for the end, then clear."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    clear(Path(data))


def clear(data: Path) -> None:
    """Kill the agents with all they run, and remove the folder."""
    ended: list[int] = []
    for folder in (data / "jobs").glob("*.*"):
        document = read_document(folder) or {}
        if is_alive(document.get("pid", 0), document.get("started", 0)):
            ended += [document["pid"], *descendants(document["pid"])]
        if document.get("state") != "Exited":
            ended += marked(f"{MARKER}={folder}", place_of(folder))
    for pid in ended:
        send(pid, signal.SIGKILL)
    wait_for_end(ended, seconds=END_SECONDS)
    shutil.rmtree(data, ignore_errors=True)
