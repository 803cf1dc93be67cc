"""aws-chunked bodies, decoded as they arrive: signed chunks, signed chunks with trailer, and unsigned ones with trailer.

    5;chunk-signature=ab…\r\n hello \r\n 0;chunk-signature=cd…\r\n x-amz-checksum-crc32:…\r\n x-amz-trailer-signature:…\r\n \r\n

Signatures cannot be checked before the caller's secret is known, so each chunk leaves its digest and signature behind.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dewfall.errors import AwsError

if TYPE_CHECKING:
    from dewfall.bodies import StagedBody
    from dewfall.wire.messages import Request

LINE_LIMIT = 16 * 1024
CHUNK_LIMIT = 5 * 1024**3
TRAILER_LIMIT = 64
HASH_LENGTH = 64
_HEX = frozenset(b"0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class SignedChunk:
    """What verifying one chunk takes: its signature and the SHA-256 of its bytes, both hexadecimal."""

    signature: str
    digest: str


class AwsChunkedDecoder:
    """`feed` what arrives, get payload bytes back. `finished` after the last trailer; `trailers` by lower-case name."""

    def __init__(self) -> None:
        self.finished = False
        self.trailers: dict[str, str] = {}
        self.signatures: list[SignedChunk] = []
        self._waiting = bytearray()
        self._left = 0  # bytes of the current chunk still to come
        self._place = "size"  # size → data → end → size …, after the empty chunk: trailer
        self._number = 1
        self._signature = ""
        self._digest = hashlib.sha256()

    def feed(self, data: bytes) -> bytes:
        """The payload bytes in `data`. InvalidChunkSizeError or IncompleteBody when the framing is wrong."""
        self._waiting += data
        out = bytearray()
        while not self.finished and self._step(out):
            pass
        if self.finished:
            self._waiting.clear()
        return bytes(out)

    def _step(self, out: bytearray) -> bool:
        """Take one piece off what waits; False when more must arrive first."""
        if self._place == "data":
            return self._take_data(out)
        line = self._take_line()
        if line is None:
            return False
        if self._place == "end":
            if line:
                raise _incomplete()
            self._place = "size"
        elif self._place == "size":
            self._open_chunk(line)
        else:
            self._take_trailer(line)
        return True

    def _take_line(self) -> bytes | None:
        end = self._waiting.find(b"\n")
        if end < 0:
            if len(self._waiting) > LINE_LIMIT:
                raise _incomplete()
            return None
        line = bytes(self._waiting[:end]).rstrip(b"\r")
        del self._waiting[: end + 1]
        return line

    def _open_chunk(self, line: bytes) -> None:
        size, _, extension = line.partition(b";")
        size = size.strip()
        if not size or len(size) > 16 or not _HEX.issuperset(size):
            raise _bad_size(self._number, size)
        self._left = int(size, 16)
        if self._left > CHUNK_LIMIT:
            raise _bad_size(self._number, size)
        name, _, value = extension.partition(b"=")
        self._signature = value.strip().decode("latin-1") if name.strip() == b"chunk-signature" else ""
        self._digest = hashlib.sha256()
        if self._left:
            self._place = "data"
        else:
            self._close_chunk()
            self._place = "trailer"

    def _take_data(self, out: bytearray) -> bool:
        if not self._waiting:
            return False
        piece = bytes(self._waiting[: self._left])
        del self._waiting[: self._left]
        out += piece
        self._left -= len(piece)
        if self._signature:
            self._digest.update(piece)
        if not self._left:
            self._close_chunk()
            self._place = "end"
        return True

    def _close_chunk(self) -> None:
        self._number += 1
        if self._signature:
            self.signatures.append(SignedChunk(self._signature, self._digest.hexdigest()))

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.finished = True
            return
        name, colon, value = line.partition(b":")
        if not colon or len(self.trailers) >= TRAILER_LIMIT:
            raise malformed_trailer()
        self.trailers[name.strip().decode("latin-1").lower()] = value.strip().decode("latin-1")


def check_staged(request: Request, staged: StagedBody) -> None:
    """What the head says of the body must be so, whether or not signatures are looked at: a length and a hash guard against corruption, too."""
    announced = request.headers.get("x-amz-decoded-content-length", "")
    if announced.isdigit() and int(announced) != staged.size:
        raise AwsError("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header", status=400)
    sent = request.headers.get("x-amz-content-sha256", "")
    real = staged.digests["sha256"].hex() if len(sent) == HASH_LENGTH and "sha256" in staged.digests else sent
    if sent.lower() != real.lower():
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise AwsError("XAmzContentSHA256Mismatch", message, status=400, ClientComputedContentSHA256=sent, S3ComputedContentSHA256=real)


def malformed_trailer() -> AwsError:
    """The end of the body is not what was announced."""
    message = "The request contained trailing data that was not well-formed or did not conform to our published schema."
    return AwsError("MalformedTrailerError", message, status=400)


def _incomplete() -> AwsError:
    return AwsError("IncompleteBody", "The request body terminated unexpectedly", status=400)


def _bad_size(number: int, size: bytes) -> AwsError:
    shown = size[:40].decode("latin-1")
    return AwsError(
        "InvalidChunkSizeError",
        "Only the last chunk is allowed to have a size less than 8192 bytes",
        status=400,
        Chunk=str(number),
        BadChunkSize=shown,
    )
