"""Bytes on their way between the wire and the engine: what came in, and what is to be sent.

They live outside both rooms because neither may import the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class StagedBody:
    """A streamed request body that has arrived whole, in memory when small, else in a staging file of Blobs.

    `digests` holds what was computed on the way, raw bytes by name: always `md5` and `crc32`; also `sha1`, `sha256`,
    `crc32c`, `crc64nvme` where the request asked for one. The operation either moves `path` into place or drops the body.
    """

    size: int
    data: bytes | None = None
    path: Path | None = None
    digests: dict[str, bytes] = field(default_factory=dict)

    def read(self) -> bytes:
        """The whole body in memory; for bodies known to be small."""
        if self.data is not None:
            return self.data
        return self.path.read_bytes() if self.path else b""

    def drop(self) -> None:
        """Remove the staging file when nobody took it."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class FileRange:
    """A part of a stored file that the server should send by itself (sendfile where the system can)."""

    path: Path
    offset: int
    length: int


# What an operation may put where the model has a streaming blob, and an event stream where it has one.
Body = bytes | FileRange | Iterator[bytes]
EventStream = Iterator[dict[str, Any]]
