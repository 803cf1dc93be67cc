"""Small bodies: committed in the row's own transaction, and written to their file a moment later.

Why: making a file takes longer than all the rest of a small write. Who needs the file before it is there (a job's channel) gets it written at once.

    commit → row in `bodies` ─ quiet for a moment ─→ file placed → row forgotten
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import threading
import time
from pathlib import Path

from dewfall.bodies import StagedBody
from dewfall.engine.blobs import Blobs, create_file, write_all
from dewfall.engine.ports import Store, Tx
from dewfall.engine.versions import Version

log = logging.getLogger(__name__)
LIMIT = 8 * 1024
QUIET, LONGEST = 0.5, 10.0  # seconds without a write that begin the writing of files; and how long it waits at most
BATCH = 100
MEMORY, ENTRY = 4 * 1024 * 1024, 512  # bytes of bodies that are remembered, each counted with what it takes besides
Where = tuple[str, str, int]  # bucket, key, generation


class SmallBodies:
    """The bodies whose files are yet to be written."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None
        self._last = 0.0
        self._since = time.time_ns()  # bodies of an earlier process may have a file and a row
        self._written: set[Where] = set()  # those of this one that have both
        self._memory: dict[Where, bytes] = {}
        self._remembered = 0

    def take(self, body: StagedBody) -> bytes | None:
        """The bytes of a body that belongs here, else None."""
        return body.data if body.size <= LIMIT else None

    def insert(self, tx: Tx, version: Version, data: bytes, former: int = 0) -> bool:
        """Keep a version's bytes, in place of a former generation's where those were here (whether they were); call `wake` after the commit."""
        where = {"bucket": version.bucket, "key": version.key, "generation": version.generation}
        if former and tx.run("body_replace", data=data, former=former, **where):
            return True
        tx.run("body_insert", data=data, **where)
        return False

    def remove(self, tx: Tx, bucket: str, key: str, generation: int) -> bool:
        """The version is gone, or has its file; whether its bytes were here."""
        return bool(tx.run("body_remove", bucket=bucket, key=key, generation=generation))

    def may_have_file(self, where: Where, *, was_here: bool) -> bool:
        """Whether a version that is gone may have left a file: not while its bytes were only here."""
        self._memory.pop(where, None)
        if where in self._written:
            self._written.discard(where)
            return True
        return not was_here or where[2] < self._since

    def read(self, tx: Tx, version: Version) -> bytes | None:
        """A version's bytes, None when they are in its file."""
        if version.size > LIMIT:
            return None
        rows = tx.run("body_get", bucket=version.bucket, key=version.key, generation=version.generation)
        return bytes(rows[0][0]) if rows else None

    def recall(self, tx: Tx, version: Version) -> bytes | None:
        """A version's bytes from memory, its row or its file, None when they are too many: what is read once is likely to be read again."""
        if version.size > LIMIT:
            return None
        where = (version.bucket, version.key, version.generation)
        data = self._memory.get(where)
        if data is None:
            data = self.read(tx, version)
            if data is None:
                with contextlib.suppress(OSError):
                    data = self._blobs.path(*where).read_bytes()
            if data is None or len(data) != version.size:
                return None
            self._remember(where, data)
        return data

    def path(self, version: Version) -> Path:
        """A version's file, written now if it was not yet."""
        return Path(self.file(version))

    def file(self, version: Version) -> str:
        """The same as a text."""
        path = self._blobs.file(version.bucket, version.key, version.generation)
        if version.size <= LIMIT and not os.path.exists(path):
            where = (version.bucket, version.key, version.generation)
            self._written.add(where)  # before it is looked for, so that who removes the version meanwhile knows of the file
            with self._store.reading() as tx:
                data = self.read(tx, version)
            if data is not None:
                self._write(where, data)
        return path

    def wake(self) -> None:
        """There is something to be written when it is quiet."""
        self._last = time.monotonic()
        if self._writer is None:
            with self._lock:
                if self._writer is None:
                    self._writer = threading.Thread(target=self._run, name="small-bodies", daemon=True)
                    self._writer.start()

    def write_out(self) -> int:
        """Write a batch of files and forget their rows; how many."""
        with self._store.reading() as tx:
            rows = tx.run("body_list", limit=BATCH)
        for bucket, key, generation, data in rows:
            self._write((bucket, key, generation), bytes(data))
        if rows:
            with self._store.transaction() as tx:
                gone = [row[:3] for row in rows if not self.remove(tx, *row[:3])]
            self._written.difference_update(row[:3] for row in rows)
            for where in gone:  # deleted while it was being written
                self._blobs.path(*where).unlink(missing_ok=True)
        return len(rows)

    def _remember(self, where: Where, data: bytes) -> None:
        with self._lock:
            if self._remembered + len(data) > MEMORY:
                self._memory.clear()
                self._remembered = 0
            self._memory[where] = data
            self._remembered += len(data) + ENTRY

    def _write(self, where: Where, data: bytes) -> None:
        staged = self._blobs.staging / secrets.token_hex(12)
        file = create_file(staged)
        try:
            write_all(file, data)
            if self._blobs.fsync:
                os.fsync(file)
        finally:
            os.close(file)
        self._blobs.place(StagedBody(len(data), path=staged), *where)

    def _run(self) -> None:
        try:
            while True:
                self._wait()
                while self.write_out():
                    time.sleep(0)
                with self._lock:
                    if time.monotonic() - self._last >= QUIET:
                        self._writer = None
                        return
        except (sqlite3.Error, OSError) as problem:  # the house is closing, or the disk is full: the rows stay and are written later
            log.info("small bodies stay in the database problem=%s", problem)
            self._writer = None

    def _wait(self) -> None:
        began = time.monotonic()
        while time.monotonic() - self._last < QUIET and time.monotonic() - began < LONGEST:
            time.sleep(QUIET / 4)
