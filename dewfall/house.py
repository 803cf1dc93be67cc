"""The house: every room opened in order over one data folder, and closed again.

    settings → store, blobs, objects, series, compute, router → dispatcher → outbox, worker, loops

Why apart from server.py: tests and `doctor` want the rooms without a socket.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import IO, Any

from dewfall import __version__
from dewfall.accounts import root_credentials
from dewfall.context import Clock, Ctx, SystemClock
from dewfall.engine import disk
from dewfall.engine.blobs import Blobs
from dewfall.engine.changes import Changes
from dewfall.engine.compute.choice import open_compute
from dewfall.engine.loops import Loops
from dewfall.engine.objects import Objects
from dewfall.engine.outbox import Outbox
from dewfall.engine.ports import Key, Ports
from dewfall.engine.series import Series
from dewfall.engine.serving.capture import FOLDER, Spool, ship
from dewfall.engine.serving.router import Router
from dewfall.engine.store import SqliteStore
from dewfall.engine.worker import Worker
from dewfall.services import SERVICES, STEPS, SUBSCRIBERS, TICKS
from dewfall.services.identity import authorize, find_identity, find_secret, find_token
from dewfall.services.registry import find_operation, resolve
from dewfall.settings import Settings
from dewfall.wire.dispatch import Dispatcher
from dewfall.wire.route import Match

log = logging.getLogger(__name__)


class DataFolderTaken(Exception):
    """Another server works on this data folder."""


class House:
    """All rooms over one data folder. `held` counts the reads that were held back, `holding` those that are, for tests and health."""

    def __init__(self, settings: Settings, clock: Clock | None = None, *, ephemeral: bool = False) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.ephemeral = ephemeral
        self.held = 0
        self.holding = 0
        self.warmed = False
        self.changes = Changes()
        self._lock = lock_folder(settings.data)
        run = settings.data / "run"
        run.mkdir(exist_ok=True)
        self.blobs = Blobs(settings.data / "blobs", fsync=settings.fsync)
        reserve = disk.reserve_of(settings.data)
        if disk.free(settings.data) < disk.RESERVE:
            disk.give_up(reserve)
        self.store = SqliteStore(settings.data / "dewfall.db", self.clock, fsync=settings.fsync)
        self.store.on_full = lambda: disk.give_up(reserve)
        objects = Objects(self.store, self.blobs)
        self.spool = Spool(settings.data / FOLDER)
        self.router = Router(default_account=settings.account, auth=settings.auth, spool=self.spool, find=objects.get)
        self.compute = open_compute(settings)
        self.ports = Ports(settings, self.store, objects, Series(self.store), self.compute, self.router)
        self.dispatcher = Dispatcher(find_operation, find_identity, authorize, self.ports, self.clock, settings, find_secret, find_token)
        self.router.on_cold = self._call_up
        if settings.auth == "enforce":
            root_credentials(settings.data, settings.account, settings.account)
        owner = f"node-{os.getpid()}"
        self.outbox = Outbox(self.store, SUBSCRIBERS, self.ctx, resolve=resolve, clock=self.clock)
        self.worker = Worker(self.store, STEPS, self.ctx, owner=owner, resolve=resolve, clock=self.clock)
        self.loops = Loops(self.store, TICKS, self.ctx, owner=owner, resolve=resolve, clock=self.clock)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Attach to the event loop and set everything in motion; what a former server left is taken up."""
        self.changes.attach(loop)
        self.router.attach(loop)
        self.store.on_commit(self.changes.notify)
        self.compute.on_change(self.agent_changed)
        self._adopt()
        self.spool.start()
        for room in (self.outbox, self.worker, self.loops):
            room.start()
        threading.Thread(target=self._sweep, name="sweep", daemon=True).start()

    def _adopt(self) -> None:
        """Agents of records that are gone or have ended get a last look, too: a server may be killed between the two ends."""
        for agent in self.compute.agents():
            kind, account, region, name = agent.split(".")[:4]
            if kind not in STEPS:
                self.compute.discard(agent)
                continue
            with self.store.transaction() as tx:
                tx.run("queue_ensure", kind=kind, account=account, region=region, service="sagemaker", record_kind=kind, name=name, due=0)

    def close(self) -> None:
        """Stop moving. Jobs go on by themselves; replicas end, and come back with the next start. An ephemeral house takes all along."""
        for room in (self.loops, self.worker, self.outbox):
            room.stop()
        self.spool.stop()
        ship(self.spool.folder, self.ports.objects)
        for agent in self.compute.agents():
            if self.ephemeral or agent.startswith("endpoint."):
                self.compute.discard(agent)
        self.compute.close()
        self.store.close()
        self._lock.close()

    def reset(self) -> None:
        """An empty server again: ends every job and replica and forgets everything. No step runs meanwhile that would start another."""
        with self.worker.paused():
            for agent in self.compute.agents():
                self.compute.discard(agent)
            try:
                self.store.reset(self.blobs.reset)
            except OSError:  # the disk is full, and the reserve has been given up
                self.store.reset(self.blobs.reset)
            shutil.rmtree(self.settings.data / "warm-pools", ignore_errors=True)
            self.router.clear()
            self.spool.clear()

    def warm(self) -> None:
        """Begin to import the libraries that jobs need, in a process of its own, while the client prepares its job."""
        self.warmed = True
        threading.Thread(target=self.compute.warm, args=("tabular",), name="warm", daemon=True).start()

    def ctx(self, account: str, region: str) -> Ctx:
        """The surroundings of a step or tick."""
        return self.dispatcher.ctx(account, region)

    def agent_changed(self, agent: str) -> None:
        """An agent's poke: the step that looks after it is due now."""
        kind, account, region, name = agent.split(".")[:4]
        with self.store.transaction() as tx:
            tx.queue.wake(kind, Key(account, region, "sagemaker", kind, name))

    def _call_up(self, key: tuple[str, str, str], variant: str) -> None:
        """A request has come for a serverless variant of which nothing runs."""
        resolve("dewfall.services.sagemaker.serverless:wake_up")(self.ctx(key[0], key[1]), key[2], variant)

    def watched_key(self, match: Match, kind: str, name: str) -> Key:
        """The record behind a held read."""
        account = find_identity(match.access_key, match, self.ports, self.settings).account
        return Key(account, match.region, "sagemaker", kind, name)

    def queue_key(self, match: Match, url: str) -> Key:
        """The queue behind a long poll."""
        account, _, name = url.rstrip("/").removeprefix("arn:").replace(":", "/").rpartition("/")
        return Key(account.rsplit("/", 1)[-1], match.region, "sqs", "queue", name)

    def queue_wait(self, match: Match, url: str) -> int:
        """The seconds that a queue's receives wait when they do not say."""
        with self.store.reading() as tx:
            record = tx.records.get(self.queue_key(match, url))
        return int(record.document["Attributes"]["ReceiveMessageWaitTimeSeconds"]) if record else 0

    def health(self) -> dict[str, Any]:
        """What health checks of this ecosystem read, and what `dewfall status` prints."""
        return {
            "services": dict.fromkeys(sorted(SERVICES), "available"),
            "edition": "dewfall",
            "version": __version__,
            "pid": os.getpid(),
            "data": str(self.settings.data),
            "url": self.settings.endpoint,
            "tls_url": self.settings.tls_endpoint,
            "account": self.settings.account,
            "region": self.settings.region,
            "auth": self.settings.auth,
            "processes": len(self.compute.agents()),
            "held_reads": self.held,
            "holding": self.holding,
        }

    def gauges(self) -> dict[str, tuple[str, float]]:
        """What a scrape of the metrics tells of the server itself."""
        return {
            "dewfall_processes": ("Agents of jobs and replicas.", len(self.compute.agents())),
            "dewfall_held_reads": ("Reads that are held back.", self.holding),
            "dewfall_async_promised_objects": ("Objects that asynchronous invocations will write.", len(self.router.background.promised)),
        }

    def _sweep(self) -> None:
        disk.hold(disk.reserve_of(self.settings.data))
        try:
            self.ports.objects.sweep()
        except Exception:
            log.exception("sweep failed")


def lock_folder(folder: Path) -> IO[str]:
    """Take the data folder for this process; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        message = f"Another Dewfall server uses {folder}. Stop it with `dewfall down`, or give this one its own folder with --data."
        raise DataFolderTaken(message) from None
    return file
