"""The worker: claims queue rows and runs their steps, again after a crash, a bounded number of times.

A step is `(ctx, task) -> Outcome`: short, repeatable, never waiting. What takes time runs in an agent; the step looks at it and asks to be
called again. `Compute.on_change` and `tx.queue.wake` make that "again" happen at once.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dewfall.context import Clock, Ctx
from dewfall.engine.disk import is_full
from dewfall.engine.lookout import Lookout
from dewfall.engine.ports import Conflict, Key, Store, Task

log = logging.getLogger(__name__)

LEASE = 30.0  # seconds a claimed row is ours without being renewed
ATTEMPTS = 5  # how often a raising step is tried
BACKOFF = (0.1, 0.5, 2.0, 8.0)  # seconds after the first, second … failure
LONGEST_SLEEP = 30.0  # a look at the queue this often, whatever was missed
SHORTEST_SLEEP = 0.05  # when something is due that we cannot take
LONGEST_PAUSE = 20.0  # for the steps that run to come to their end


@dataclass(frozen=True, slots=True)
class Done:
    """The row is finished."""


@dataclass(frozen=True, slots=True)
class Again:
    """Call the step again after `delay` seconds at the latest, with this payload (None: unchanged)."""

    delay: float
    payload: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that is ours for a while, under the name that finishing it needs."""

    owner: str
    task: Task


Outcome = Done | Again
Step = Callable[[Ctx, Task], Outcome]
MakeCtx = Callable[[str, str], Ctx]
Resolve = Callable[[str], Callable[..., Any]]


class Worker(Lookout[Claim]):
    """Runs the steps of queue rows whose kind is in `steps` (kind → "module:function"), in `threads` threads.

    One thread at a time looks for work; it passes the look-out on as soon as it has found some, and works itself. A module whose step keeps
    raising may have `give_up(ctx, task, message)`, which sets the record to Failed.
    """

    def __init__(
        self, store: Store, steps: Mapping[str, str], make_ctx: MakeCtx, *, owner: str, resolve: Resolve, clock: Clock, threads: int = 4
    ) -> None:
        super().__init__("worker", threads)
        self.store = store
        self.steps = steps
        self.make_ctx = make_ctx
        self.owner = owner
        self.resolve = resolve
        self.clock = clock
        self._gate = threading.Lock()
        self._paused = False
        self._running: dict[str, Claim] = {}
        self._claims = itertools.count(1)
        self._threads.append(threading.Thread(target=self._renew, name="worker-leases", daemon=True))
        store.on_commit(self._committed)

    def start(self) -> None:
        """Take up what a dead server of this node left, and work."""
        node, dash, _ = self.owner.rpartition("-")
        self.store.free_leases(node + dash if dash else self.owner)
        super().start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No step runs meanwhile."""
        with self._gate:
            self._paused = True
        try:
            with self._changed:
                if not self._changed.wait_for(lambda: not self._running, LONGEST_PAUSE):
                    log.warning("steps go on during a pause count=%d", len(self._running))
            yield
        finally:
            self._paused = False
            self.wake()

    def run_due(self, limit: int = 1000) -> int:
        """Run what is due now, and what becomes due thereby, in this thread; how many steps that were. For tests with a hand-moved clock."""
        for count in range(limit):
            claim = self._claim()
            if claim is None:
                return count
            self._perform(claim)
        return limit

    # ------------------------------------------------------------ threads

    def _committed(self, keys: list[Key]) -> None:
        if any(key.kind == "queue" and not key.service and key.name in self.steps for key in keys):
            self.wake()

    def _look(self) -> tuple[Claim | None, float]:
        due = self.store.next_due()
        if due is None:
            return None, LONGEST_SLEEP
        if due <= 0:
            return self._claim(), SHORTEST_SLEEP
        return None, min(max(due, 0.001), LONGEST_SLEEP)

    def _claim(self) -> Claim | None:
        """A due row, under an owner of its own: a row that was removed and put again meanwhile is not mistaken for it."""
        with self._gate:
            owner = f"{self.owner}.{next(self._claims)}"
            tasks = () if self._paused else self.store.claim(self.steps, owner, LEASE)
            if not tasks:
                return None
            claim = self._running[owner] = Claim(owner, tasks[0])
            return claim

    def _renew(self) -> None:
        while not self._stopping.wait(LEASE / 3):
            for claim in list(self._running.values()):
                try:
                    self.store.renew(claim.task, claim.owner, LEASE)
                except Exception:
                    log.exception("renewing failed kind=%s name=%s", claim.task.kind, claim.task.key.name)

    # ------------------------------------------------------------ one step

    def _perform(self, claim: Claim) -> None:
        try:
            outcome = self._step(claim.task)
            if isinstance(outcome, Again):
                self.store.finish(claim.task, claim.owner, delay=max(0.0, outcome.delay), payload=outcome.payload)
            else:
                self.store.finish(claim.task, claim.owner)
        except Exception as error:
            if not self._stopping.is_set():
                self._failed(claim, error)
        finally:
            del self._running[claim.owner]
            self.wake()

    def _step(self, task: Task) -> Outcome:
        step: Step = self.resolve(self.steps[task.kind])
        try:
            return step(self.make_ctx(task.key.account, task.key.region), task)
        except Conflict:
            return Again(0.0)

    def _failed(self, claim: Claim, error: Exception) -> None:
        """A step raised: again after a pause, a bounded number of times; then its module says what becomes of the record.

        A full disk is not the step's fault, so it does not count.
        """
        task = claim.task
        if is_full(error):
            self._full(claim, error)
            return
        log.error("step failed kind=%s name=%s attempt=%s", task.kind, task.key.name, task.attempts, exc_info=error)
        try:
            if task.attempts < ATTEMPTS:
                delay = BACKOFF[min(task.attempts, len(BACKOFF)) - 1]
                self.store.finish(task, claim.owner, delay=delay, attempts=task.attempts)
                return
            self._give_up(task, f"{type(error).__name__}: {error}")
            self.store.finish(task, claim.owner)
        except Exception:
            log.exception("giving up failed kind=%s name=%s", task.kind, task.key.name)

    def _full(self, claim: Claim, error: Exception) -> None:
        log.error("step finds the disk full kind=%s name=%s problem=%s", claim.task.kind, claim.task.key.name, error)
        try:
            self.store.finish(claim.task, claim.owner, delay=BACKOFF[2], attempts=claim.task.attempts - 1)
        except Exception as problem:
            log.error("row stays taken until its lease runs out kind=%s name=%s problem=%s", claim.task.kind, claim.task.key.name, problem)

    def _give_up(self, task: Task, message: str) -> None:
        try:
            give_up = self.resolve(self.steps[task.kind].partition(":")[0] + ":give_up")
        except (AttributeError, ImportError):
            return
        for _ in range(ATTEMPTS):
            try:
                give_up(self.make_ctx(task.key.account, task.key.region), task, message)
                return
            except Conflict:
                continue
