"""Inputs of a job: stored files laid out as the channel folders that user code reads.

    farm     hard links under <agent folder>/inputs, the lower layer of the agent's overlay: no copy, and nobody can write through
    copy     where there is no such layer: cloned by the file system if it can, else copied. Never a writable link to a stored file
    share    a folder of this machine, mounted where the system permits, else linked

Pipes are in pipes.py.

Standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import posixpath
import shutil
from dataclasses import replace

from dewfall.engine.archives import BadArchive, gunzip
from dewfall.engine.namespaces import MS_BIND, MS_REC, mount, read_only
from dewfall.engine.ports import Channel, FileLink

FICLONE = 0x40049409
CHUNK = 1 << 20
CLASH = "Please check your s3 objects and ensure that there is no object that is both a folder as well as a file."


class BadInput(Exception):
    """An input cannot be provided; the text is for the user."""


def plant(channels: tuple[Channel, ...], farm: str) -> None:
    """Link the files of all channels beneath `farm` at their targets. Compressed ones must be laid out by `copy`."""
    made: set[str] = set()
    for channel in channels:
        folder = farm + channel.target
        _make(channel, folder, made)
        for file in channel.files:
            if file.text is not None:
                continue
            path = _place(channel, file, folder)
            _make(channel, os.path.dirname(path), made)
            try:
                os.link(file.source, path)
            except FileExistsError:
                raise _clash(channel, file.path) from None
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES):
                    raise _unreadable(channel, file, error) from error
                _copy(channel, file, path)


def planted(channels: tuple[Channel, ...], farm: str) -> tuple[Channel, ...]:
    """The same channels, read from the farm: for when the stored files themselves are hidden."""
    return tuple(replace(c, files=tuple(replace(file, source=_place(c, file, farm + c.target)) for file in c.files)) for c in channels)


def copy(channels: tuple[Channel, ...], root: str) -> None:
    """Lay the channels out beneath `root` as files of the job's own, decompressed where the channel says so."""
    made: set[str] = set()
    for channel in channels:
        folder = root + channel.target
        _make(channel, folder, made)
        for file in channel.files:
            path = _place(channel, file, folder)
            _make(channel, os.path.dirname(path), made)
            if channel.compression != "Gzip":
                _copy(channel, file, path)
                continue
            try:
                gunzip(file.source, path.removesuffix(".gz"))
            except BadArchive as error:
                raise BadInput(f"Channel {channel.name}: {file.path} cannot be decompressed: {error}") from error


def share(channel: Channel, target: str, *, mounted: bool) -> None:
    """The channel's folder at the target: mounted, read-only unless it may be written, or as a symbolic link."""
    if not os.path.isdir(channel.folder):
        raise BadInput(f"Channel {channel.name}: {channel.folder} is not a folder")
    if mounted:
        os.makedirs(target, exist_ok=True)
        mount(channel.folder, target, flags=MS_BIND | MS_REC)
        if not channel.writable:
            read_only(target)
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.symlink(channel.folder, target)


def _place(channel: Channel, file: FileLink, folder: str) -> str:
    name = posixpath.normpath(file.path)
    if name.startswith(("/", "../")) or name in (".", ".."):
        raise BadInput(f"Channel {channel.name}: the key {file.path!r} cannot be a file name")
    return f"{folder}/{name}"


def _make(channel: Channel, folder: str, made: set[str]) -> None:
    if folder not in made:
        try:
            os.makedirs(folder, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise _clash(channel, folder.partition(channel.target)[2].strip("/") or channel.target) from None
        made.add(folder)


def _copy(channel: Channel, file: FileLink, path: str) -> None:
    """Cloned where the file system shares blocks (Btrfs, XFS), else copied inside the kernel."""
    try:
        with open(file.source, "rb") as source, open(path, "xb") as target:
            try:
                fcntl.ioctl(target, FICLONE, source.fileno())
            except OSError:
                shutil.copyfileobj(source, target, CHUNK)
    except FileExistsError:
        raise _clash(channel, file.path) from None
    except OSError as error:
        raise _unreadable(channel, file, error) from error


def _clash(channel: Channel, name: str) -> BadInput:
    return BadInput(f"{CLASH} Channel {channel.name}: {name}")


def _unreadable(channel: Channel, file: FileLink, error: OSError) -> BadInput:
    return BadInput(f"Channel {channel.name}: {file.path} cannot be read: {error.strerror or error}")
