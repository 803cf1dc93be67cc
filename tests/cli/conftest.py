"""The commands in this process, servers as processes of their own, and free ports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dewfall.cli import main
from dewfall.testing_server import Server


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Tell = Callable[..., Said]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tell:
    """Run a command in this process, with a data folder of its own and no AWS or DEWFALL variables."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "DEWFALL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEWFALL_DATA", str(tmp_path / "data"))

    def run(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        code = end.value.code
        captured = capsys.readouterr()
        if isinstance(code, str):
            return Said(1, captured.out, captured.err + code)
        return Said(code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def port_of(server: Server) -> str:
    """The port as an option wants it."""
    return server.url.rsplit(":", 1)[1]


def dewfall_command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DEWFALL_"))}
    command = [sys.executable, "-m", "dewfall", *arguments]
    return subprocess.run(command, env=clean | variables, capture_output=True, text=True, timeout=60, check=False)
