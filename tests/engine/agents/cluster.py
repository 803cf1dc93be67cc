"""A Ray cluster on this machine: a head and a worker, on loopback addresses of their own, as if they were two machines."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dewfall.engine.processes import descendants, send, wait_for_end

HEAD, WORKER = "127.0.0.2", "127.0.0.3"
START_SECONDS = 90.0
SETTINGS = {"RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "15"}  # until a client is told that the process for it has died


@dataclass(slots=True)
class Cluster:
    """`url` is that of its head's Ray Client; `token` lets a client in."""

    binaries: Path
    folder: Path
    token: dict[str, str]
    port: int
    url: str = ""
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_head(self) -> None:
        """The node that clients talk to."""
        client, agent = free_port(HEAD), free_port(HEAD)
        ports = [f"--port={self.port}", f"--ray-client-server-port={client}", f"--runtime-env-agent-port={agent}"]
        self._start(HEAD, "--head", "--include-dashboard=false", *ports)
        wait_for(HEAD, client, self.nodes[-1])
        self.url = f"ray://{HEAD}:{client}"

    def add_worker(self) -> None:
        """The other node."""
        agent = free_port(WORKER)
        self._start(WORKER, f"--address={HEAD}:{self.port}", f"--runtime-env-agent-port={agent}")
        wait_for(WORKER, agent, self.nodes[-1])

    def lose_worker(self) -> None:
        """As a machine goes: everything of the node at once."""
        kill(self.nodes.pop())

    def _start(self, address: str, *options: str) -> None:
        common = [f"--node-ip-address={address}", "--num-cpus=2", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]
        command = [str(self.binaries / "ray"), "start", *common, *options]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "RAY_TMPDIR": str(self.folder)} | self.token | SETTINGS
        with (self.folder / f"{address}.log").open("ab") as log:
            self.nodes.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))


@contextlib.contextmanager
def running(binaries: Path) -> Iterator[Cluster]:
    """Two nodes of the `ray` in a folder of programs."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        cluster = Cluster(binaries, Path(folder), token, free_port(HEAD))
        try:
            cluster.add_head()
            cluster.add_worker()
            yield cluster
        finally:
            for node in reversed(cluster.nodes):
                kill(node)


def wait_for(address: str, port: int, node: subprocess.Popen[bytes]) -> None:
    """Until somebody listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and node.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"no Ray node came up at {address}")


def kill(node: subprocess.Popen[bytes]) -> None:
    """The node with all its processes."""
    pids = [node.pid, *descendants(node.pid)]
    for pid in pids:
        send(pid, signal.SIGKILL)
    node.wait()
    wait_for_end(pids, seconds=10)


def free_port(address: str) -> int:
    """One that nobody listens on."""
    with socket.socket() as sock:
        sock.bind((address, 0))
        port: int = sock.getsockname()[1]
        return port
