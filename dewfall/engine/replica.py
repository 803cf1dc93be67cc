"""What a replica's agent does more than a job's: tells the command where to listen, and publishes the address once it answers there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable

from dewfall.engine.agentstatus import Surroundings, Word
from dewfall.engine.joblog import JobLog
from dewfall.engine.ports import AgentSpec
from dewfall.engine.readiness import free_port, when_ready
from dewfall.engine.relay import open_network

LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes; some servers append to the name
OnWake = Callable[[], None]


def prepare(spec: AgentSpec, folder: str, around: Surroundings, log: JobLog) -> tuple[int, tuple[str, ...], dict[str, str]]:
    """(pid whose network the command joins, addresses to ask, environment that says where to listen)."""
    path = socket_path(spec.id, folder, around.data, shared=spec.shared)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    if not spec.port:
        port = free_port()
        environment = {"SAGEMAKER_BIND_TO_SOCKET": path, "SAGEMAKER_BIND_TO_PORT": str(port)}
        return 0, (f"unix:{path}", f"tcp:127.0.0.1:{port}"), environment
    environment = {"SAGEMAKER_BIND_TO_PORT": str(spec.port)}
    if around.network and around.mode != "none":
        return open_network(path, spec.port, spec.environment.get("AWS_ENDPOINT_URL", "")), (f"unix:{path}",), environment
    log.note(f"Dewfall: no private network here, so port {spec.port} is this machine's own: a second replica cannot have it.")
    return 0, (f"tcp:127.0.0.1:{spec.port}",), environment


def socket_path(agent: str, folder: str, data: str, *, shared: bool = False) -> str:
    """In the agent's folder, unless that is too deep for a socket's address, or hidden from whom it is for."""
    short = hashlib.sha256(f"{folder}/{agent}".encode()).hexdigest()[:16]
    candidates = (f"{folder}/s", f"{data}/run/{short}.s", f"{tempfile.gettempdir()}/dewfall-{short}.s")
    allowed = candidates[1:] if shared else candidates
    return next(path for path in allowed if len(path.encode()) <= LONGEST_SOCKET_PATH or path is candidates[-1])


def places(spec: AgentSpec, folder: str, data: str) -> tuple[str, ...]:
    """Where the server looks for a replica."""
    return (socket_path(spec.id, folder, data, shared=spec.shared),) if spec.kind == "replica" else ()


def forget(addresses: tuple[str, ...]) -> None:
    """The command has ended: its socket may lie where nobody else would remove it."""
    for address in addresses:
        if address.startswith("unix:"):
            with contextlib.suppress(OSError):
                os.unlink(address.removeprefix("unix:"))


def wait(word: Word, addresses: tuple[str, ...], wake: int) -> OnWake:
    """Ask in the background; the returned function says Running once there is an answer."""
    found: list[str] = []

    def ready(address: str) -> None:
        found.append(address)
        with contextlib.suppress(OSError):
            os.write(wake, b"!")

    def on_wake() -> None:
        if found:
            word.say("Running", address=found.pop())

    when_ready(addresses, ready)
    return on_wake
