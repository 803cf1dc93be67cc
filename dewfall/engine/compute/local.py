"""Compute on this machine: an agent is a process, and everything known about it is in its folder.

Nothing of importance is kept in memory, so a new server finds the agents of a former one by reading the folders.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dewfall.engine import namespaces
from dewfall.engine.agentstatus import LOG, SPEC, STATUS, STOP, Surroundings, is_running, read_document, read_status, write_first_status, write_spec
from dewfall.engine.command import MARKER, place_of
from dewfall.engine.compute.meter import Meter
from dewfall.engine.compute.zygote import Zygote
from dewfall.engine.ports import AgentSpec, AgentStatus, Usage
from dewfall.engine.processes import descendants, is_alive, marked, send, wait_for_end
from dewfall.images.catalog import families

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between looks for agents that ended without a word
OVER = ("Exited", "Lost")
SLOTLESS = ("replica", "watcher")  # kinds of agents that has_room does not count
END_SECONDS = 2.0  # that killed processes may take to be gone
DISCARDED = ".discarded"
# What commands get of the server's own environment: the machine's part. Keys and AWS settings of the user never are among it.
MACHINE = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TZ",
    "LANG",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "JAVA_HOME",
    "SPARK_HOME",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
MACHINE_PREFIXES = ("LC_", "PIP_", "UV_", "XDG_", "CUDA_", "NVIDIA_", "SSL_CERT_")
MACHINE_SUFFIXES = ("_proxy", "_PROXY")
# Threads that wait sleep, unless the server's own environment says otherwise: those of several jobs that spin for the same processors
# take twenty times as long.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


class LocalCompute:
    """Agents as processes beneath `folder`; `poke` is the socket on which they say that something has changed."""

    def __init__(self, folder: Path, *, slots: int, namespaces: bool, poke: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder.absolute()
        self._slots = slots
        self._isolated = namespaces
        self._poke = poke.absolute()
        self._environment = machine_environment(os.environ if environment is None else environment)
        self._listeners: list[Callable[[str], None]] = []
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._zygotes: dict[str, Zygote] = {}
        self._over: set[str] = set()
        self._meter = Meter()
        self._closing = threading.Event()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._poke.parent.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self._start_unbegun()
        self._receiver = _bind(self._poke)
        self._thread = threading.Thread(target=self._listen, name="pokes", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ the port

    def start(self, spec: AgentSpec) -> None:
        """Start an agent, or do nothing when one of this id is alive or has ended. A lost one is started again from nothing."""
        folder = self._folder / spec.id
        with self._lock:
            status = self.status(spec.id)
            if status is not None and status.state != "Lost" and (status.state != "Starting" or self._is_begun(spec.id)):
                return
            if status is not None and status.state == "Lost":
                self._clear(spec.id)
            folder.mkdir(parents=True, exist_ok=True)
            write_spec(folder, spec, self._surroundings())
            write_first_status(folder, spec.id, spec.kind)
            self._over.discard(spec.id)
            if spec.preload not in families() or not self.zygote(spec.preload).start(folder):
                self._launch(folder)

    def status(self, agent: str) -> AgentStatus | None:
        """The agent's last word."""
        return read_status(self._folder / agent, self._lives)

    def has_room(self, agents: int = 1) -> bool:
        """Whether so many more fit into the slots; a job with more agents than there are slots has the machine for itself."""
        return self.jobs() + min(agents, self._slots) <= self._slots

    def jobs(self) -> int:
        """How many agents run that are no replicas."""
        running = 0
        for agent in self.agents():
            folder = self._folder / agent
            document = None if agent in self._over else read_document(folder)
            if document and document["state"] != "Exited" and document.get("kind") not in SLOTLESS:
                running += self._lives(folder, document)
        return running

    def stop(self, agent: str) -> None:
        """Ask for an end with grace: by a file, which no restart forgets, and a signal, which is quick."""
        folder = self._folder / agent
        with contextlib.suppress(OSError):
            (folder / STOP).touch()
            self._signal(agent, signal.SIGTERM)

    def discard(self, agent: str) -> None:
        """Kill what is left and remove the folder, the removing in the background."""
        with self._lock:
            self._clear(agent)

    def usage(self, agent: str) -> Usage | None:
        """Read off /proc."""
        return self._meter.read(self._folder / agent)

    def log_file(self, agent: str) -> Path:
        """Where the agent logs."""
        return self._folder / agent / LOG

    def written(self, agent: str, path: str) -> Path:
        """The upper layer of the agent's /opt/ml, or the folder that stands for it."""
        return self._folder / agent / "root" / path.lstrip("/")

    def agents(self) -> list[str]:
        """Everything that has a folder."""
        with os.scandir(self._folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.endswith(DISCARDED))

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Add a listener; it is called in the thread that receives pokes."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Let go without ending an agent."""
        self._closing.set()
        with contextlib.suppress(OSError):
            _send(self._poke, b"")
        self._thread.join(timeout=5)
        self._receiver.close()
        with self._lock:
            for zygote in self._zygotes.values():
                zygote.close()
            self._zygotes.clear()
            for child in self._children.values():
                child.poll()
                child.returncode = child.returncode if child.returncode is not None else 0  # ours no longer, and no warning about it
            self._children.clear()

    def warm(self, family: str) -> None:
        """Begin to import a family's libraries, so that its next command need not; nothing when the catalog knows no such family."""
        if family in families():
            with self._lock:
                self.zygote(family).begin()

    # ------------------------------------------------------------ starting

    def zygote(self, family: str) -> Zygote:
        """The fork server of a family, begun or not."""
        if family not in self._zygotes:
            self._zygotes[family] = Zygote(family, self._environment, self._folder / f"{family}.zygote.log", self._launch)
        return self._zygotes[family]

    def _launch(self, folder: Path) -> None:
        """A plain new process. It is in a session of its own, and only its parent, not its guardian, is this server."""
        root = str(Path(__file__).parents[3])
        code = f"import os, sys; sys.path.insert(0, {root!r}); from dewfall.engine.agent import main; os._exit(main(sys.argv[1:]))"
        with (folder / "agent.log").open("ab") as output:
            self._children[folder.name] = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", code, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=self._environment,
                start_new_session=True,
            )

    def _surroundings(self) -> Surroundings:
        isolation = namespaces.probe() if self._isolated else namespaces.NONE
        data = str(self._folder.parent)
        return Surroundings(isolation.mode, isolation.network, isolation.reason, data, str(self._poke), self._environment)

    def _lives(self, folder: Path, document: dict[str, Any]) -> bool:
        """Whether an agent runs, or is still on its way: on a machine that is very busy, libraries may be imported for minutes."""
        return is_running(folder, document) or (not document.get("pid") and self._is_begun(folder.name))

    def _is_begun(self, agent: str) -> bool:
        """Whether a process is on its way that has not spoken yet (else it was a former server's that died before it started one)."""
        child = self._children.get(agent)
        if child is not None:
            return child.poll() is None
        document = read_document(self._folder / agent) or {}
        return bool(document.get("pid")) or any(zygote.owes(agent) for zygote in list(self._zygotes.values()))

    # ------------------------------------------------------------ ending

    def _clear(self, agent: str) -> None:
        for zygote in self._zygotes.values():
            zygote.forget(agent)
        folder = self._folder / agent
        if not folder.is_dir():
            return
        self._kill(agent)
        gone = folder.with_name(f"{agent}.{os.urandom(4).hex()}{DISCARDED}")
        with contextlib.suppress(OSError):
            folder.rename(gone)
        self._over.discard(agent)
        threading.Thread(target=shutil.rmtree, args=(gone, True), daemon=True).start()

    def _kill(self, agent: str) -> None:
        """The agent, its tree, and what is left of it when it was itself killed before."""
        document = read_document(self._folder / agent) or {}
        pid = document.get("pid", 0)
        child = self._children.pop(agent, None)
        targets: list[int] = []
        if is_alive(pid, document.get("started", 0)):
            targets = [pid, *descendants(pid)]
        elif child is not None and child.poll() is None:
            targets = [child.pid, *descendants(child.pid)]
        for target in targets:
            send(target, signal.SIGKILL)
        if document.get("state") != "Exited":
            left = marked(f"{MARKER}={self._folder / agent}", place_of(self._folder / agent))
            for target in left:
                send(target, signal.SIGKILL)
            targets += left
        wait_for_end(targets, seconds=END_SECONDS)
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)

    def _signal(self, agent: str, number: int) -> None:
        document = read_document(self._folder / agent) or {}
        if is_alive(document.get("pid", 0), document.get("started", 0)):
            send(document["pid"], number)

    # ------------------------------------------------------------ listening

    def _listen(self) -> None:
        looked = 0.0
        while not self._closing.is_set():
            agent = ""
            try:
                agent = self._receiver.recv(4096).decode()
            except TimeoutError:
                pass
            except OSError:
                return
            if agent:
                self._tell(agent)
            if time.monotonic() - looked >= LOOK_SECONDS and not self._closing.is_set():
                try:
                    self._look()
                except Exception:  # without this thread nobody would notice dead agents
                    log.exception("compute.look failed")
                looked = time.monotonic()

    def _look(self) -> None:
        """Agents that ended without a poke that arrived, or without a word; and those that have waited too long for their beginning."""
        with self._lock:
            for name, child in list(self._children.items()):
                if child.poll() is not None:
                    del self._children[name]
            for zygote in self._zygotes.values():
                for folder in zygote.overdue(time.monotonic()):
                    with contextlib.suppress(OSError):  # gone, or it counts as lost
                        self._launch(folder)
        for agent in self.agents():
            if agent in self._over:
                continue
            status = self.status(agent)
            if status is None or status.state not in OVER:
                continue
            self._over.add(agent)
            if status.state == "Lost":
                self._kill(agent)
            self._tell(agent)

    def _tell(self, agent: str) -> None:
        for listener in self._listeners:
            try:
                listener(agent)
            except Exception:
                log.exception("compute.listener failed agent=%s", agent)

    def _sweep(self) -> None:
        """Folders that a former server had begun to remove, or had not begun to fill."""
        for entry in list(self._folder.iterdir()):
            unborn = entry.is_dir() and not (entry / SPEC).exists() and not (entry / STATUS).exists()
            if unborn:
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name.endswith(DISCARDED):
                threading.Thread(target=shutil.rmtree, args=(entry, True), daemon=True).start()

    def _start_unbegun(self) -> None:
        """Agents that have not said a word: perhaps a former server was killed before it started them. Of two, the second ends at once."""
        for agent in self.agents():
            document = read_document(self._folder / agent) or {}
            if document.get("state") == "Starting" and not document.get("pid"):
                self._launch(self._folder / agent)


def machine_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that belongs to the machine, and how threads wait on it."""
    kept = (*MACHINE, *WAITING)
    found = {name: value for name, value in environ.items() if name in kept or name.startswith(MACHINE_PREFIXES) or name.endswith(MACHINE_SUFFIXES)}
    return WAITING | found


def _bind(path: Path) -> socket.socket:
    """A datagram socket at a path of any length: its folder is named by a descriptor."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    _addressed(path, sock.bind)
    sock.settimeout(LOOK_SECONDS)
    return sock


def _send(path: Path, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        _addressed(path, lambda address: sock.sendto(data, address))


def _addressed(path: Path, use: Callable[[str], Any]) -> None:
    descriptor = os.open(path.parent, os.O_PATH)
    try:
        use(f"/proc/self/fd/{descriptor}/{path.name}")
    finally:
        os.close(descriptor)
