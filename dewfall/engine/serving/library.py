"""The models of multi-model replicas: which are loaded where, how one is loaded, and who leaves when memory is short.

    hold(model) ─ loaded? ─ yes → the request may go there
                  └ no: fetch the artifact ─ make room ─ POST /models ─ 507? the least recently used idle one leaves, again

What is loaded is the container's own word (GET /models) when a replica is met for the first time: it may have served a former server.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections import Counter, OrderedDict
from collections.abc import Container
from dataclasses import dataclass, field
from time import perf_counter
from urllib.parse import quote

from dewfall.engine.serving.asking import ask, head
from dewfall.engine.serving.connection import Pool, ReplicaGone
from dewfall.engine.serving.stock import Stock
from dewfall.engine.serving.table import LATENCIES_KEPT, Replica, Shelf

log = logging.getLogger(__name__)

LOAD_SECONDS = 360.0  # a model goes on loading that long, whoever still waits for it
FULL = 0.8  # of an instance's memory: from there on models leave before another one comes
DISK_KEPT = 4 * 1024**3  # bytes of unloaded models that stay laid out
NO_ROOM = 507
TARGET = b"X-Amzn-SageMaker-Target-Model"
JSON = ((b"content-type", b"application/json"), (b"accept", b"application/json"))


class Refused(Exception):
    """The container will not load the model."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status, self.body = status, body


@dataclass(slots=True)
class ModelCounters:
    """What a variant's models did since the last look; times in microseconds."""

    waits: list[float] = field(default_factory=list)
    downloads: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    unloads: list[float] = field(default_factory=list)
    hits: int = 0
    misses: int = 0


class Library:
    """The racks of an endpoint's replicas, and what they have to report."""

    def __init__(self, stock: Stock | None = None) -> None:
        self.stock = stock
        self.racks: dict[str, Rack] = {}
        self._counters: dict[str, ModelCounters] = {}

    def keep(self, replicas: Container[str]) -> None:
        """Forget the replicas that are not among these."""
        self.racks = {name: rack for name, rack in self.racks.items() if name in replicas}

    def rack(self, variant: str, shelf: Shelf, replica: Replica, pool: Pool) -> Rack:
        """A replica's rack."""
        rack = self.racks.get(replica.id)
        if rack is None:
            assert self.stock is not None
            rack = self.racks[replica.id] = Rack(self, variant, shelf, replica, pool)
        return rack

    def counters(self, variant: str) -> ModelCounters:
        """A variant's counters."""
        return self._counters.setdefault(variant, ModelCounters())

    def take_counters(self) -> dict[str, ModelCounters]:
        """What each variant's models did since the last call."""
        taken, self._counters = self._counters, {}
        return taken

    def loaded(self) -> dict[str, list[int]]:
        """Per variant the number of models that each replica has loaded."""
        found: dict[str, list[int]] = {}
        for rack in list(self.racks.values()):
            found.setdefault(rack.variant, []).append(len(rack.models))
        return found


