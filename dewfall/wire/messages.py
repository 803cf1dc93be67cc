"""A request as it came in and an answer as it goes out: plain values between the ASGI layer and dispatch.

Why our own: dispatch runs in a thread, knows no event loop, and is driven by tests without a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dewfall.bodies import Body, StagedBody
from dewfall.wire.chunked import SignedChunk


@dataclass(slots=True)
class Request:
    """Method, undecoded path, raw query string, headers by lower-case name (the last of equal names wins), and the body."""

    method: str
    raw_path: str
    query: str
    headers: dict[str, str]
    body: bytes | StagedBody = b""
    scheme: str = "http"
    source_ip: str = "127.0.0.1"
    trailers: dict[str, str] = field(default_factory=dict)
    chunks: list[SignedChunk] = field(default_factory=list)  # of a body whose chunks were signed, for verifying

    def header(self, name: str, default: str = "") -> str:
        """A header or, sent after a chunked body, a trailer."""
        return self.headers.get(name) or self.trailers.get(name) or default


@dataclass(slots=True)
class Response:
    """Status, headers in order, and a body: bytes, a range of a file, or chunks."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Body = b""
