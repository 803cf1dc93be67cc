"""A replica's answer on its way to the client, and the whole of a streamed one for those who look on.

Why pieces are put by here: a stream is captured, and compared with a shadow's, as a whole, but neither may hold it up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dewfall.engine.serving.connection import Connection, Pool, ReplicaGone, Reply
from dewfall.engine.serving.table import Variant
from dewfall.errors import AwsError

if TYPE_CHECKING:
    from dewfall.engine.serving.fleet import Fleet

KEPT_BYTES = 64 * 1024 * 1024  # of streamed answers that are put by, of an endpoint


@dataclass(slots=True)
class Room:
    """How many bytes of streamed answers may be put by at once, and how many are."""

    limit: int = KEPT_BYTES
    used: int = 0


class Kept:
    """The pieces of one streamed answer; none of them from the moment when there is no room left."""

    __slots__ = ("_fits", "_pieces", "_room", "_size")

    def __init__(self, room: Room) -> None:
        self._room, self._pieces, self._size, self._fits = room, list[bytes](), 0, True

    def add(self, piece: bytes) -> None:
        """One more piece."""
        if self._fits and self._room.used + len(piece) <= self._room.limit:
            self._room.used += len(piece)
            self._size += len(piece)
            self._pieces.append(piece)
        elif self._fits:
            self._clear()
            self._fits = False

    def take(self) -> bytes | None:
        """All of it, once; None where there was no room."""
        whole = b"".join(self._pieces) if self._fits else None
        self._clear()
        return whole

    def _clear(self) -> None:
        self._room.used -= self._size
        self._size = 0
        self._pieces.clear()


class Answer:
    """A replica's answer, whole or, where `streamed`, as it comes."""

    __slots__ = ("_connection", "_deadline", "_fleet", "_kept", "_pool", "_reply", "_then", "container", "variant")

    def __init__(self, fleet: Fleet, variant: Variant, pool: Pool | None, connection: Connection, reply: Reply, deadline: float) -> None:
        self.variant, self.container = variant.name, variant.container
        self._fleet, self._pool, self._connection, self._reply, self._deadline = fleet, pool, connection, reply, deadline
        self._kept: Kept | None = None

    @property
    def status(self) -> int:
        return self._reply.status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return self._reply.headers

    def header(self, name: bytes) -> bytes | None:
        """A header by lower-case name."""
        return self._reply.header(name)

    def body(self) -> bytes:
        """The body of an answer that is not streamed."""
        return self._reply.body()

    def keep(self, room: Room, then: Callable[[bytes | None], None]) -> None:
        """Put the pieces by as they are taken, and call `then` once at the end: with the whole answer, or None where it was not complete or
        there was no room for it."""
        self._kept, self._then = Kept(room), then

    async def next_chunk(self) -> bytes:
        """What has come since the last call, b"" at the end. Raises AwsError ModelStreamError when the end does not come."""
        reply = self._reply
        while not reply.chunks:
            if reply.finished:
                self._release()
                self._settle(complete=reply.error is None)
                if reply.error is not None:
                    raise _stream_error("StreamBroken", "The connection between the client and the model was reset or closed.")
                return b""
            reply.waiting = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout_at(self._deadline):
                    await reply.waiting
            except TimeoutError:
                self.abandon()
                message = "The model failed to finish sending the response within the timeout period allowed by Amazon SageMaker."
                raise _stream_error("ModelInvocationTimeExceeded", message) from None
        data = reply.body()
        reply.chunks.clear()
        self._connection.resume()
        if self._kept is not None:
            self._kept.add(data)
        return data

    def abandon(self) -> None:
        """Nobody wants the rest."""
        if not self._reply.finished:
            self._reply.finished = True
            self._reply.error = ReplicaGone(answered=True)
            self._connection.abandon()
            if self._reply.waiting is not None and not self._reply.waiting.done():
                self._reply.waiting.set_result(None)
        self._release()
        self._settle(complete=False)

    def _settle(self, *, complete: bool) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            whole = kept.take()
            self._then(whole if complete else None)

    def _release(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            self._fleet.release(pool)


def _stream_error(code: str, message: str) -> AwsError:
    return AwsError("ModelStreamError", message, ErrorCode=code)