class Rack:
    """The models of one replica, the least recently used first."""

    def __init__(self, library: Library, variant: str, shelf: Shelf, replica: Replica, pool: Pool) -> None:
        assert library.stock is not None
        self.variant, self.shelf, self.replica, self.pool = variant, shelf, replica, pool
        self.models: OrderedDict[str, int] = OrderedDict()  # name → bytes of memory
        self.wanted: Counter[str] = Counter()  # requests that wait for a model or are at it
        self.used: Counter[str] = Counter()  # requests that are at it
        self.loading: dict[str, asyncio.Task[None]] = {}
        self._library, self._stock = library, library.stock
        has_own = os.path.exists(f"{replica.folder}/hosts")  # the agent writes it where its command gets an /opt/ml of its own
        self._home = "/opt/ml" if has_own else f"{replica.folder}/root/opt/ml"
        self._turn = asyncio.Lock()  # loading and unloading are one after the other
        self._disk = asyncio.Lock()  # files are removed one after the other
        self._known = False
        self._closing = ""  # the model that is about to leave as soon as no request is at it
        self._freed = asyncio.Event()
        self._memory = 0
        self._laid: OrderedDict[str, int] = OrderedDict()  # unloaded models whose files are kept: name → bytes
        self._tasks: set[asyncio.Task[None]] = set()

    def has(self, name: str) -> bool:
        """Whether the model is loaded, or soon will be."""
        return name in self.models or name in self.loading

    async def hold(self, model: str, name: str) -> bool:
        """Load the model unless it is loaded; until `let_go` it stays. Whether it was there. Raises Missing, Unreadable, Refused, ReplicaGone."""
        self.wanted[name] += 1
        try:
            if not self._known:
                await self._learn()
            was_there = self._is_open(name)
            while not self._is_open(name):
                task = self.loading.get(name)
                if task is None:
                    task = self.loading[name] = asyncio.create_task(self._load(model, name))
                    task.add_done_callback(lambda done: self._loaded(name, done))
                await asyncio.shield(task)
            self.models.move_to_end(name)
            self.used[name] += 1
            return was_there
        except BaseException:
            self.used[name] += 1
            self.let_go(name)
            raise

    def let_go(self, name: str) -> None:
        """A request is done with the model."""
        self.used[name] -= 1
        if not self.used[name]:
            del self.used[name]
            self._freed.set()
        self.wanted[name] -= 1
        if self.wanted[name] > 0:
            return
        del self.wanted[name]
        if not self.shelf.cached and name in self.models:
            task = asyncio.create_task(self._leave(name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def is_gone(self, name: str) -> bool:
        """Whether the container no longer knows a model that it had loaded."""
        status, _ = await self._tell("GET", f"/models/{name}", b"", "")
        if status != 404:
            return False
        self.models.pop(name, None)
        return True

    # ------------------------------------------------------------ private

    @property
    def _counters(self) -> ModelCounters:
        return self._library.counters(self.variant)

    def _is_open(self, name: str) -> bool:
        return name in self.models and name != self._closing

    def _loaded(self, name: str, task: asyncio.Task[None]) -> None:
        self.loading.pop(name, None)
        if not task.cancelled() and task.exception() is not None:
            log.info("model not loaded replica=%s problem=%s", self.replica.id, task.exception())

    async def _learn(self) -> None:
        """Ask the container what it has loaded."""
        async with self._turn:
            if self._known:
                return
            path = "/models"
            while path:
                status, body = await self._tell("GET", path, b"", "")
                told = json.loads(body) if status == 200 else {}
                for entry in told.get("models", ()) if isinstance(told, dict) else told:
                    self.models[str(entry["modelName"])] = 0
                token = told.get("nextPageToken") if isinstance(told, dict) else None
                path = f"/models?next_page_token={quote(str(token))}" if token else ""
            self._known = True

    async def _load(self, model: str, name: str) -> None:
        folder = self._folder(name)
        async with asyncio.timeout(LOAD_SECONDS):
            known = self._laid.pop(name, 0)
            async with self._disk:  # its files are not just being removed, and will not be while it is loading
                begun = perf_counter()
            size = await self._stock.fetch(self.shelf.prefix + model, folder)
            _keep(self._counters.downloads, begun)
            async with self._turn:
                await self._make_room(max(size, known, self._usual()))
                begun = perf_counter()
                await self._put(model, name)
                _keep(self._counters.loads, begun)
                before = self._memory
                self._memory = await self._stock.memory(self.replica.folder) if self.shelf.memory else 0
                self.models[name] = max(size, self._memory - before if before else 0)

    async def _put(self, model: str, name: str) -> None:
        """Have the container load it; where it has no room, others leave."""
        document = json.dumps({"model_name": name, "url": f"{self._home}/models/{name}/model"}).encode()
        while True:
            status, body = await self._tell("POST", "/models", document, model)
            if 200 <= status < 300 or status == 409:
                return
            if status != NO_ROOM or not self.models:
                raise Refused(status, body)
            await self._unload_one()

    async def _unload_one(self) -> None:
        """The least recently used model leaves. One that is asked for is closed to further requests, which wait until it can come back."""
        name = next(iter(self._idle()), None) or next(iter(self.models))
        self._closing = name
        try:
            while self.used[name]:
                self._freed.clear()
                await self._freed.wait()
            await self._unload(name)
        finally:
            self._closing = ""

    async def _make_room(self, size: int) -> None:
        excess = self._memory + size - int(self.shelf.memory * FULL)
        if self.shelf.memory and excess > 0:
            for name in leaving([(name, self.models[name]) for name in self._idle()], excess):
                await self._unload(name)

    def _usual(self) -> int:
        """What a loaded model holds on average: an artifact does not say what it becomes in memory."""
        return sum(self.models.values()) // len(self.models) if self.models else 0

    def _idle(self) -> list[str]:
        return [name for name in self.models if not self.wanted[name]]

    async def _leave(self, name: str) -> None:
        """Unload a model that is not to be kept, unless somebody wants it again, with its files."""
        async with self._turn:
            if name in self.models and not self.wanted[name]:
                try:
                    await self._unload(name)
                except (ReplicaGone, TimeoutError):
                    return

    async def _unload(self, name: str) -> None:
        begun = perf_counter()
        size = self.models.pop(name)
        self._memory = max(0, self._memory - size)
        await self._tell("DELETE", f"/models/{name}", b"", "")
        _keep(self._counters.unloads, begun)
        self._laid[name] = size
        async with self._disk:
            while self._laid and (not self.shelf.cached or sum(self._laid.values()) > DISK_KEPT):
                other, _ = self._laid.popitem(last=False)
                if other not in self.loading:
                    await self._stock.remove(self._folder(other))

    async def _tell(self, method: str, path: str, body: bytes, model: str) -> tuple[int, bytes]:
        headers = (*JSON, (TARGET, model.encode())) if model else JSON
        _, reply = await ask(self.pool, head(method, path, headers, len(body)), body, seconds=LOAD_SECONDS)
        return reply.status, reply.body()

    def _folder(self, name: str) -> str:
        return f"{self.replica.folder}/models/{name}"


def model_name(model: str) -> str:
    """How the container knows a model: opaque, always the same for a TargetModel."""
    return hashlib.sha256(model.encode()).hexdigest()[:32]


def leaving(idle: list[tuple[str, int]], excess: int) -> list[str]:
    """The first of these models, in their order, that together give so many bytes back; all of them where that is not enough.

    >>> leaving([("a", 10), ("b", 30), ("c", 5)], 35)
    ['a', 'b']
    """
    gone, freed = [], 0
    for name, size in idle:
        if freed >= excess:
            break
        gone.append(name)
        freed += size
    return gone


def _keep(values: list[float], begun: float) -> None:
    if len(values) < LATENCIES_KEPT:
        values.append((perf_counter() - begun) * 1e6)
