"""A closed-loop load over many connections in one thread: each sends its next request when its answer is complete.

Why not a thread per connection: sixty-four of them would measure their own switching.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import time
from dataclasses import dataclass, field

from benchmarks.load import Load


@dataclass(slots=True)
class Client:
    """One connection and the answer that it is in the middle of."""

    sock: socket.socket
    began: float = 0.0
    data: bytearray = field(default_factory=bytearray)
    need: int = 0  # bytes of a complete answer; 0 = not known yet, -1 = chunked


def drive(port: int, request: bytes, seconds: float, connections: int) -> Load:
    """Repeat a request over some connections for some seconds. Raises ValueError for an answer that is no success."""
    poll, clients, times = selectors.DefaultSelector(), [], []
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients.append(Client(sock))
        poll.register(sock, selectors.EVENT_READ, clients[-1])
    begun = time.perf_counter()
    for client in clients:
        _ask(client, request)
    while (now := time.perf_counter()) < begun + seconds:
        for key, _ in poll.select(1.0):
            client = key.data
            if _is_complete(client):
                now = time.perf_counter()
                times.append(now - client.began)
                _ask(client, request)
    took = time.perf_counter() - begun
    for client in clients:
        client.sock.close()
    poll.close()
    ordered = sorted(times) or [float("inf")]
    return Load(len(times) / took, statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000)


def _ask(client: Client, request: bytes) -> None:
    client.data.clear()
    client.need = 0
    client.began = time.perf_counter()
    client.sock.sendall(request)


def _is_complete(client: Client) -> bool:
    """Take in what has come; whether the answer is whole."""
    data = client.sock.recv(1 << 18)
    if not data:
        raise ConnectionError("the server hung up")
    client.data += data
    if not client.need:
        end = client.data.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(client.data[:end]).lower()
        if b" 2" not in head[:12]:
            raise ValueError(bytes(client.data[:600]).decode("latin-1"))
        _, found, rest = head.partition(b"content-length:")
        client.need = end + 4 + int(rest.split(b"\r\n", 1)[0]) if found else -1
    return client.data.endswith(b"0\r\n\r\n") if client.need < 0 else len(client.data) >= client.need
