"""Compute on a Ray cluster: the agents of training and processing jobs run on its nodes, everything else on this machine.

    start ─ choose nodes ─ place.json, spec.json ─ a detached actor on the node (raynode.Keeper) ─ the same agent as here

The nodes share the data folder, at the same path, so an agent's files are read here as those of a local one are; only whether it lives is Ray's
word. Detached actors outlive this server, and the next one finds them by the name in place.json.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dewfall.engine.agentstatus import LOG, STATUS, STOP, Surroundings, read_document, read_status, write_first_status, write_spec
from dewfall.engine.compute.local import DISCARDED, LocalCompute
from dewfall.engine.compute.raynode import Keeper, Place, read_place, write_place
from dewfall.engine.crew import host_of
from dewfall.engine.ports import AgentSpec, AgentStatus, Usage

log = logging.getLogger(__name__)

FOLDER = "ray"
KINDS = ("training-job", "processing-job")  # what agents' ids begin with that go to the cluster
ATTEMPTS = 5  # to connect, with a head that answers
LOOK_SECONDS = 0.25
ANSWER_SECONDS = 15.0  # that a keeper may take to answer
RETRY_SECONDS = 2.0  # between attempts to reach a cluster that has gone


class NoCluster(Exception):
    """Ray is not installed here, or no cluster answers."""


def connect(address: str) -> Any:
    """Ray, connected as a client; the connection is the process's. Raises NoCluster."""
    try:
        import ray
    except ImportError:
        raise NoCluster(f"DEWFALL_COMPUTE={address} needs Ray: pip install 'dewfall[ray]'") from None
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if not ray.is_initialized():
                ray.init(address, namespace="dewfall", log_to_driver=False, logging_level="error")
            return ray
        except Exception as error:
            with contextlib.suppress(Exception):
                ray.shutdown()
            # The head starts a process for each client, which at times dies in its first moments; the next one does not.
            if not isinstance(error, ConnectionAbortedError) or attempt == ATTEMPTS:
                reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
                raise NoCluster(f"no Ray cluster answers at {address}: {reason[0]}") from None
    return ray


