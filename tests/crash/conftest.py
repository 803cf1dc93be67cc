"""A world per test: it ends without a traceback in the server's log and without a process left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.world import World, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    try:
        yield world
        if world.server.process.poll() is None:
            world.server.reset()
            world.down()
            until(lambda: not world.processes())
            assert "Traceback" not in world.log(), world.log()[-6000:]
    finally:
        world.kill()
        for pid in world.processes():
            os.kill(pid, signal.SIGKILL)
