"""One exchange with one container, for requests that consist of several: a kept connection that turns out closed is replaced.

Why besides Fleet: there a request may go to another replica; here it is meant for this container and no other.
"""

from __future__ import annotations

import asyncio

from dewfall.engine.serving.connection import Connection, Pool, ReplicaGone, Reply

STALE = 3


async def ask(pool: Pool, request: bytes, body: bytes, *, seconds: float, streamed: bool = False) -> tuple[Connection, Reply]:
    """Send it and wait for the answer, or, where it is streamed, for the answer's head. Raises ReplicaGone or TimeoutError."""
    stale = 0
    while True:
        connection = await pool.take()
        reply = Reply(asyncio.get_running_loop().create_future())
        connection.send(request, body, reply, streamed)
        assert reply.whole is not None
        try:
            async with asyncio.timeout(seconds):
                await reply.whole
            return connection, reply
        except ReplicaGone as gone:
            if gone.answered or gone.refused or connection.used == 1 or stale >= STALE:
                raise
            stale += 1
        except BaseException:
            if connection.reply is reply:  # the answer must not reach the next one
                connection.abandon()
            raise


def head(method: str, path: str, headers: tuple[tuple[bytes, bytes], ...], length: int) -> bytes:
    """A request up to its body."""
    lines = b"".join(b"%s: %s\r\n" % header for header in headers if b"\n" not in header[1] and b"\r" not in header[1])
    return f"{method} {path} HTTP/1.1\r\nhost: localhost:8080\r\n".encode() + lines + b"content-length: %d\r\n\r\n" % length
