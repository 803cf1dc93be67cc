"""Immutable files: bodies staged on their way in, then placed under their bucket and key by one rename.

Nothing here decides what is visible: that is the commit of the row in objects.py. A file without a row is an orphan and is swept.

    <folder>/staging/…                          bodies that are arriving
    <folder>/parts/<upload id>/<n>@<generation> parts of multipart uploads
    <folder>/buckets/<bucket>/<key>@<generation>
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dewfall.bodies import StagedBody
from dewfall.engine.disk import leave_room
from dewfall.engine.keypaths import key_path, read_key_path

IN_MEMORY = 64 * 1024
COPY_STEP = 1024 * 1024
READ_ONLY = 0o444
GRACE_SECONDS = 60.0  # a replaced file stays for readers who have looked up its path but not opened it yet


ALWAYS = ("md5", "crc32", "crc64nvme")
HASHES = ("md5", "sha1", "sha256", "sha512")
WIDTHS = {"crc32": 4, "crc32c": 4, "crc64nvme": 8}


class Digests:
    """Running digests over a body, raw bytes by name: md5, sha1, sha256, sha512, crc32, crc32c, crc64nvme, xxhash64, xxhash3, xxhash128."""

    def __init__(self, wanted: Iterable[str] = ()) -> None:
        from awscrt import checksums

        names = {*ALWAYS, *wanted}
        self._hashes: dict[str, Any] = {n: hashlib.new(n, usedforsecurity=False) for n in HASHES if n in names}
        makers = {"xxhash64": "new_xxhash64", "xxhash3": "new_xxhash3_64", "xxhash128": "new_xxhash3_128"}
        self._long: dict[str, Any] = {n: getattr(checksums.XXHash, maker)() for n, maker in makers.items() if n in names}
        self._sums: dict[str, int] = {n: 0 for n in WIDTHS if n in names}
        self._functions: dict[str, Callable[[bytes, int], int]] = {
            "crc32": zlib.crc32,
            "crc32c": checksums.crc32c,
            "crc64nvme": checksums.crc64nvme,
        }

    def update(self, chunk: bytes) -> None:
        for running in (*self._hashes.values(), *self._long.values()):
            running.update(chunk)
        for name, value in self._sums.items():
            self._sums[name] = self._functions[name](chunk, value)

    def result(self) -> dict[str, bytes]:
        sums = {n: v.to_bytes(WIDTHS[n], "big") for n, v in self._sums.items()}
        return {n: h.digest() for n, h in self._hashes.items()} | {n: bytes(h.finalize()) for n, h in self._long.items()} | sums


def digest_bytes(data: bytes, wanted: Iterable[str] = ()) -> dict[str, bytes]:
    """Digests of a body in memory: md5, crc32, crc64nvme, and what is wanted besides."""
    from awscrt import checksums

    digests = {
        "md5": hashlib.md5(data, usedforsecurity=False).digest(),
        "crc32": zlib.crc32(data).to_bytes(4, "big"),
        "crc64nvme": checksums.crc64nvme(data).to_bytes(8, "big"),
    }
    more = set(wanted) - digests.keys()
    if more == {"sha256"}:
        digests["sha256"] = hashlib.sha256(data).digest()
    elif more:
        running = Digests(more)
        running.update(data)
        digests = running.result() | digests
    return digests


def digest_file(path: Path, wanted: Iterable[str] = ()) -> dict[str, bytes]:
    """The same of a file, in constant memory."""
    digests = Digests(wanted)
    with path.open("rb") as file:
        while chunk := file.read(COPY_STEP):
            digests.update(chunk)
    return digests.result()


class Stager:
    """One arriving body. Small ones stay in memory; beyond 64 KiB it becomes a staging file. Not for several threads at once."""

    def __init__(self, folder: Path, wanted: Iterable[str], *, fsync: bool) -> None:
        self._folder = folder
        self._wanted = frozenset(wanted)
        self._fsync = fsync
        self._buffer = bytearray()
        self._size = 0
        self._file: int | None = None
        self._path: Path | None = None
        self._digests: Digests | None = None

    def write(self, chunk: bytes) -> None:
        """The next bytes. OSError when the disk is full: call `abort`."""
        self._buffer += chunk
        self._size += len(chunk)
        if len(self._buffer) > (IN_MEMORY if self._file is None else COPY_STEP // 4):
            self._spill()

    def finish(self) -> StagedBody:
        """The whole body. The file, when there is one, belongs to the caller now."""
        if self._file is None:
            data = bytes(self._buffer)
            return StagedBody(len(data), data=data, digests=digest_bytes(data, self._wanted))
        self._spill()
        assert self._digests is not None
        if self._fsync:
            os.fsync(self._file)
        os.close(self._file)
        self._file = None
        return StagedBody(self._size, path=self._path, digests=self._digests.result())

    def abort(self) -> None:
        """The body will not come: leave nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._buffer.clear()

    def _spill(self) -> None:
        if self._file is None:
            self._path = self._folder / secrets.token_hex(12)
            self._file = create_file(self._path)
            self._digests = Digests(self._wanted)
        assert self._digests is not None
        leave_room(self._folder)
        data = bytes(self._buffer)
        self._buffer.clear()
        self._digests.update(data)
        write_all(self._file, data)


