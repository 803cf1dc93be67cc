"""Starting and stopping: taken ports, taken folders, the background, and what a failed start says."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dewfall.testing_server import Server, start, stop
from tests.cli.conftest import Tell, dewfall_command, port_of


@pytest.fixture
def other_program() -> Iterator[int]:
    """A port that is not Dewfall's."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        yield listening.getsockname()[1]


def test_a_port_that_another_program_has(other_program: int) -> None:
    said = dewfall_command("up", "--ephemeral", "--port", str(other_program))
    assert said.returncode == 1
    assert said.stderr == (
        f"dewfall: cannot listen on 127.0.0.1:{other_program} (Address already in use). Choose another port: dewfall up --port {other_program + 1}\n"
    )


def test_a_port_that_dewfall_has(dewfall: Server) -> None:
    said = dewfall_command("up", "--ephemeral", "--port", port_of(dewfall))
    assert said.returncode == 1
    assert f"Dewfall runs already at {dewfall.url} (data in {dewfall.data})" in said.stderr


def test_a_folder_that_another_server_has(dewfall: Server) -> None:
    said = dewfall_command("up", "--port", "0", "--data", str(dewfall.data))
    assert said.returncode == 1
    assert f"Another Dewfall server uses {dewfall.data}." in said.stderr
    assert f"It runs at {dewfall.url}, process {dewfall.process.pid}." in said.stderr
    assert dewfall.ask("/_dewfall/ready") == {"ready": True}


def test_in_the_background_with_a_taken_folder(tell: Tell, dewfall: Server) -> None:
    said = tell("up", "-d", "--port", "0", "--data", str(dewfall.data))
    assert said.code == 1
    assert "the server did not start. It said:\ndewfall: Another Dewfall server uses" in said.err


def test_in_the_background_where_a_server_has_another_folder(tell: Tell, dewfall: Server, tmp_path: Path) -> None:
    said = tell("up", "-d", "--port", port_of(dewfall), "--data", str(tmp_path))
    assert said.code == 1
    assert f"Dewfall runs already at {dewfall.url} (data in {dewfall.data})" in said.err


@pytest.mark.parametrize("variable", ["DEWFALL_HOOKS", "DEWFALL_IMAGES"])
def test_what_a_setting_names_must_be_there(tell: Tell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    said = tell("up", "-d", "--port", "0", "--data", str(tmp_path / "data"))
    assert said.code == 1
    assert f"{variable} must be a" in said.err


def test_a_folder_that_cannot_be_made() -> None:
    said = dewfall_command("up", "--port", "0", "--data", "/proc/nothing")
    assert said.returncode == 1
    assert "Choose another folder with --data" in said.stderr
    assert "Traceback" not in said.stderr


def test_background_twice_then_down(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    begun = dewfall_command("up", "-d", "--port", "0", "--data", data)
    assert (begun.returncode, begun.stderr) == (0, "")
    port = json.loads((tmp_path / "data" / "run" / "server.json").read_text())["url"].rsplit(":", 1)[1]
    try:
        assert f"ready at http://127.0.0.1:{port}" in begun.stdout
        assert dewfall_command("up", "-d", "--port", port, "--data", data).stdout.startswith("Dewfall runs already")
    finally:
        ended = dewfall_command("down", "--port", port)
    assert "Dewfall has stopped." in ended.stdout
    assert dewfall_command("down", "--port", port).returncode == 1
    assert (tmp_path / "data" / "dewfall.db").exists()


def test_what_is_kept_is_there_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = start(data)
    server.client("s3").create_bucket(Bucket="kept")
    stop(server)
    server = start(data)
    try:
        assert [bucket["Name"] for bucket in server.client("s3").list_buckets()["Buckets"]] == ["kept"]
    finally:
        stop(server)


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_ephemeral_folder_is_gone(tmp_path: Path, way: signal.Signals) -> None:
    former = signal.signal(way, signal.default_int_handler if way == signal.SIGINT else signal.SIG_DFL)  # under nohup, it is to be ignored
    try:
        server = start(tmp_path / "data", "--ephemeral")
    finally:
        signal.signal(way, former)
    assert (server.data / "dewfall.db").exists()
    server.process.send_signal(way)
    assert server.process.wait(90) == 0
    assert not server.data.exists()
    assert "Traceback" not in (tmp_path / "data.log").read_text()


def test_a_server_that_has_ended_leaves_no_word(tmp_path: Path) -> None:
    server = start(tmp_path / "data")
    stop(server)
    assert not (server.data / "run" / "server.json").exists()
