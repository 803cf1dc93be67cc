"""A server as a child process: started, pointed at, reset and stopped, for tests and the demo.

Standard library only, besides the user's own boto3.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 60.0


@dataclass(slots=True)
class Server:
    """A running Dewfall: its address, its folder, and clients that point at it."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]
    region: str = "us-east-1"
    access_key: str = "test"
    secret_key: str = field(default="test", repr=False)
    _clients: dict[Any, Any] = field(default_factory=dict)

    @property
    def session(self) -> Any:
        """A new boto3.Session with keys and region; give `endpoint_url=server.url` to its clients, or use `client`."""
        import boto3

        return boto3.Session(aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key, region_name=self.region)

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of this server; the same one again for the same arguments."""
        key = (service, *sorted((name, repr(value)) for name, value in options.items()))
        if key not in self._clients:
            from botocore.config import Config

            keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
            settings = {"endpoint_url": self.url, "region_name": self.region, **keys}
            options["config"] = Config(inject_host_prefix=False).merge(options.get("config") or Config())
            self._clients[key] = self.session.client(service, **(settings | options))
        return self._clients[key]

    def environment(self) -> dict[str, str]:
        """The variables that point any AWS client of a child process here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }

    def reset(self) -> None:
        """Forget everything that was created."""
        self.ask("/_dewfall/reset", method="POST")

    def ask(self, path: str, *, method: str = "GET") -> Any:
        """One of the server's own pages, parsed."""
        with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=30) as answer:
            return json.load(answer)


def start(data: Path, *arguments: str, environment: dict[str, str] | None = None, seconds: float = START_SECONDS) -> Server:
    """Start a server over `data` on a free port and wait until it is ready. Raises RuntimeError with its output when it does not."""
    announcement = data / "run" / "server.json"
    log = (data.parent / f"{data.name}.log").open("ab")
    command = [sys.executable, "-m", "dewfall", "up", "--data", str(data), "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    log.close()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(FileNotFoundError):
            told = json.loads(announcement.read_text())
            if told["pid"] == process.pid:
                access_key, secret_key = _keys(data, os.environ if environment is None else environment)
                return Server(told["url"], data, process, access_key=access_key, secret_key=secret_key)
        time.sleep(0.01)
    process.kill()
    process.wait()
    raise RuntimeError(f"dewfall up did not become ready:\n{Path(log.name).read_text()[-4000:]}")


def _keys(data: Path, environment: Mapping[str, str]) -> tuple[str, str]:
    """The account owner's keys where signatures are enforced; elsewhere any will do."""
    if environment.get("DEWFALL_AUTH") != "enforce":
        return "test", "test"
    kept = json.loads((data / "root-credentials.json").read_text())
    return kept["AccessKeyId"], kept["SecretAccessKey"]


def stop(server: Server) -> None:
    """End the server, its jobs and replicas."""
    for client in server._clients.values():
        client.close()
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(20)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


@contextmanager
def running(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """A server over a temporary folder for the length of a with block."""
    folder = Path(tempfile.mkdtemp(prefix="dewfall-"))
    try:
        server = start(folder / "data", "--ephemeral", *arguments, environment=environment)
        try:
            yield server
        finally:
            stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
