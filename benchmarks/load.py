"""A closed-loop load over raw sockets: the same signed bytes again and again, one request after the other per connection.

Why raw: a client library would be most of what is measured.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Load:
    """What a run measured: requests a second, and the median and 99th percentile of one request in milliseconds."""

    rate: float
    p50: float
    p99: float


def signed(url: str, service: str, method: str, headers: dict[str, str], body: bytes = b"", account: str = "test") -> bytes:
    """The bytes of a request with SigV4."""
    request = AWSRequest(method, url, headers=headers, data=body)
    auth = S3SigV4Auth if service == "s3" else SigV4Auth
    auth(Credentials(account, "secret"), service, "us-east-1").add_auth(request)
    parts = urlsplit(url)
    lines = [f"{method} {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "host"]
    if body or method in ("PUT", "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(address: str) -> socket.socket:
    """A connection to http://host:port or unix:/path."""
    if address.startswith("unix:"):
        made = socket.socket(socket.AF_UNIX)
        made.connect(address[5:])
        return made
    parts = urlsplit(address if "//" in address else "http://" + address.removeprefix("tcp:"))
    made = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80))
    made.settimeout(60)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def exchange(connection: socket.socket, request: bytes, *, keep: int = 1 << 16) -> bytes:
    """Send one request, read the whole answer; returns its first bytes. Raises ValueError unless it is a 2xx."""
    connection.sendall(request)
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _some(connection)
    head = bytes(data[:end]).lower()
    if b" 2" not in head[:12]:
        raise ValueError(bytes(data[:600]).decode("latin-1"))
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), None)
    if length is None:
        while not data.endswith(b"0\r\n\r\n"):
            data += _some(connection)
        return bytes(data)
    left = length - (len(data) - end - 4)
    while left > 0:
        chunk = connection.recv(1 << 20)
        if not chunk:
            raise ConnectionError("the server hung up")
        left -= len(chunk)
        if len(data) < keep:
            data += chunk
    return bytes(data)


def _some(connection: socket.socket) -> bytes:
    chunk = connection.recv(1 << 16)
    if not chunk:
        raise ConnectionError("the server hung up")
    return chunk


def run(address: str, request: bytes, seconds: float, connections: int = 1) -> Load:
    """Repeat a request over some connections for some seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    def one() -> None:
        mine: list[float] = []
        connection = connect(address)
        began = time.perf_counter()
        while began < end:
            answer = exchange(connection, request)
            if b"connection: close" in answer[:2000].lower():
                connection.close()
                connection = connect(address)
            now = time.perf_counter()
            mine.append(now - began)
            began = now
        connection.close()
        times.extend(mine)

    threads = [threading.Thread(target=one) for _ in range(connections)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    ordered = sorted(times)
    return Load(len(times) / took, statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000)
