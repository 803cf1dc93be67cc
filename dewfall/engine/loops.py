"""The loops: every service's ticks, on time, under a leader lease, so that of several servers one alone runs them.

A tick observes, decides by `rules/` and acts by `ctx.call`; what it returns (lines of text) is kept as a bounded log of decisions.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dewfall.context import Clock, Ctx
from dewfall.engine.ports import Store
from dewfall.settings import DEFAULT_ACCOUNT, DEFAULT_REGION

log = logging.getLogger(__name__)

LEASE = 20.0
LONGEST_FIRST = 60.0  # seconds after the start, at the latest, every tick runs for the first time
LONGEST_SLEEP = 5.0
KEPT = 1000
Tick = Callable[[Ctx], "list[str] | None"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a tick did, or how it failed."""

    at: datetime
    tick: str
    text: str


class Loops:
    """Runs `ticks` (name → ("module:function", seconds between)). A tick never overlaps itself; a raising one is logged and runs again.

    Ticks serve every account: they get a ctx of the default one and go on from records' keys.
    """

    def __init__(
        self,
        store: Store,
        ticks: Mapping[str, tuple[str, float]],
        make_ctx: Callable[[str, str], Ctx],
        *,
        owner: str,
        resolve: Callable[[str], Callable[..., Any]],
        clock: Clock,
        threads: int = 4,
    ) -> None:
        self.store = store
        self.ticks = ticks
        self.make_ctx = make_ctx
        self.owner = owner
        self.resolve = resolve
        self.clock = clock
        self.decisions: deque[Decision] = deque(maxlen=KEPT)
        begun = clock.now().timestamp()
        self._next = {name: begun + min(period, LONGEST_FIRST) for name, (_, period) in ticks.items()}
        self._leading_until = 0.0
        self._running: dict[str, Future[None]] = {}
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(threads, "tick")
        self._thread = threading.Thread(target=self._loop, name="loops", daemon=True)

    def start(self) -> None:
        """Run ticks on time from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the ticks that run, begin no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run_due(self) -> list[str]:
        """Run what is due now in this thread, each tick once; their names. For tests with a hand-moved clock."""
        due = self._take_due()
        for name in due:
            self._run(name)
        return due

    def _loop(self) -> None:
        while not self._stopping.wait(self._sleep()):
            try:
                for name in self._take_due():
                    self._running[name] = self._pool.submit(self._run, name)
            except Exception:
                log.exception("loops failed owner=%s", self.owner)

    def _sleep(self) -> float:
        first = min(self._next.values(), default=float("inf"))
        return min(max(0.005, first - self.clock.now().timestamp()), LONGEST_SLEEP)

    def _take_due(self) -> list[str]:
        """Names of the ticks that are due; each is put down for its next time. Empty while another server leads."""
        now = self.clock.now().timestamp()
        due = [name for name, at in sorted(self._next.items(), key=lambda item: item[1]) if at <= now]
        if due and not self._leads(now):
            due = []
        free = [name for name in due if name not in self._running or self._running[name].done()]
        for name, at in self._next.items():
            if at <= now:
                period = self.ticks[name][1]
                self._next[name] = at + period if at + period > now else now + period
        return free

    def _leads(self, now: float) -> bool:
        if now < self._leading_until - LEASE / 2:
            return True
        leads = self.store.lead("loops", self.owner, LEASE)
        self._leading_until = now + LEASE if leads else 0.0
        return leads

    def _run(self, name: str) -> None:
        try:
            tick: Tick = self.resolve(self.ticks[name][0])
            for text in tick(self.make_ctx(DEFAULT_ACCOUNT, DEFAULT_REGION)) or ():
                self._note(name, text)
        except Exception as error:
            log.exception("tick failed tick=%s", name)
            self._note(name, f"failed: {type(error).__name__}: {error}")

    def _note(self, name: str, text: str) -> None:
        self.decisions.append(Decision(self.clock.now(), name, text))
