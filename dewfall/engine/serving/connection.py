"""A lean HTTP/1.1 client: keep-alive connections to one replica, over a unix socket or TCP.

Why hand-written: a general client costs several times what the whole way through the router may cost.

    exchange ─ idle connection or a new one ─ one write ─ parser ─ future ─ back to the idle ones
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterator
from typing import Any

import httptools

CONNECTIONS = 64  # to one replica; further requests wait for one to become free
PING = b"GET /ping HTTP/1.1\r\nhost: localhost:8080\r\n\r\n"
CONNECT_SECONDS = 10.0
TCP_QUICKACK = getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY)
PARSED = {b"transfer-encoding", b"connection"}  # an answer with one of these is the parser's
HIGH_WATER = 1024 * 1024  # bytes of a streamed answer that wait for a slow client before the replica is slowed down


class ReplicaGone(Exception):
    """The connection was refused, or ended early. `answered`: bytes of the answer had come, so that repeating is not safe."""

    def __init__(self, *, answered: bool = False, refused: bool = False) -> None:
        super().__init__("the replica's connection ended early")
        self.answered = answered
        self.refused = refused


class Reply:
    """A replica's answer as it comes in. `chunks` fills up; `body()` waits for all of it."""

    __slots__ = ("chunks", "error", "finished", "headers", "status", "waiting", "whole")

    def __init__(self, whole: asyncio.Future[None] | None) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.whole = whole  # done at the end, or where the answer is streamed, at the head
        self.waiting: asyncio.Future[None] | None = None
        self.finished = False
        self.error: Exception | None = None

    def header(self, name: bytes) -> bytes | None:
        """A header by lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def end(self, error: Exception | None) -> None:
        """The answer is complete, or will never be."""
        self.error, self.finished = error, True
        for future in (self.whole, self.waiting):
            if future is not None and not future.done():
                if error is not None and future is self.whole:
                    future.set_exception(error)
                else:
                    future.set_result(None)

    def body(self) -> bytes:
        """What has come of the body."""
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)


def read_whole(data: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
    """Status, headers (names in lower case) and body of an answer that lies there whole and says its length; None where a parser is needed.

    Why: most answers are one piece, and a parser calls back for every part of it.

    >>> read_whole(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    (200, [(b'content-length', b'2')], b'ok')
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or data[:9] != b"HTTP/1.1 " or not data[9:12].isdigit():
        return None
    status = int(data[9:12])
    if status < 200 or status in (204, 304):
        return None
    headers, length = [], -1
    lines = data[:end].split(b"\r\n")
    if data.count(b"\n", 0, end) != len(lines) - 1 or data.count(b"\r", 0, end) != len(lines) - 1:
        return None
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or name in PARSED or not name.isascii() or name != name.strip():
            return None
        value = value.strip()
        if name == b"content-length":
            if length >= 0 or not value.isdigit():
                return None
            length = int(value)
        headers.append((name, value))
    return (status, headers, data[end + 4 :]) if length == len(data) - end - 4 else None


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.parser: Any = None
        self.reply: Reply | None = None
        self.streams = False
        self.used = 0
        self.closed = False
        self.paused = False
        self.began = False
        self.socket: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        if not self.pool.address.startswith("unix:"):
            self.socket = transport.get_extra_info("socket")

    def send(self, head: bytes, body: bytes, reply: Reply, streams: bool) -> None:
        """Write a request; `reply` fills up from now on."""
        self.reply, self.streams, self.began = reply, streams, False
        self.used += 1
        self.parser = None
        if len(body) < 65536:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)

    # ------------------------------------------------------------ from the transport

    def data_received(self, data: bytes) -> None:
        whole = None if self.began or self.streams or self.reply is None else read_whole(data)
        self.began = True
        if whole is not None:
            self._take(*whole)
        elif not self._feed(data):
            return
        if self.reply is not None and self.socket is not None:
            # A server that writes head and body apart waits up to 40 ms for the acknowledgement of the first, unless it is sent now.
            self.socket.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)

    def _take(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """An answer that came in one piece."""
        reply = self.reply
        assert reply is not None
        reply.status, reply.headers = status, headers
        if body:
            reply.chunks.append(body)
        self._end(reply, keeps=True)

    def _feed(self, data: bytes) -> bool:
        """A piece for the parser; False where it is no HTTP."""
        try:
            if self.parser is None:
                self.parser = httptools.HttpResponseParser(self)
            self.parser.feed_data(data)
        except (httptools.HttpParserError, AttributeError):
            self._fail(ReplicaGone(answered=True))
            self.transport.abort()
            return False
        return True

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self.pool.lost(self)
        reply = self.reply
        if reply is None:
            return
        if reply.status and error is None and not self._length_known(reply):
            self.on_message_complete()  # an answer without a length ends with its connection
        else:
            self._fail(ReplicaGone(answered=self.began))

    # ------------------------------------------------------------ from the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.reply is not None:
            self.reply.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        reply = self.reply
        if reply is None:
            return
        status = self.parser.get_status_code()
        if status < 200:  # 100 Continue and its like: the real answer follows
            reply.headers.clear()
            return
        reply.status = status
        if self.streams and reply.whole is not None and not reply.whole.done():
            reply.whole.set_result(None)

    def on_body(self, data: bytes) -> None:
        reply = self.reply
        if reply is None:
            return
        reply.chunks.append(data)
        if self.streams:
            if reply.waiting is not None and not reply.waiting.done():
                reply.waiting.set_result(None)
            if not self.paused and sum(map(len, reply.chunks)) > HIGH_WATER:
                self.paused = True
                self.transport.pause_reading()

    def on_message_complete(self) -> None:
        reply = self.reply
        if reply is None or not reply.status:
            return
        self._end(reply, keeps=self.parser.should_keep_alive() and self._length_known(reply))

    # ------------------------------------------------------------ private

    def _end(self, reply: Reply, *, keeps: bool) -> None:
        """The answer is complete; `keeps`: the connection can carry another exchange."""
        self.reply = None
        self.resume()
        if keeps and not self.closed:
            self.pool.free(self)
        else:
            self.transport.close()
            self.closed = True
        reply.end(None)

    def resume(self) -> None:
        """The client has taken what had piled up."""
        if self.paused:
            self.paused = False
            self.transport.resume_reading()

    def abandon(self) -> None:
        """Nobody waits for this answer any more."""
        self.reply = None
        self.transport.abort()

    def _fail(self, error: Exception) -> None:
        reply = self.reply
        self.reply = None
        if reply is not None:
            reply.end(error)

    def _length_known(self, reply: Reply) -> bool:
        if reply.status in (204, 304):
            return True
        return any(name in (b"content-length", b"transfer-encoding") for name, _ in reply.headers)


class Pool:
    """The connections to one replica, and how many requests are under way there."""

    def __init__(self, address: str, entries: Iterator[int]) -> None:
        self.address = address
        self.entries = entries  # counts over all pools of an endpoint
        self.idle: list[Connection] = []
        self.open = 0
        self.outstanding = 0
        self.last = 0  # which entry the latest was
        self.queue: deque[asyncio.Future[Connection | None]] = deque()
        self.failed_pings = 0  # one after the other
        self.is_down = False  # refused a connection; back in use with the next table
        self.closed = False

    def enter(self) -> None:
        """A request is about to be sent there."""
        self.outstanding += 1
        self.last = next(self.entries)

    async def take(self) -> Connection:
        """An idle connection, a new one, or the next that becomes free. Raises ReplicaGone where nobody listens."""
        connection = self.take_idle()
        if connection is not None:
            return connection
        while self.open >= CONNECTIONS:
            turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
            self.queue.append(turn)
            try:
                freed = await turn
            except asyncio.CancelledError:
                self._pass_on(turn)
                raise
            if freed is not None and not freed.closed:
                return freed
        return await self._connect()

    def take_idle(self) -> Connection | None:
        """An open connection that nobody uses."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.closed:
                return connection
        return None

    async def ping(self, seconds: float) -> None:
        """GET /ping, unless requests are under way, which say enough and may keep the replica from answering."""
        if self.outstanding or self.closed:
            return
        reply = Reply(asyncio.get_running_loop().create_future())
        connection = None
        try:
            async with asyncio.timeout(seconds):
                connection = await self.take()
                connection.send(PING, b"", reply, False)
                await reply.whole  # type: ignore[misc]
            healthy = reply.status == 200
        except (ReplicaGone, TimeoutError):
            healthy = False
            if connection is not None and connection.reply is reply:
                connection.abandon()
        self.failed_pings = 0 if healthy or self.outstanding else self.failed_pings + 1

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        self.open += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self.address.startswith("unix:"):
                    _, connection = await loop.create_unix_connection(lambda: Connection(self), self.address[5:])
                else:
                    host, _, port = self.address.removeprefix("tcp:").rpartition(":")
                    _, connection = await loop.create_connection(lambda: Connection(self), host, int(port))
        except (OSError, TimeoutError):
            self.open -= 1
            self._next(None)
            raise ReplicaGone(refused=True) from None
        except BaseException:
            self.open -= 1
            self._next(None)
            raise
        return connection

    def free(self, connection: Connection) -> None:
        """An exchange is over and the connection can be used again."""
        if self.closed:
            connection.transport.close()
            connection.closed = True
        elif not self._next(connection):
            self.idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """A connection is gone."""
        self.open -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        self._next(None)

    def close(self) -> None:
        """No new requests; those under way end as they end."""
        self.closed = True
        for connection in self.idle:
            connection.closed = True
            connection.transport.close()
        self.idle.clear()

    def _pass_on(self, turn: asyncio.Future[Connection | None]) -> None:
        """Whoever had this turn has left; what it was given is the next one's."""
        if turn.done() and not turn.cancelled():
            connection = turn.result()
            if connection is None or connection.closed:
                self._next(None)
            else:
                self.free(connection)

    def _next(self, connection: Connection | None) -> bool:
        while self.queue:
            turn = self.queue.popleft()
            if not turn.done():
                turn.set_result(connection)
                return True
        return False