class RayCompute:
    """Agents beneath `data`, which all nodes see, kept by actors. Those of this machine are LocalCompute's, which also hears the pokes."""

    def __init__(self, address: str, data: Path, *, slots: int, namespaces: bool, poke: Path) -> None:
        self._address = address
        self._folder = data.absolute() / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._namespace = f"dewfall-{zlib.crc32(str(self._folder).encode()):08x}"
        self._ray = connect(address)
        self._local = LocalCompute(data / "jobs", slots=slots, namespaces=namespaces, poke=poke)
        self._isolated = namespaces
        self._poke = poke.absolute()
        self._listeners: list[Callable[[str], None]] = []
        self._lock = threading.RLock()
        self._keepers: dict[str, tuple[Any, Any]] = {}  # agent → its actor, and what is ready when the agent has ended
        self._lost: set[str] = set()
        self._seen: dict[str, int] = {}  # agent → when its status.json was last written
        self._closing = threading.Event()
        self._slots = slots or max(8, 4 * int(sum(cpus for _, _, cpus in self._nodes())))
        self._take_up()
        self._thread = threading.Thread(target=self._watch, name="ray", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ the port

    def start(self, spec: AgentSpec) -> None:
        """Give it to a node, or do nothing when one of this id is alive or has ended. A lost one is started again from nothing."""
        if spec.kind != "job" or not spec.id.startswith(KINDS):
            return self._local.start(spec)
        folder = self._folder / spec.id
        with self._lock:
            status = self._own_status(spec.id)
            if status is not None and status.state == "Lost":
                self._clear(spec.id)
            elif status is not None:
                return None
            place = self._place(spec)
            folder.mkdir(parents=True, exist_ok=True)
            write_place(folder, place)
            write_spec(folder, spec, Surroundings("none", False, "", str(self._folder.parent), str(self._poke), {}))
            write_first_status(folder, spec.id, spec.kind)
            self._give(spec.id)
        return None

    def status(self, agent: str) -> AgentStatus | None:
        """The agent's last word."""
        return self._own_status(agent) or self._local.status(agent)

    def has_room(self, agents: int = 1) -> bool:
        """Slots are counted over the cluster and this machine together."""
        running = sum(1 for agent in self._own() if self._is_living(agent)) + self._local.jobs()
        return running + min(agents, self._slots) <= self._slots

    def stop(self, agent: str) -> None:
        """Ask for an end with grace: by a file, which the agent looks for, and by its keeper, which is quick."""
        if not self._is_own(agent):
            return self._local.stop(agent)
        with contextlib.suppress(OSError):
            (self._folder / agent / STOP).touch()
        keeper = self._keepers.get(agent)
        if keeper is not None:
            with contextlib.suppress(Exception):
                keeper[0].stop.remote()
        return None

    def discard(self, agent: str) -> None:
        """Kill what is left and remove the folder."""
        if not self._is_own(agent):
            return self._local.discard(agent)
        with self._lock:
            self._clear(agent)
        return None

    def usage(self, agent: str) -> Usage | None:
        """The keeper's word."""
        if not self._is_own(agent):
            return self._local.usage(agent)
        keeper = self._keepers.get(agent)
        if keeper is None:
            return None
        with contextlib.suppress(Exception):
            found = self._ray.get(keeper[0].usage.remote(), timeout=ANSWER_SECONDS)
            return found and Usage(*found)
        return None

    def log_file(self, agent: str) -> Path:
        """Where the agent logs."""
        return self._folder / agent / LOG if self._is_own(agent) else self._local.log_file(agent)

    def written(self, agent: str, path: str) -> Path:
        """The upper layer of the agent's /opt/ml, on the folder that all nodes share."""
        return self._folder / agent / "root" / path.lstrip("/") if self._is_own(agent) else self._local.written(agent, path)

    def agents(self) -> list[str]:
        """The cluster's and this machine's."""
        return sorted([*self._own(), *self._local.agents()])

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Add a listener."""
        self._listeners.append(listener)
        self._local.on_change(listener)

    def close(self) -> None:
        """Let go without ending an agent."""
        self._closing.set()
        self._thread.join(timeout=ANSWER_SECONDS)
        self._local.close()

    def warm(self, family: str) -> None:
        """Jobs on the cluster start from nothing; replicas are forked here."""
        self._local.warm(family)

    # ------------------------------------------------------------ this cluster's agents

    def _own(self) -> list[str]:
        with os.scandir(self._folder) as entries:
            return [entry.name for entry in entries if entry.is_dir() and not entry.name.endswith(DISCARDED)]

    def _is_own(self, agent: str) -> bool:
        return (self._folder / agent).is_dir()

    def _own_status(self, agent: str) -> AgentStatus | None:
        return read_status(self._folder / agent, lambda folder, _: folder.name not in self._lost)

    def _is_living(self, agent: str) -> bool:
        document = read_document(self._folder / agent)
        return document is not None and document["state"] != "Exited" and agent not in self._lost

    # ------------------------------------------------------------ places

    def _nodes(self) -> list[tuple[str, str, float]]:
        """(id, address, processors) of the living nodes that have any."""
        found = [(n["NodeID"], n["NodeManagerAddress"], n["Resources"].get("CPU", 0.0)) for n in self._ray.nodes() if n["Alive"]]
        return [node for node in found if node[2] > 0] or [(node, address, 1.0) for node, address, _ in found]

    def _place(self, spec: AgentSpec) -> Place:
        """The node of an agent: the one that its job's first agent had chosen for it, or all of them are chosen now."""
        host = host_of(spec.id)
        first = self._folder / spec.id.removesuffix(f".{host}")
        known = read_place(first) if host != "algo-1" else None
        addresses = {node: address for node, address, _ in self._nodes()}
        nodes = known.nodes if known is not None and host in known.nodes else self._choose(spec.hosts)
        hosts = {name: addresses.get(node, "") for name, node in nodes.items()} if len(set(nodes.values())) > 1 else {}
        hosts = known.hosts if known is not None else hosts
        keeper = f"{spec.id}-{os.urandom(4).hex()}"
        return Place(keeper, nodes[host], addresses.get(nodes[host], ""), nodes, hosts, self._isolated, sys.executable)

    def _choose(self, hosts: tuple[str, ...]) -> dict[str, str]:
        """A node for each host: another one than its fellows', else the one with the fewest agents for its processors."""
        places = (read_place(self._folder / agent) for agent in self._own() if self._is_living(agent))
        load = Counter(place.node for place in places if place is not None)
        fellows: Counter[str] = Counter()
        chosen = {}
        for host in hosts:
            node, _, _ = min(self._nodes(), key=lambda n: (fellows[n[0]], (load[n[0]] + 1) / n[2], n[0]))
            chosen[host] = node
            fellows[node] += 1
            load[node] += 1
        return chosen

    # ------------------------------------------------------------ keepers

    def _give(self, agent: str) -> None:
        """To its keeper, who is made unless there is one."""
        place = read_place(self._folder / agent)
        if place is None:
            return self._lose(agent)
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options = {
            "name": place.keeper,
            "namespace": self._namespace,
            "lifetime": "detached",
            "get_if_exists": True,
            "num_cpus": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(place.node, soft=False),
        }
        keeper = self._ray.remote(Keeper).options(**options).remote(str(self._folder / agent), place.address)
        self._keepers[agent] = (keeper, keeper.ended.remote())
        return None

    def _find(self, agent: str) -> None:
        """The keeper of an agent that has begun; without one it is lost."""
        place = read_place(self._folder / agent)
        try:
            keeper = self._ray.get_actor(place.keeper if place else "none", namespace=self._namespace)
        except ValueError:
            return self._lose(agent)
        self._keepers[agent] = (keeper, keeper.ended.remote())
        return None

    def _take_up(self) -> None:
        """What a former server left, and what it had begun to remove."""
        for entry in list(self._folder.iterdir()):
            if entry.name.endswith(DISCARDED) or not (entry / STATUS).exists():
                shutil.rmtree(entry, ignore_errors=True)
        with self._lock:
            for agent in self._own():
                if self._is_living(agent):
                    began = bool((read_document(self._folder / agent) or {}).get("pid"))
                    self._find(agent) if began else self._give(agent)

    def _clear(self, agent: str) -> None:
        folder = self._folder / agent
        keeper = self._keepers.pop(agent, None)
        if keeper is not None and self._is_living(agent):
            with contextlib.suppress(Exception):
                self._ray.get(keeper[0].end.remote(), timeout=ANSWER_SECONDS)
        if keeper is not None:
            with contextlib.suppress(Exception):
                self._ray.kill(keeper[0])
        gone = folder.with_name(f"{agent}.{os.urandom(4).hex()}{DISCARDED}")
        with contextlib.suppress(OSError):
            folder.rename(gone)
        self._lost.discard(agent)
        self._seen.pop(agent, None)
        threading.Thread(target=shutil.rmtree, args=(gone, True), daemon=True).start()

    def _lose(self, agent: str) -> None:
        self._lost.add(agent)
        log.warning("ray.lost agent=%s", agent)

    # ------------------------------------------------------------ watching

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception as error:
                if not self._closing.is_set():
                    log.warning("ray.unreachable address=%s error=%s", self._address, str(error).strip()[-200:])
                    self._reconnect()

    def _look(self) -> None:
        """Agents that have ended, and those that have said something new."""
        with self._lock:
            keepers = dict(self._keepers)
        ready = self._ray.wait([ref for _, ref in keepers.values()], num_returns=len(keepers), timeout=0)[0] if keepers else []
        for agent, (_, ref) in keepers.items():
            if ref in ready:
                self._settle(agent, ref)
            with contextlib.suppress(OSError):
                written = (self._folder / agent / STATUS).stat().st_mtime_ns
                if self._seen.get(agent) != written:
                    self._seen[agent] = written
                    self._tell(agent)

    def _settle(self, agent: str, ref: Any) -> None:
        """The agent has ended, or its keeper or node has."""
        from ray.exceptions import RayError

        try:
            trouble = self._ray.get(ref, timeout=ANSWER_SECONDS)
        except RayError:
            trouble = ""
        with self._lock:
            if self._keepers.get(agent, (None, None))[1] is not ref:
                return  # discarded meanwhile
            del self._keepers[agent]
            if self._is_living(agent):
                self._fail(agent, trouble) if trouble else self._lose(agent)
        self._tell(agent)

    def _fail(self, agent: str, trouble: str) -> None:
        """Say for the agent why it never was."""
        file = self._folder / agent / STATUS
        document = (read_document(file.parent) or {}) | {"state": "Exited", "reason": "InternalError", "message": trouble}
        document["phases"] = [*document.get("phases", []), ["Exited", time.time()]]
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(document))
        os.replace(draft, file)

    def _reconnect(self) -> None:
        """To the cluster, or to the one that has taken its place; then everything is looked at anew."""
        with contextlib.suppress(Exception):
            self._ray.shutdown()
        while not self._closing.wait(RETRY_SECONDS):
            with contextlib.suppress(NoCluster), self._lock:
                connect(self._address)
                self._keepers.clear()
                self._take_up()
                for agent in list(self._lost):
                    self._tell(agent)
                return

    def _tell(self, agent: str) -> None:
        for listener in self._listeners:
            try:
                listener(agent)
            except Exception:
                log.exception("compute.listener failed agent=%s", agent)
