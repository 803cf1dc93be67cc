"""When a replica is ready: its GET /ping has answered 200, on the socket or on the port that it was told. Standard library only."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence

QUICK, SLOW = 0.01, 0.1
QUICK_FOR = 5.0  # seconds of asking at short intervals
PING_SECONDS = 2.0  # SageMaker's own patience with one ping
REQUEST = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PORTS = (20000, 32000)  # below the range from which outgoing connections take theirs


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    for port in random.SystemRandom().sample(range(*PORTS), 200):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no free TCP port")


def when_ready(addresses: Sequence[str], then: Callable[[str], None]) -> None:
    """Ask in a thread of its own; `then(address)` once, with the first address that answers 200."""
    threading.Thread(target=_ask, args=(tuple(addresses), then), daemon=True).start()


def answers(address: str) -> bool:
    """Whether one GET /ping there is answered with 200."""
    try:
        with _connect(address) as sock:
            sock.sendall(REQUEST)
            head = b""
            while b"\r\n" not in head and (data := sock.recv(4096)):
                head += data
    except OSError:
        return False
    words = head.split(None, 2)
    return len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1] == b"200"


def _ask(addresses: tuple[str, ...], then: Callable[[str], None]) -> None:
    began = time.monotonic()
    while True:
        for address in addresses:
            if answers(address):
                then(address)
                return
        time.sleep(QUICK if time.monotonic() - began < QUICK_FOR else SLOW)


def _connect(address: str) -> socket.socket:
    kind, _, place = address.partition(":")
    sock = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    sock.settimeout(PING_SECONDS)
    try:
        if kind == "unix":
            if not os.path.exists(place):
                raise FileNotFoundError(place)
            sock.connect(place)
        else:
            host, _, port = place.rpartition(":")
            sock.connect((host, int(port)))
    except OSError:
        sock.close()
        raise
    return sock
