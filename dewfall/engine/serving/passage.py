"""An invocation's shortest way: handed to an idle connection at once, answered by a callback; no task and no future in between.

Why besides Fleet.exchange: a task and two futures cost as much as everything else. Whatever is out of the ordinary goes that other way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from dewfall.engine.serving import faults
from dewfall.engine.serving.connection import Connection, Pool, ReplicaGone, Reply
from dewfall.engine.serving.fleet import Fleet
from dewfall.engine.serving.table import Variant
from dewfall.errors import AwsError


class Passage(Reply):
    """A request on its way and its reply. `done(passage)` is called once, when the reply is complete or the way is closed."""

    __slots__ = ("_asked", "_begun", "_connection", "_fleet", "_pool", "_sent", "_timer", "done", "variant")

    def __init__(self, fleet: Fleet, variant: Variant, pool: Pool, connection: Connection, done: Callable[[Passage], None]) -> None:
        super().__init__(None)
        self.variant, self.done = variant, done
        self._fleet, self._pool, self._connection = fleet, pool, connection

    def send(self, request: bytes, body: bytes, begun: float, seconds: float) -> None:
        """Write the request."""
        self._begun = begun
        self._asked = (request, body)
        self._sent = perf_counter()
        self._pool.enter()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._time_out)
        self._connection.send(request, body, self, False)

    def end(self, error: Exception | None) -> None:
        """The reply is complete, or will never be."""
        self._timer.cancel()
        self.error, self.finished = error, True
        self._fleet.release(self._pool)
        self.done(self)

    def problem(self) -> AwsError | None:
        """What went wrong, counted; None when nothing did."""
        seconds = perf_counter() - self._sent
        overhead = self._sent - self._begun
        fleet, container, partition = self._fleet, self.variant.container, self._fleet.table.partition
        if isinstance(self.error, TimeoutError):
            problem = faults.timed_out(fleet.key, container, partition)
        elif self.error is not None:
            problem = faults.broken(fleet.key, container, partition)
        elif 200 <= self.status < 300:
            fleet.count(self.variant, 200, seconds, overhead)
            if fleet.table.capture is not None:
                fleet.capture(self.variant.name, *self._asked, self)
            if fleet.table.shadow is not None:
                fleet.shadows.offer(*self._asked, 200, self.body(), seconds)
            return None
        else:
            if fleet.table.shadow is not None:
                fleet.shadows.offer(*self._asked, self.status, self.body(), seconds)
            problem = faults.model_error(fleet.key, container, self.status, self.body(), partition)
        fleet.count(self.variant, self.status or 500, seconds, overhead, is_models=True)
        return problem

    @property
    def may_repeat(self) -> bool:
        """Whether no byte of an answer had come when the connection ended."""
        return isinstance(self.error, ReplicaGone) and not self.error.answered

    def _time_out(self) -> None:
        self._connection.abandon()
        self.end(TimeoutError())


def start(fleet: Fleet, variant: Variant, done: Callable[[Passage], None]) -> Passage | None:
    """A passage over a connection that is open and idle; None where there is none, and the request must take the long way."""
    pool = fleet.pool(variant)
    connection = pool.take_idle() if pool is not None else None
    if pool is None or connection is None:
        return None
    return Passage(fleet, variant, pool, connection, done)
