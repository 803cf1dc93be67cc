"""An agent's end of Ray: what runs on the cluster's node that the agent was given to.

    Keeper (a detached Ray actor) ── pipe ──▶ guardian ──▶ agent ──▶ the command

The keeper lives as long as its agent and answers for it. The guardian ends everything when the pipe breaks: a node that Ray has given up must not
go on with a job that has been called lost. It is nobody's child, because Ray kills the children of its workers before they can tell anybody.
No word of Ray in here: the actor is an ordinary class.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dewfall.engine import namespaces
from dewfall.engine.agentstatus import SPEC, read_document, read_spec, write_spec
from dewfall.engine.ports import AgentSpec
from dewfall.engine.processes import become_subreaper, is_alive, kill_tree, send

PLACE = "place.json"  # beside spec.json: where the agents of the job are, and what Ray calls this one's keeper
LOOK_SECONDS = 0.1
LINGER_SECONDS = 2.0  # that a keeper stays after the end, so that who waits for it hears of it
TROUBLE_SECONDS = 600.0  # the same when only the keeper knows why there is no agent
END_SECONDS = 10.0
HOSTS = "DEWFALL_HOSTS"  # addresses by name, in the environment
LOOPBACK_INTERFACE = "lo"
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
SIOCGIFADDR = 0x8915


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where an agent is to run. `hosts`: addresses by name, where the job is on several nodes; `python`: the server's own interpreter."""

    keeper: str
    node: str
    address: str
    nodes: dict[str, str]
    hosts: dict[str, str]
    namespaces: bool
    python: str


def write_place(folder: Path, place: Place) -> None:
    """Beside spec.json."""
    fresh = folder / f"{PLACE}.new"
    fresh.write_text(json.dumps(dataclasses.asdict(place)))
    os.replace(fresh, folder / PLACE)


def read_place(folder: Path) -> Place | None:
    """What write_place wrote."""
    try:
        return Place(**json.loads((folder / PLACE).read_bytes()))
    except (OSError, ValueError):
        return None


class Keeper:
    """The actor: starts the agent of a folder, and ends after it."""

    def __init__(self, folder: str, address: str) -> None:
        from dewfall.engine.compute.local import machine_environment
        from dewfall.engine.compute.meter import Meter

        self._folder = Path(folder)
        self._address = address
        self._environment = machine_environment(os.environ)
        self._meter = Meter()
        self._over = threading.Event()
        self._trouble = ""
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._pipe = -1
        threading.Thread(target=self._keep, name="keep", daemon=True).start()

    async def ended(self) -> str:
        """Returns when the agent has ended; why there was none, if there was none."""
        while not self._over.is_set():
            await asyncio.sleep(LOOK_SECONDS)
        return self._trouble

    async def stop(self) -> None:
        """SIGTERM to the agent, which looks for the stop file besides."""
        document = read_document(self._folder) or {}
        if is_alive(document.get("pid", 0), document.get("started", 0)):
            send(document["pid"], signal.SIGTERM)

    async def end(self) -> None:
        """Kill the agent and all it runs."""
        self._ending.set()
        self._let_go()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended(), END_SECONDS)

    async def usage(self) -> tuple[float, ...] | None:
        """The members of a Usage."""
        found = self._meter.read(self._folder)
        return None if found is None else dataclasses.astuple(found)

    def _let_go(self) -> None:
        """Break the pipe, on which the guardian ends everything."""
        with self._lock:
            pipe, self._pipe = self._pipe, -1
            if pipe >= 0:
                os.close(pipe)

    def _keep(self) -> None:
        try:
            self._run()
        except Exception as error:
            self._trouble = f"The agent could not be started on the node {self._address}: {type(error).__name__}: {error}"
        self._over.set()
        time.sleep(TROUBLE_SECONDS if self._trouble else LINGER_SECONDS)
        os._exit(0)

    def _run(self) -> None:
        """Start the guardian and wait until it has closed its end of the second pipe."""
        if not (self._folder / SPEC).is_file():
            self._trouble = f"The node {self._address} does not see {self._folder}: every node needs the data folder at the same path."
            return
        root = str(Path(__file__).parents[3])
        code = f"import sys; sys.path.insert(0, {root!r}); from dewfall.engine.compute.raynode import main; main(sys.argv[1])"
        reader, self._pipe = os.pipe2(os.O_CLOEXEC)
        over, theirs = os.pipe2(os.O_CLOEXEC)
        with (self._folder / "agent.log").open("ab") as output:
            command = [sys.executable, "-I", "-S", "-c", code, str(self._folder)]
            subprocess.run(command, stdin=reader, stdout=theirs, stderr=output, cwd="/", env=self._environment, start_new_session=True, check=True)
        os.close(reader)
        os.close(theirs)
        if self._ending.is_set():
            self._let_go()
        os.read(over, 1)
        os.close(over)


def main(name: str) -> None:
    """The guardian, once the process that the keeper knows has gone. Standard input breaks when the keeper ends; standard output tells it the end."""
    if os.fork():
        os._exit(0)
    os.setsid()
    become_subreaper("dewfall-keeper")
    agent = os.fork()
    if agent == 0:
        _become_agent(Path(name))
    while not select.select([0], [], [], LOOK_SECONDS)[0]:
        if os.waitpid(agent, os.WNOHANG)[0]:
            break
    kill_tree(os.getpid())
    os._exit(0)


def _become_agent(folder: Path) -> None:
    """Never returns."""
    from dewfall.engine.agent import main as live

    try:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        document = read_document(folder) or {}
        if document.get("state") == "Starting":
            settle_in(folder)
        os._exit(live([str(folder)]))
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def settle_in(folder: Path) -> None:
    """Make the spec one of this node: its isolation, its environment, its interpreter, and the addresses of the job's hosts."""
    spec, around = read_spec(folder)
    place = read_place(folder)
    if place is None:
        raise RuntimeError(f"no {PLACE} in {folder}")
    isolation = namespaces.probe() if place.namespaces else namespaces.NONE
    environment = dict(os.environ)
    around = dataclasses.replace(around, mode=isolation.mode, network=isolation.network, reason=isolation.reason, environment=environment)
    if spec.command[0] == place.python:
        spec = dataclasses.replace(spec, command=(sys.executable, *spec.command[1:]))
    write_spec(folder, at_addresses(spec, place.hosts, interface_of(place.address)), around)


def at_addresses(spec: AgentSpec, hosts: dict[str, str], interface: str) -> AgentSpec:
    """The spec with the nodes' addresses in place of those that mean something on one machine only."""
    if not hosts:
        return spec
    told = ",".join(f"{host}={hosts[host]}" for host in spec.hosts)
    environment = {name: told if name == HOSTS else value for name, value in spec.environment.items()}
    environment |= {name: interface for name in INTERFACES if environment.get(name) == LOOPBACK_INTERFACE}
    old, new = (f'"network_interface_name": "{name}"' for name in (LOOPBACK_INTERFACE, interface))
    files = {path: text.replace(old, new) if path.endswith("/resourceconfig.json") else text for path, text in spec.files.items()}
    return dataclasses.replace(spec, environment=environment, files=files, addresses=tuple(hosts[host] for host in spec.hosts))


def interface_of(address: str) -> str:
    """The name of this node's network interface that has an address."""
    if address.startswith("127."):
        return LOOPBACK_INTERFACE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                answer: Any = fcntl.ioctl(sock.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return LOOPBACK_INTERFACE
