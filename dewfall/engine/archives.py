"""tar.gz archives of models and outputs: unpacked without escapes, links out or bombs, packed the same for the same content.

Archives come from users and from public model hubs, so nothing in one is believed: every member is checked before it is written.
Standard library only.
"""

from __future__ import annotations

import gzip
import os
import posixpath
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

MEMBERS = 1_000_000
ALWAYS_FINE = 1 << 30  # bytes unpacked that no ratio is asked about
RATIO = 300  # of unpacked to packed bytes; gzip's own maximum is 1032
FAST_FROM = 8 << 20  # bytes from which the quickest compression is used
CHUNK = 1 << 20
GZIP = b"\x1f\x8b"


class BadArchive(ValueError):
    """The archive cannot be unpacked, or must not be."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much an archive may contain."""

    always_fine: int = ALWAYS_FINE
    ratio: int = RATIO
    members: int = MEMBERS


BOUNDS = Bounds()


def unpack(source: str, target: str, bounds: Bounds = BOUNDS) -> None:
    """Unpack a tar (plain or compressed) beneath `target`. Raises BadArchive that names the member; what came before it stays written."""
    os.makedirs(target, exist_ok=True)
    budget = _budget(source, target, bounds)
    count = total = 0
    try:
        with open(source, "rb") as raw, _decompressed(raw) as stream, tarfile.open(fileobj=stream, mode="r|*", bufsize=CHUNK) as archive:
            for member in archive:
                count += 1
                total += member.size
                if count > bounds.members or total > budget:
                    raise BadArchive(f"{member.name!r} exceeds what may be unpacked: {budget} bytes in {bounds.members} files")
                _extract(archive, member, os.path.realpath(target))
            while (rest := len(stream.read(CHUNK))) and total <= budget:  # to the end, where the checksum is
                total += rest
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise BadArchive(f"not a readable tar archive: {error}") from error


def pack(source: str, target: str) -> int:
    """Pack a folder's content into the tar.gz `target` and return its size. Same content, same bytes; sockets and pipes are left out."""
    entries = sorted(_entries(source))
    level = 1 if sum(size for _, _, size in entries) > FAST_FROM else 6
    with (
        open(target, "wb") as raw,
        gzip.GzipFile("", "wb", level, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as archive,
    ):
        for name, path, _ in entries:
            _add(archive, source, name, path)
    return os.path.getsize(target)


def gunzip(source: str, target: str, bounds: Bounds = BOUNDS) -> int:
    """Decompress one file; returns its size."""
    budget = _budget(source, os.path.dirname(target), bounds)
    size = 0
    try:
        with gzip.open(source, "rb") as packed, open(target, "wb") as file:
            while data := packed.read(CHUNK):
                size += len(data)
                if size > budget:
                    raise BadArchive(f"it exceeds what may be unpacked: {budget} bytes")
                file.write(data)
    except (EOFError, zlib.error, OSError) as error:
        raise BadArchive(f"not a gzip file: {error}") from error
    return size


def is_empty(folder: str) -> bool:
    """Whether a folder holds no file (it may hold folders), or is not there."""
    return not any(names for _, _, names in os.walk(folder))


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    """tarfile's own way of reading gzip as a stream does not look at checksums."""
    is_gzip = raw.read(2) == GZIP
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if is_gzip else raw  # type: ignore[return-value]


def _budget(source: str, target: str, bounds: Bounds) -> int:
    free = shutil.disk_usage(target).free
    return min(free, max(bounds.always_fine, os.path.getsize(source) * bounds.ratio))


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, root: str) -> None:
    name = posixpath.normpath(member.name)
    if member.name.startswith("/") or name == ".." or name.startswith("../"):
        raise BadArchive(f"{member.name!r} leads out of the archive")
    path = os.path.join(root, name)
    if not _within(os.path.realpath(os.path.dirname(path)), root):
        raise BadArchive(f"{member.name!r} leads out of the archive through a link")
    if member.isdir():
        os.makedirs(path, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        os.unlink(path)
    if member.isreg():
        _write(archive.extractfile(member), path, member.mode)
    elif member.issym():
        _check_link(member, os.path.join(os.path.dirname(path), member.linkname), root)
        os.symlink(member.linkname, path)
    elif member.islnk():
        linked = os.path.join(root, posixpath.normpath(member.linkname))
        _check_link(member, linked, root)
        shutil.copyfile(linked, path)
    else:
        raise BadArchive(f"{member.name!r} is a device or pipe")


def _check_link(member: tarfile.TarInfo, linked: str, root: str) -> None:
    if os.path.isabs(member.linkname) or not _within(os.path.realpath(linked), root):
        raise BadArchive(f"{member.name!r} links to {member.linkname!r}, out of the archive")


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _write(source: IO[bytes] | None, path: str, mode: int) -> None:
    if source is None:
        return
    with open(path, "wb") as file:
        shutil.copyfileobj(source, file, CHUNK)
    os.chmod(path, 0o755 if mode & 0o111 else 0o644)


def _entries(folder: str) -> Iterator[tuple[str, str, int]]:
    """(name within the folder, path, size) of everything beneath it."""
    for parent, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(parent, name)
            yield os.path.relpath(path, folder), path, 0 if os.path.islink(path) else os.path.getsize(path)


def _add(archive: tarfile.TarFile, root: str, name: str, path: str) -> None:
    """One entry without owner and time. A link that leads out of the folder is packed as the file it leads to."""
    if os.path.islink(path) and not _within(os.path.realpath(path), os.path.realpath(root)):
        path = os.path.realpath(path)
        if not os.path.isfile(path):
            return
    member = archive.gettarinfo(path, name)
    if member is None or member.isdev():  # sockets; devices and pipes, which nobody could unpack
        return
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o111 else 0o644
    if member.islnk():
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", os.path.getsize(path)
    if member.isreg():
        with open(path, "rb") as file:
            archive.addfile(member, file)
    else:
        archive.addfile(member)
