"""The user's command: its environment, its arguments and its start in a session of its own.

It is a fork of the agent, so it lives in the agent's namespaces. Standard library only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dewfall.engine.namespaces import CONTAINER_ROOT, join_network
from dewfall.engine.ports import AgentSpec
from dewfall.engine.processes import die_with_parent
from dewfall.engine.warm import fits, run_here

MARKER = "DEWFALL_AGENT"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND, NOT_EXECUTABLE = 127, 126
STARTED = b"+"
_CONTAINER_PATH = re.compile(r"(?<![\w.\-])/opt/ml(?![\w.\-])")


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be started, with paths as this machine has them."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    cpus: float = 0.0
    network_of: int = 0  # pid whose network namespace it joins
    warm: bool = False  # whether this process has its libraries imported already
    yields: bool = False  # whether it lets those who wake it finish first


def environment_of(spec: AgentSpec, machine: Mapping[str, str], folder: str) -> dict[str, str]:
    """The machine's part, then the job's own, and the agent's folder as a mark; PATH always finds the interpreter that Dewfall runs on."""
    environment = {"PYTHONUNBUFFERED": "1", **machine, **spec.environment, MARKER: folder}
    folders = environment.get("PATH", SYSTEM_PATH).split(":")
    own = os.path.dirname(sys.executable)
    if own not in folders:
        folders.insert(0, own)
    return environment | {"PATH": ":".join(folders)}


def place_of(folder: Path) -> str:
    """How mountinfo calls an agent's folder: by its path within its file system."""
    within = next((parent for parent in folder.parents if os.path.ismount(parent)), Path("/"))
    return f"/{folder.relative_to(within)}"


def rewrite(spec: AgentSpec, root: str) -> AgentSpec:
    """Where /opt/ml cannot be mounted: the same spec with every path that begins with it beneath `root`."""
    environment = {name: rewrite_text(value, root) for name, value in spec.environment.items()}
    return dataclasses.replace(
        spec,
        command=tuple(rewrite_text(word, root) for word in spec.command),
        environment=environment | {"SAGEMAKER_BASE_DIR": root + CONTAINER_ROOT},
        working_directory=rewrite_text(spec.working_directory, root),
        files={path: rewrite_text(text, root) for path, text in spec.files.items()},
    )


def rewrite_text(text: str, root: str) -> str:
    """/opt/ml as a path of its own, not as a part of another word or path."""
    return _CONTAINER_PATH.sub(lambda _: root + CONTAINER_ROOT, text)


def spawn(command: Command, output: int) -> tuple[int, int]:
    """Start it; returns its pid and a descriptor from which the reason can be read if it could not be started.

    When this returns, a signal to the command's group reaches it: before, it would be lost.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(writer)
        os.read(reader, 1)
        return child, reader
    code = NOT_FOUND
    try:
        _lead()
        os.write(writer, STARTED)
        _become(command, output)
        if command.warm and fits(command.arguments, command.environment):
            code = run_here(command.arguments, command.environment)
        else:
            _execute(command)
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        os.write(writer, str(error).encode())
    except BaseException as error:
        os.write(writer, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(code)


def _lead() -> None:
    """The child's own session and signals."""
    die_with_parent()
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _become(command: Command, output: int) -> None:
    """Descriptors, network, processors and folder."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    if command.network_of:
        join_network(command.network_of)
    _bind_to_processors(command.cpus)
    if command.yields:
        _let_others_finish()
    try:
        os.chdir(command.folder)
    except FileNotFoundError:
        raise FileNotFoundError(f"the working directory {command.folder} does not exist") from None


def _let_others_finish() -> None:
    """A request that arrives does not take the processor from the router that has just sent it: it sends what else has come, and the replica
    finds all of it at once. Without this, two switches for each request where they share a core."""
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a sandbox may forbid it; the policy is for speed only
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _execute(command: Command) -> None:
    name = command.arguments[0]
    program = shutil.which(name, path=command.environment["PATH"])
    if program is None and not os.path.exists(name):
        raise FileNotFoundError(f"{name}: no such program")
    if program is None:
        raise PermissionError(f"{name}: not an executable program")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(program, list(command.arguments), command.environment)


def _bind_to_processors(cpus: float) -> None:
    """As many processors as the instance type has, another few for each process so that jobs spread over the machine."""
    available = sorted(os.sched_getaffinity(0))
    wanted = max(1, round(cpus)) if cpus else len(available)
    if wanted < len(available):
        first = os.getpid() % len(available)
        os.sched_setaffinity(0, {available[(first + step) % len(available)] for step in range(wanted)})
