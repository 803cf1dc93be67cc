"""A fork server for each family of libraries: what takes two seconds to import is imported once, and every agent is a fork of it.

    server ──"folder"──▶ zygote (libraries imported, one thread) ── fork ──▶ agent ── fork ──▶ the command, in the same process image

The zygote ends when its server is gone; its agents are in sessions of their own and do not notice. If it dies, what it owed is started plainly.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dewfall.images.catalog import families

log = logging.getLogger(__name__)

# What every family has besides its own libraries: the images' side of the container contract.
COMMON = (
    "json",
    "argparse",
    "logging",
    "threadpoolctl",
    "dewfall.images.contract",
    "dewfall.images.formats",
    "dewfall.images.http",
    "dewfall.images.recordio",
)
# No library may start threads before the fork; each command widens its pools afterwards (engine/warm.py).
ALONE = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
LONGEST_MESSAGE = 4096
IMPORT_NICENESS = 15
READY = b"ready"
PATIENCE = 10.0  # seconds for which an agent waits for the imports


class Zygote:
    """The server's side of one fork server, which is begun at first use and again after its death."""

    def __init__(self, family: str, environment: dict[str, str], output: Path, launch: Callable[[Path], None]) -> None:
        self._family = family
        self._environment = environment | ALONE
        self._output = output
        self._launch = launch
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._owed: dict[str, tuple[Path, float]] = {}
        self.ready = threading.Event()

    def begin(self) -> bool:
        """Start it in the background unless it runs. True when it was started by this call."""
        with self._lock:
            if self._socket is not None:
                return False
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            root = str(Path(__file__).parents[3])
            code = f"import sys; sys.path.append({root!r}); from dewfall.engine.compute.zygote import main; main({self._family!r}, {theirs.fileno()})"
            with theirs, self._output.open("wb") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", code],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env=self._environment,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            self._socket = ours
            threading.Thread(target=self._watch, args=(ours, self._process), name=f"zygote-{self._family}", daemon=True).start()
            return True

    def start(self, folder: Path) -> bool:
        """Have an agent forked, at the latest when the libraries are imported.

        False when a plain process is no slower: nothing was imported yet, and the command can import just what it needs.
        """
        if self.begin():
            return False
        with self._lock:
            if self._socket is None:
                return False
            self._owed[folder.name] = folder, time.monotonic()
            try:
                self._socket.send(str(folder).encode())
            except OSError:
                self._owed.pop(folder.name, None)
                return False
            return True

    def owes(self, agent: str) -> bool:
        """Whether an agent was asked for that has not been forked yet."""
        return agent in self._owed

    def forget(self, agent: str) -> None:
        """Owe an agent no longer: its folder is gone, so its fork will end at once."""
        self._owed.pop(agent, None)

    def overdue(self, now: float) -> list[Path]:
        """The agents that have waited longer than PATIENCE for the imports, owed no longer: on a busy machine a plain process is sooner there.

        They will be forked all the same, and those forks end when they find an agent at work.
        """
        if self.ready.is_set():
            return []
        with self._lock:
            late = [folder for folder, asked in list(self._owed.values()) if now - asked > PATIENCE]
            for folder in late:
                self._owed.pop(folder.name, None)
        return late

    @property
    def pid(self) -> int:
        """Of the running fork server, 0 when there is none."""
        return self._process.pid if self._process is not None and self._socket is not None else 0

    def close(self) -> None:
        """Let it end; what it owes it still does."""
        with self._lock:
            owing, process, sock = bool(self._owed), self._process, self._socket
            self._owed.clear()
            self._socket = self._process = None
        if process is None or sock is None:
            return
        if owing:
            process.returncode = 0  # ours no longer, and no warning about it
        else:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    def _watch(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        """Take its acknowledgements; at its death, start what it owes by other means."""
        with contextlib.suppress(OSError):
            while message := sock.recv(LONGEST_MESSAGE):
                if message == READY:
                    self.ready.set()
                else:
                    self._owed.pop(message.decode(), None)
        with self._lock:
            if self._socket is not sock:
                return
            self._socket = self._process = None
            self.ready.clear()
            owed = [folder for folder, _ in list(self._owed.values())]
            self._owed.clear()
        sock.close()
        process.wait()
        log.warning("zygote.died family=%s owed=%d", self._family, len(owed))
        for folder in owed:
            with contextlib.suppress(OSError):  # gone meanwhile
                self._launch(folder)


def main(family: str, descriptor: int) -> None:
    """The fork server's own life."""
    import gc

    from dewfall.engine import agent
    from dewfall.engine.warm import thread_pools

    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    _import_aside((*families().get(family, ()), *COMMON))
    thread_pools()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        sock.send(READY)
        while message := sock.recv(LONGEST_MESSAGE):
            folder = Path(message.decode())
            if os.fork() == 0:
                _become_agent(agent.run, folder, sock)
            with contextlib.suppress(OSError):
                sock.send(folder.name.encode())


def _become_agent(run: Callable[..., None], folder: Path, sock: socket.socket) -> None:
    try:
        sock.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        output = os.open(folder / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        run(folder, warm=True)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(0)


def _import_aside(modules: tuple[str, ...]) -> None:
    """Import in a thread of low priority, so that the server, who may share our processor, is not slowed; its forks have the usual one."""

    def work() -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), IMPORT_NICENESS)
        _import(modules)

    importing = threading.Thread(target=work)
    importing.start()
    importing.join()


def _import(modules: tuple[str, ...]) -> None:
    """Whatever is installed; a library that cannot be imported is the job's own affair."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
