"""A file's records as Line, RecordIO and TFRecord have them, read piece by piece: a file may be larger than the memory."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

RECORDIO_MAGIC = 0xCED7230A
RECORDIO_HEADER = struct.Struct("<II")
RECORDIO_LENGTH = (1 << 29) - 1
TFRECORD_HEADER = struct.Struct("<QI")
TFRECORD_FOOTER = 4  # bytes of the payload's checksum
WHOLE, LAST = 0, 3  # a RecordIO frame's continuation flags


class BadFile(ValueError):
    """A file is not what its SplitType or CompressionType says."""


def open_file(path: Path, compression: str) -> BinaryIO:
    """The file's content, decompressed."""
    return cast(BinaryIO, gzip.open(path, "rb")) if compression == "Gzip" else path.open("rb")


def records(stream: BinaryIO, split: str) -> Iterator[bytes]:
    """Each record with its framing, so that records together are a file again; lines without their end. Empty lines are no records."""
    try:
        yield from READERS[split](stream)
    except (OSError, EOFError) as error:
        raise BadFile(f"The file cannot be read: {error}") from error


def _whole(stream: BinaryIO) -> Iterator[bytes]:
    content = stream.read()
    if content:
        yield content


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    for line in stream:
        record = line.rstrip(b"\r\n")
        if record:
            yield record


def _recordio(stream: BinaryIO) -> Iterator[bytes]:
    parts = b""
    while header := stream.read(RECORDIO_HEADER.size):
        if len(header) < RECORDIO_HEADER.size:
            raise BadFile("The RecordIO file ends within a header")
        magic, word = RECORDIO_HEADER.unpack(header)
        if magic != RECORDIO_MAGIC:
            raise BadFile("Invalid magic number in the RecordIO file")
        size = ((word & RECORDIO_LENGTH) + 3) // 4 * 4
        parts += header + _exactly(stream, size, "RecordIO")
        if word >> 29 in (WHOLE, LAST):
            yield parts
            parts = b""


def _tfrecord(stream: BinaryIO) -> Iterator[bytes]:
    while header := stream.read(TFRECORD_HEADER.size):
        if len(header) < TFRECORD_HEADER.size:
            raise BadFile("The TFRecord file ends within a header")
        size = TFRECORD_HEADER.unpack(header)[0] + TFRECORD_FOOTER
        yield header + _exactly(stream, size, "TFRecord")


def _exactly(stream: BinaryIO, size: int, what: str) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise BadFile(f"The {what} file ends within a record")
    return content


READERS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {"None": _whole, "Line": _lines, "RecordIO": _recordio, "TFRecord": _tfrecord}
