"""HTTP requests as they come in: a connection's buffer, and complete requests taken off it.

Parsed by hand, because the requests of one router are few, plain and small, and this is the hot path of every model.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAX_HEAD = 65_536
KEPT_HEAD = 1024  # shorter ones are remembered: a router's requests begin alike
SEND_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Invocation:
    """A request to /invocations; header names are lower case."""

    body: bytes
    content_type: str
    accept: str
    headers: Mapping[str, str]


class Connection:
    """A client: what it has sent, and how far its request is understood."""

    __slots__ = ("buffer", "busy", "closing", "fd", "head", "need", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.buffer = bytearray()
        self.head: tuple[str, str, Mapping[str, str], int] | None = None  # method, path, headers, where the body begins
        self.need = 0  # bytes in the buffer before it is worth looking again
        self.busy = False
        self.closing = False


def next_request(client: Connection) -> tuple[str, str, Invocation] | None:
    """The next complete request, removed from the buffer; None until more has come. ValueError for what is no HTTP."""
    if client.head is None:
        end = client.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(client.buffer) > MAX_HEAD:
                raise ValueError("the request's head is too long")
            return None
        text = bytes(client.buffer[:end])
        client.head = _known_head(text, end + 4) if end < KEPT_HEAD else _parse_head(text, end + 4)
        if "expect" in client.head[2]:
            send_all(client.sock, b"HTTP/1.1 100 Continue\r\n\r\n")
    method, path, headers, start = client.head
    if headers.get("transfer-encoding", "").lower() == "chunked":
        found = _join_chunks(client.buffer, start)
        if found is None:
            return None
        body, end = found
    else:
        end = start + int(headers.get("content-length", 0))
        client.need = end
        if len(client.buffer) < end:
            return None
        body = bytes(client.buffer[start:end])
    del client.buffer[:end]
    client.head, client.need = None, 0
    return method, path, Invocation(body, headers.get("content-type", ""), headers.get("accept", ""), headers)


def _parse_head(text: bytes, start: int) -> tuple[str, str, Mapping[str, str], int]:
    lines = text.decode("latin-1").split("\r\n")
    method, target, version = lines[0].split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"{version} is not spoken here")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return method, target.partition("?")[0], MappingProxyType(headers), start


_known_head = functools.lru_cache(maxsize=256)(_parse_head)


def _join_chunks(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    """(body, where the message ends) of a chunked one, None while it is incomplete."""
    parts: list[bytes] = []
    while True:
        line = buffer.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(bytes(buffer[at:line]).partition(b";")[0], 16)
        start = line + 2
        if size == 0:
            return _after_trailers(buffer, start, parts)
        if len(buffer) < start + size + 2:
            return None
        parts.append(bytes(buffer[start : start + size]))
        at = start + size + 2


def _after_trailers(buffer: bytearray, at: int, parts: list[bytes]) -> tuple[bytes, int] | None:
    while True:
        line = buffer.find(b"\r\n", at)
        if line < 0:
            return None
        if line == at:
            return b"".join(parts), at + 2
        at = line + 2


def send_all(sock: socket.socket, data: bytes) -> None:
    """Send everything; a reader that takes nothing for a minute is given up with an OSError."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        sent = sock.send(data)
    if sent == len(data):
        return
    rest = memoryview(data)[sent:]
    sock.settimeout(SEND_PATIENCE)
    try:
        sock.sendall(rest)
    finally:
        sock.setblocking(False)
