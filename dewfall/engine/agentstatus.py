"""status.json: an agent's word about itself, replaced atomically, and the poke that tells the server to read it.

The file is the only thing that server and agent share, so either may die and the other still knows where it stands. Standard library only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dewfall.engine.disk import give_up, is_full
from dewfall.engine.ports import AgentSpec, AgentStatus, Archive, Channel, Collected, FileLink, Output
from dewfall.engine.processes import is_alive, start_time

SPEC = "spec.json"
STATUS = "status.json"
LOG = "log"
STOP = "stop"
LOCK = "lock"
RESERVE, RESERVE_SIZE = "reserve", 64 * 1024  # bytes of disk kept for the last word
WAIT_FOR_ROOM = 0.5  # seconds between attempts to write on a full disk
NEVER_BEGAN = 60.0  # seconds after which an agent that has said nothing is taken for lost
PHASES = {"Preparing": "Downloading", "Running": "Training", "Collecting": "Uploading", "Exited": "Exited"}


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What the server tells an agent besides its spec: how far it may isolate itself, and where the house is."""

    mode: str  # of Isolation
    network: bool
    reason: str
    data: str
    poke: str
    environment: dict[str, str]  # what every command gets from the machine


def write_spec(folder: Path, spec: AgentSpec, surroundings: Surroundings) -> None:
    """spec.json, atomically."""
    _replace(folder / SPEC, json.dumps({"spec": spec, "surroundings": surroundings}, default=_members))


def read_spec(folder: Path) -> tuple[AgentSpec, Surroundings]:
    """What write_spec wrote."""
    document = json.loads((folder / SPEC).read_text())
    values = document["spec"]
    channels = tuple(Channel(**{**c, "files": tuple(FileLink(**f) for f in c["files"]), "shard": tuple(c["shard"])}) for c in values["channels"])
    sequences = {name: tuple(values[name]) for name in ("command", "hosts", "addresses", "notes")}
    archives = tuple(Archive(**a) for a in values["archives"])
    outputs = tuple(Output(**o) for o in values["outputs"])
    spec = AgentSpec(**{**values, **sequences, "channels": channels, "archives": archives, "outputs": outputs})
    return spec, Surroundings(**document["surroundings"])


def read_status(folder: Path, lives: Callable[[Path, dict[str, Any]], bool] | None = None) -> AgentStatus | None:
    """The agent's last word; Lost when its process has gone without saying that it exited, as `lives` knows (by default: of this machine)."""
    document = read_document(folder)
    if document is None:
        return None
    state = document["state"]
    if state != "Exited" and not (lives or is_running)(folder, document):
        document = read_document(folder) or document  # it may have exited in between
        state = document["state"] if document["state"] == "Exited" else "Lost"
    return AgentStatus(
        id=document["id"],
        state=state,
        phases=tuple((name, moment) for name, moment in document.get("phases", [])),
        exit_code=document.get("exit_code"),
        reason=document.get("reason", ""),
        message=document.get("message", "") or ("The agent's process is gone." if state == "Lost" else ""),
        log_tail=document.get("log_tail", ""),
        outputs=tuple(Collected(**output) for output in document.get("outputs", [])),
        address=document.get("address", ""),
    )


def read_document(folder: Path) -> dict[str, Any] | None:
    """status.json as it is, with `pid` and `started` of the agent."""
    try:
        document: dict[str, Any] = json.loads((folder / STATUS).read_bytes())
    except (OSError, ValueError):
        return None
    return document


def is_running(folder: Path, document: dict[str, Any]) -> bool:
    """Whether the agent lives, or has been asked to begin so recently that it may still come."""
    if document.get("pid"):
        return is_alive(document["pid"], document["started"])
    with contextlib.suppress(OSError):
        return time.time() - (folder / STATUS).stat().st_mtime < NEVER_BEGAN
    return False


def write_first_status(folder: Path, agent: str, kind: str) -> None:
    """What is known before the agent speaks."""
    _replace(folder / STATUS, json.dumps({"id": agent, "kind": kind, "state": "Starting", "phases": []}))


class Word:
    """The agent's side: says a state, and pokes the server."""

    def __init__(self, folder: Path, agent: str, poke: str) -> None:
        self._path = str(folder / STATUS)
        self._agent = agent
        self._poke_name = os.path.basename(poke)
        self._poke_folder = -1
        with contextlib.suppress(OSError):
            self._poke_folder = os.open(os.path.dirname(poke), os.O_PATH | os.O_CLOEXEC)
        self._document: dict[str, Any] = read_document(folder) or {"phases": []}
        self._document.update(id=agent, pid=os.getpid(), started=start_time(os.getpid()))

    @property
    def phases(self) -> list[list[Any]]:
        phases: list[list[Any]] = self._document["phases"]
        return phases

    def say(self, state: str, **values: Any) -> None:
        """Publish a state with its values; a phase that it begins is noted with the time."""
        self._document.update(values, state=state)
        phase = PHASES.get(state)
        if phase and all(name != phase for name, _ in self.phases):
            self.phases.append([phase, time.time()])
        while not self._publish() and state == "Exited" and os.path.exists(os.path.join(os.path.dirname(self._path), SPEC)):
            time.sleep(WAIT_FOR_ROOM)  # nobody would ever hear how it ended
        self._poke()

    def begin(self, phase: str) -> None:
        """Note a phase that begins before the state that stands for it (a replica's command, not yet ready)."""
        if all(name != phase for name, _ in self.phases):
            self.phases.append([phase, time.time()])

    def _publish(self) -> bool:
        """False when the disk is full, even without the reserve."""
        for _ in range(2):
            try:
                _replace(Path(self._path), json.dumps(self._document))
                return True
            except OSError as error:
                if not is_full(error):
                    raise
                give_up(Path(self._path).with_name(RESERVE))
        return False

    def _poke(self) -> None:
        """The folder was opened before it was hidden, and the socket is looked up each time: the server may have been restarted."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.sendto(self._agent.encode(), f"/proc/self/fd/{self._poke_folder}/{self._poke_name}")


def _members(value: Any) -> dict[str, Any]:
    """A value of ours as JSON; dataclasses.asdict copies everything first, which a hundred thousand files make slow."""
    return {name: getattr(value, name) for name in value.__slots__}


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_text(text)
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
