"""Copies for a shadow variant: the configured share of the requests, sent after their answers, compared, counted and captured.

    answered ─ its turn? ─ waiting copies (bounded) ─ a few at a time ─ replica of the shadow ─ compare, count, capture

Why afterwards and bounded: the caller never waits for a shadow, and a shadow that is too slow loses copies, not the server its memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from dewfall.engine.serving.answer import Kept
from dewfall.engine.serving.connection import Connection, Pool, ReplicaGone, Reply
from dewfall.engine.serving.shares import Turns
from dewfall.engine.serving.table import LATENCIES_KEPT, Comparison, Shadow
from dewfall.rules.agreement import compare

if TYPE_CHECKING:
    from dewfall.engine.serving.fleet import Fleet

AT_ONCE = 16
WAITING_BYTES = 64 * 1024 * 1024
SECONDS, STREAM_SECONDS = 60.0, 480.0
TRIES = 3  # kept-alive connections that turn out closed


@dataclass(frozen=True, slots=True)
class Copy:
    """A request as the container got it, and what the production variant made of it. `answer`: None where nobody has the whole of it;
    `seconds`: until it was there, or where `streamed`, until it began."""

    request: bytes
    body: bytes
    status: int
    answer: bytes | None
    seconds: float
    streamed: bool = False

    @property
    def size(self) -> int:
        return len(self.body) + len(self.answer or b"")


@dataclass(slots=True)
class Said:
    """A shadow's answer, how long it took (where it is streamed, until it began), and whether the reply has the whole of it."""

    reply: Reply
    seconds: float
    is_whole: bool = True


class Shadows:
    """The shadow variant of one endpoint. Belongs to the loop, but for `take`."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.shadow: Shadow | None = None
        self._turns: Turns[bool] = Turns((), ())
        self._waiting: deque[Copy] = deque()
        self._bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: dict[str, Comparison] = {}

    def take_over(self, shadow: Shadow | None) -> None:
        """From now on copies go there."""
        self.shadow = shadow
        turns = Turns((True, False), (shadow.share, 1 - shadow.share) if shadow else (0.0, 1.0))
        turns.go_on_from(self._turns)
        self._turns = turns
        if shadow is None:
            self._waiting.clear()
            self._bytes = 0

    def take(self) -> dict[str, Comparison]:
        """What there was to compare since the last call, by shadow variant."""
        taken, self._told = self._told, {}
        return taken

    def is_turn(self) -> bool:
        """Whether the request that is being answered is one to copy."""
        return self.shadow is not None and self._turns.next()

    def offer(self, request: bytes, body: bytes, status: int, answer: bytes, seconds: float) -> None:
        """A request has been answered: copy it, if it is its turn."""
        if self.is_turn():
            self.send(Copy(request, body, status, answer, seconds))

    def send(self, copy: Copy) -> None:
        """Send a copy as soon as others are done."""
        shadow = self.shadow
        if shadow is None:
            return
        told = self._comparison(shadow.variant.name)
        if not shadow.variant.replicas or self._bytes + copy.size > WAITING_BYTES:
            told.dropped += 1
            return
        told.copies += 1
        self._bytes += copy.size
        self._waiting.append(copy)
        if len(self._tasks) < AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while self._waiting and self.shadow is not None:
            copy = self._waiting.popleft()
            self._bytes -= copy.size
            await self._send(copy, self.shadow)

    async def _send(self, copy: Copy, shadow: Shadow) -> None:
        variant, fleet = shadow.variant, self.fleet
        said = await self._ask(copy, shadow)
        if said is None:
            fleet.count(variant, 500, is_models=True)
            return
        good = 200 <= said.reply.status < 300
        fleet.count(variant, 200 if good else said.reply.status, said.seconds, 0.0, is_models=not good)
        if good and said.is_whole:
            fleet.capture(variant.name, copy.request, copy.body, said.reply)
        if copy.answer is not None and said.is_whole:
            self._compare(copy, copy.answer, said, good)

    def _compare(self, copy: Copy, answer: bytes, said: Said, good: bool) -> None:
        told = self._comparison(self.shadow.variant.name) if self.shadow else Comparison()
        told.compared += 1
        likeness = compare(answer, said.reply.body()) if good and copy.status == 200 else None
        told.agreed += likeness.agrees if likeness is not None else good == (copy.status == 200)
        if likeness is not None and likeness.difference is not None and len(told.differences) < LATENCIES_KEPT:
            told.differences.append(likeness.difference)
        if len(told.delays) < LATENCIES_KEPT:
            told.delays.append((said.seconds - copy.seconds) * 1e6)

    async def _ask(self, copy: Copy, shadow: Shadow) -> Said | None:
        """The shadow's answer; None where there is none."""
        for _ in range(TRIES):
            pool = self.fleet.pool(shadow.variant)
            if pool is None:
                return None
            try:
                return await self._exchange(copy, pool)
            except ReplicaGone as gone:
                if gone.answered or gone.refused:
                    return None
            except TimeoutError:
                return None
        return None

    async def _exchange(self, copy: Copy, pool: Pool) -> Said:
        begun = perf_counter()
        pool.enter()
        try:
            connection = await pool.take()
            reply = Reply(asyncio.get_running_loop().create_future())
            connection.send(copy.request, copy.body, reply, copy.streamed)
            try:
                async with asyncio.timeout(STREAM_SECONDS if copy.streamed else SECONDS):
                    await reply.whole  # type: ignore[misc]
                    said = Said(reply, perf_counter() - begun)
                    if copy.streamed:
                        said.is_whole = await self._read(connection, reply)
            finally:
                if connection.reply is reply:
                    connection.abandon()
            return said
        finally:
            self.fleet.release(pool)

    async def _read(self, connection: Connection, reply: Reply) -> bool:
        """Wait for the end of a streamed answer; whether the reply has all of it, for which there may be no room."""
        kept = Kept(self.fleet.room)
        try:
            while True:
                kept.add(reply.body())
                reply.chunks.clear()
                connection.resume()
                if reply.finished:
                    break
                reply.waiting = asyncio.get_running_loop().create_future()
                await reply.waiting
        finally:
            whole = kept.take()
        if reply.error is not None:
            raise reply.error
        reply.chunks.append(whole or b"")
        return whole is not None

    def _comparison(self, name: str) -> Comparison:
        return self._told.setdefault(name, Comparison())
