"""Requests to the job's replicas: over their sockets, kept alive, tried again as ModelClientConfig says."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PIECE = 1024 * 1024  # bytes of a chunk when the payload has no limit
PAUSE = 0.2  # seconds before the first retry; doubled for each further one
RETRIED = (408, 429, 500, 502, 503, 504)


class Refused(Exception):
    """A container answered with an error."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body


class Silent(Exception):
    """A container did not answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A container's answer."""

    body: bytes
    content_type: str


class Instance:
    """One instance of the job: the containers of its model, in the order in which a request goes through them. For many threads."""

    def __init__(self, addresses: list[str], timeout: float, retries: int) -> None:
        self.addresses = addresses
        self.timeout = timeout
        self.retries = retries
        self._own = threading.local()
        self._is_gone = False

    def parameters(self) -> dict[str, Any]:
        """What GET /execution-parameters of the first container says; {} where it has none."""
        try:
            status, reply = self._send(self.addresses[0], "GET", "/execution-parameters", b"", {})
            told = json.loads(reply.body) if status == 200 else {}
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def invoke(self, body: bytes, content_type: str, accept: str, *, chunked: bool) -> Reply:
        """The answer of the last container. Raises Refused or Silent."""
        reply = Reply(body, content_type)
        for address in self.addresses:
            headers = {name: value for name, value in (("Content-Type", reply.content_type), ("Accept", accept)) if value}
            reply = self._invoke(address, reply.body, headers, chunked)
        return reply

    def _invoke(self, address: str, body: bytes, headers: dict[str, str], chunked: bool) -> Reply:
        problem: Exception = Silent("The container has ended")
        for attempt in range(0 if self._is_gone else self.retries + 1):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                status, reply = self._send(address, "POST", "/invocations", body, headers, chunked=chunked)
            except (OSError, http.client.HTTPException) as error:
                problem = Silent(f"{type(error).__name__}: {error}")
                self._is_gone = attempt == self.retries and isinstance(error, (ConnectionRefusedError, FileNotFoundError))
                continue
            if 200 <= status < 300:
                return reply
            problem = Refused(status, reply.body)
            if status not in RETRIED:
                break
        raise problem

    def _send(self, address: str, method: str, path: str, body: bytes, headers: dict[str, str], *, chunked: bool = False) -> tuple[int, Reply]:
        """One exchange; a kept connection that the container has closed meanwhile is replaced."""
        connections: dict[str, Connection] = self._own.__dict__.setdefault("connections", {})
        kept = address in connections
        connection = connections.setdefault(address, Connection(address, self.timeout))
        try:
            return _exchange(connection, method, path, body, headers, chunked)
        except (ConnectionError, http.client.RemoteDisconnected):
            connection.close()
            if not kept:
                raise
            return _exchange(connection, method, path, body, headers, chunked)
        except BaseException:
            connection.close()
            raise


class Connection(http.client.HTTPConnection):
    """HTTP to `unix:/path` or `tcp:host:port`."""

    def __init__(self, address: str, timeout: float) -> None:
        self.kind, _, self.place = address.partition(":")
        host, _, port = self.place.rpartition(":") if self.kind == "tcp" else ("localhost", "", "80")
        super().__init__(host, int(port), timeout=timeout)

    def connect(self) -> None:
        if self.kind == "tcp":
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.place)

    def acknowledge(self) -> None:
        """Acknowledge what comes at once: a server that writes head and body apart would wait 40 ms for it. Asked for anew each time."""
        if self.kind == "tcp" and hasattr(socket, "TCP_QUICKACK"):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _exchange(connection: Connection, method: str, path: str, body: bytes, headers: dict[str, str], chunked: bool) -> tuple[int, Reply]:
    if chunked:
        connection.request(method, path, body=_pieces(body), headers={**headers, "Transfer-Encoding": "chunked"}, encode_chunked=True)
    else:
        connection.request(method, path, body=body if method == "POST" else None, headers=headers)
    connection.acknowledge()
    response = connection.getresponse()
    reply = Reply(response.read(), response.getheader("Content-Type") or "")
    return response.status, reply


def _pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]