class Blobs:
    """The folder of stored bytes."""

    def __init__(self, folder: Path, fsync: bool = False) -> None:
        self.folder = folder
        self.fsync = fsync
        self.staging = folder / "staging"
        self._graves: deque[tuple[float, Path]] = deque()
        self._keeper: threading.Thread | None = None
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for left in [self.staging, *folder.glob("gone-*")]:  # what an earlier process could not finish
            _empty_aside(left, folder)
        self._open_folders()

    # ------------------------------------------------------------ in

    def stage(self, digests: Iterable[str] = ()) -> Stager:
        """Begin to receive a body. md5, crc32 and crc64nvme are always computed; name sha1, sha256 or crc32c to have them too."""
        return Stager(self.staging, digests, fsync=self.fsync)

    def place(self, body: StagedBody, bucket: str, key: str, generation: int) -> Path:
        """Put a staged body where its version belongs. Not visible until its row commits."""
        return self._put(body, self.path(bucket, key, generation))

    def place_part(self, body: StagedBody, upload: str, number: int, generation: int) -> Path:
        """Put a staged body among an upload's parts."""
        return self._put(body, self.part_path(upload, number, generation))

    def adopt(self, source: Path) -> StagedBody:
        """A staged body out of a finished file: linked where the file system permits, else copied; the source stays. Digests are computed."""
        target = self.staging / secrets.token_hex(12)
        if not _linked(source, target):
            try:
                copy_range([source], target, fsync=self.fsync)
            except BaseException:
                target.unlink(missing_ok=True)
                raise
        os.chmod(target, READ_ONLY)
        return StagedBody(target.stat().st_size, path=target, digests=digest_file(target))

    def join(self, sources: list[Path]) -> StagedBody:
        """One staged body out of several files, inside the kernel where it can. One source is linked, not copied. No digests."""
        target = self.staging / secrets.token_hex(12)
        if len(sources) == 1 and _linked(sources[0], target):
            return StagedBody(target.stat().st_size, path=target)
        try:
            copy_range(sources, target, fsync=self.fsync)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return StagedBody(target.stat().st_size, path=target)

    def cut(self, source: Path, offset: int, length: int, digests: Iterable[str] = ()) -> StagedBody:
        """A staged body out of a range of a stored file, in constant memory."""
        stager = self.stage(digests)
        try:
            for chunk in read_range(source, offset, length):
                stager.write(chunk)
            return stager.finish()
        except BaseException:
            stager.abort()
            raise

    # ------------------------------------------------------------ where

    def path(self, bucket: str, key: str, generation: int) -> Path:
        """The file of a version."""
        return Path(self.file(bucket, key, generation))

    def file(self, bucket: str, key: str, generation: int) -> str:
        """The same as a text, which costs a tenth."""
        return f"{self.folder}/buckets/{bucket}/{key_path(key, generation)}"

    def part_path(self, upload: str, number: int, generation: int) -> Path:
        """The file of a part."""
        return self.folder / "parts" / upload / f"{number}@{generation}"

    # ------------------------------------------------------------ out

    def discard(self, path: Path) -> None:
        """The version is gone: remove its file after a grace for readers that are about to open it."""
        self._graves.append((time.monotonic() + GRACE_SECONDS, path))
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep_graves, name="blobs-discard", daemon=True)
            self._keeper.start()

    def make_room(self) -> None:
        """The disk is full: what is discarded goes now, although somebody may be about to open it."""
        with contextlib.suppress(IndexError):
            while True:
                _unlink_up(self._graves.popleft()[1], self.folder)

    def discard_upload(self, upload: str) -> None:
        """Remove an upload's parts."""
        shutil.rmtree(self.folder / "parts" / upload, ignore_errors=True)

    def discard_bucket(self, bucket: str) -> None:
        """Remove the empty folders of a bucket that is gone; a file that is in one, because the name was taken again, stays."""
        for folder, _, _ in os.walk(self.folder / "buckets" / bucket, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def sweep(self, is_known: Callable[[str, str, int], bool], is_open: Callable[[str], bool], before: int) -> int:
        """Remove orphans older than generation `before`: versions without a row, parts without an upload. How many went."""
        removed = 0
        for bucket, key, generation, path in self._versions():
            if generation < before and not is_known(bucket, key, generation):
                path.unlink(missing_ok=True)
                removed += 1
        for upload in self._names("parts"):
            if not is_open(upload):
                self.discard_upload(upload)
                removed += 1
        return removed

    def reset(self) -> None:
        """Everything is gone at once; the deleting happens behind. What is just arriving finds out when it commits."""
        with self._lock:
            self._graves.clear()
            for name in ("buckets", "parts"):
                _empty_aside(self.folder / name, self.folder)
            self._open_folders()

    # ------------------------------------------------------------ inside

    def _open_folders(self) -> None:
        for name in ("buckets", "parts", "staging"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def _put(self, body: StagedBody, target: Path) -> Path:
        if body.path is not None:
            _in_folder(target, lambda: os.rename(body.path or "", target))
            body.path = None
        else:
            _in_folder(target, lambda: _write_new(target, body.data or b"", fsync=self.fsync))
        if self.fsync:
            _sync_folder(target.parent)
        return target

    def _keep_graves(self) -> None:
        while self._graves:
            with contextlib.suppress(IndexError):  # a reset may empty it meanwhile
                time.sleep(max(0.0, self._graves[0][0] - time.monotonic()))
                _unlink_up(self._graves.popleft()[1], self.folder)
        self._keeper = None

    def _versions(self) -> Iterator[tuple[str, str, int, Path]]:
        for bucket in self._names("buckets"):
            root = self.folder / "buckets" / bucket
            for folder, _, names in os.walk(root):
                for name in names:
                    path = Path(folder, name)
                    read = read_key_path(path.relative_to(root).as_posix())
                    if read is not None:
                        yield bucket, *read, path

    def _names(self, folder: str) -> list[str]:
        try:
            return os.listdir(self.folder / folder)
        except FileNotFoundError:
            return []


def create_file(path: Path) -> int:
    """A new file, open for writing, that nobody can change later by accident."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, READ_ONLY)


def write_all(file: int, data: bytes) -> None:
    """os.write until everything is written."""
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, memoryview(data)[written:])


def read_range(path: Path, offset: int, length: int) -> Iterator[bytes]:
    """A range of a file in steps."""
    with path.open("rb") as file:
        file.seek(offset)
        while length > 0 and (chunk := file.read(min(COPY_STEP, length))):
            length -= len(chunk)
            yield chunk


def copy_range(sources: list[Path], target: Path, *, fsync: bool = False) -> None:
    """Concatenate files by copy_file_range (a shared extent where the file system can), else by sendfile's old way."""
    out = create_file(target)
    try:
        for source in sources:
            with source.open("rb") as file:
                _copy_into(file.fileno(), out)
        if fsync:
            os.fsync(out)
    finally:
        os.close(out)


def _copy_into(source: int, out: int) -> None:
    left = os.fstat(source).st_size
    in_kernel = hasattr(os, "copy_file_range")
    while left > 0:
        if in_kernel:
            try:
                done = os.copy_file_range(source, out, min(left, 1 << 30))
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                in_kernel = False
                continue
        else:
            chunk = os.read(source, COPY_STEP)
            done = len(chunk)
            write_all(out, chunk)
        if done == 0:
            raise OSError(errno.EIO, "a stored file is shorter than its size")
        left -= done


def _in_folder(target: Path, act: Callable[[], None]) -> None:
    """Do something to a path, making its folder when it is missing (and again, should somebody remove it meanwhile)."""
    for _ in range(3):
        try:
            act()
            return
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
    act()


def _write_new(path: Path, data: bytes, *, fsync: bool) -> None:
    file = create_file(path)
    try:
        write_all(file, data)
        if fsync:
            os.fsync(file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _unlink_up(path: Path, stop: Path) -> None:
    """Remove a file and the folders that became empty by it, up to its bucket's."""
    path.unlink(missing_ok=True)
    parent = path.parent
    while stop in parent.parents and parent.parent.name != "buckets" and parent.parent != stop:
        try:
            parent.rmdir()
        except OSError:
            return
        parent = parent.parent


def _empty_aside(folder: Path, root: Path) -> None:
    """Rename a folder out of the way and delete it in a thread, so that the caller doesn't wait for a hundred thousand files."""
    aside = root / f"gone-{secrets.token_hex(8)}"
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return
    threading.Thread(target=shutil.rmtree, args=(aside,), kwargs={"ignore_errors": True}, name="blobs-delete", daemon=True).start()
