"""Pipe mode: a channel's files written into one FIFO per epoch by a process of its own, as fast as the reader takes them.

Nothing is read before somebody opens the FIFO, and never more than a pipe holds, so a job starts at once and memory does not grow with the data.

    reader opens <channel>_0 ─ files in order ─ end of file ─ reader opens <channel>_1 ─ files, shuffled anew ─ …

Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

from dewfall.engine.ports import Channel, FileLink

PIPE_SIZE = 1 << 20
RECORD = struct.Struct("<II")
MAGIC = 0xCED7230A
LONGEST_RECORD = (1 << 29) - 1
NO_SPLICE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class Unreadable(Exception):
    """A file of the channel cannot be delivered; the text is for the user."""


def first_pipe(target: str) -> None:
    """The FIFO of epoch 0, which must be there before the command starts."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    _fifo(f"{target}_0")


def feed(channel: Channel, target: str) -> None:
    """Write the channel into one FIFO per epoch, for ever. Ends by being killed, or with Unreadable."""
    epoch = 0
    while True:
        path = f"{target}_{epoch}"
        _fifo(path)
        with open(path, "wb", buffering=0) as pipe, contextlib.suppress(BrokenPipeError):
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
            _fifo(f"{target}_{epoch + 1}")
            for record in order(channel, epoch):
                for file in channel.files[record * channel.width : (record + 1) * channel.width]:
                    _deliver(channel, file, pipe.fileno())
        with contextlib.suppress(OSError):
            os.unlink(path)
        epoch += 1


def order(channel: Channel, epoch: int) -> Sequence[int]:
    """Which records this host gets in an epoch: all or its share, as they lie or shuffled by the seed, in every epoch otherwise."""
    records: Sequence[int] = range(len(channel.files) // channel.width)
    if channel.seed is not None:
        import random

        records = list(records)
        random.Random(f"{channel.seed} {epoch}").shuffle(records)
    rank, hosts = channel.shard
    return records[rank::hosts]


def numbered(channel: Channel) -> Channel:
    """The channel with its files named by their place, because the same file may be in a manifest twice."""
    return replace(channel, files=tuple(replace(file, path=str(n), name=file.name or file.path) for n, file in enumerate(channel.files)))


def _deliver(channel: Channel, file: FileLink, pipe: int) -> None:
    try:
        _pour(channel, file, pipe)
    except BrokenPipeError:
        raise
    except (OSError, EOFError) as error:
        raise Unreadable(f"Channel {channel.name}: {file.name or file.path} cannot be read: {error}") from error


def _pour(channel: Channel, file: FileLink, pipe: int) -> None:
    wrapped = channel.wrapper == "RecordIO"
    if file.text is not None:
        data = file.text.encode()
        _write(pipe, _header(len(data)) + data + _padding(len(data)) if wrapped else data)
    elif channel.compression == "Gzip":
        size = _inflate(file.source, lambda _: None) if wrapped else 0
        _write(pipe, _header(size) if wrapped else b"")
        _inflate(file.source, lambda data: _write(pipe, data))
        _write(pipe, _padding(size) if wrapped else b"")
    else:
        _write(pipe, _header(file.size) if wrapped else b"")
        _splice(file.source, pipe)
        _write(pipe, _padding(file.size) if wrapped else b"")


def _splice(path: str, pipe: int) -> None:
    """A file's pages into the pipe without copying them, where the file system can."""
    with open(path, "rb", buffering=0) as source:
        try:
            while os.splice(source.fileno(), pipe, PIPE_SIZE):
                pass
        except OSError as error:
            if error.errno not in NO_SPLICE:
                raise
            while data := source.read(PIPE_SIZE):
                _write(pipe, data)


def _inflate(path: str, take: Callable[[bytes], None]) -> int:
    import gzip
    import zlib

    size = 0
    try:
        with gzip.open(path, "rb") as packed:
            while data := packed.read(PIPE_SIZE):
                size += len(data)
                take(data)
    except zlib.error as error:
        raise gzip.BadGzipFile(str(error)) from error
    return size


def _header(size: int) -> bytes:
    if size > LONGEST_RECORD:
        raise OSError(errno.EFBIG, f"{size} bytes are too many for one RecordIO record")
    return RECORD.pack(MAGIC, size)


def _padding(size: int) -> bytes:
    return bytes(-size % 4)


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def _fifo(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path)
