"""s3:// URIs → versions → files: the index of stored objects, used by services/s3, job steps and capture alike.

Why one place: a commit here is the switch that makes bytes visible, with its notification in the same transaction.

    body → placed file `<key>@<generation>` ─ transaction: row + outbox ─→ visible
                                            └ anything fails → file removed (or swept after a crash)
"""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dewfall.bodies import StagedBody
from dewfall.engine.blobs import Blobs, digest_bytes, digest_file
from dewfall.engine.buckets import bucket_key, encryption_of, need_bucket, no_such_bucket, no_such_key
from dewfall.engine.disk import is_full as is_full
from dewfall.engine.disk import leave_room
from dewfall.engine.notices import Origin, announce
from dewfall.engine.ports import Record, Store, Tx
from dewfall.engine.small_bodies import SmallBodies
from dewfall.engine.versions import (
    BATCH,
    NULL,
    Version,
    after_key,
    current_from,
    find_version,
    insert_version,
    is_known,
    new_version_id,
    newest,
    overwrite_version,
    remove_null,
    remove_version,
    upload_is_open,
)
from dewfall.errors import AwsError

log = logging.getLogger(__name__)
DEFAULT_TYPE = "binary/octet-stream"
UNASKED, UNASKED_SECONDS = 1 << 20, 0.02  # how much may be written before free space is looked at again
LONGEST_KEY = 1024  # bytes


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One current object version and the file that holds its bytes."""

    bucket: str
    key: str
    version_id: str
    size: int
    etag: str
    modified: datetime
    path: Path
    content_type: str = DEFAULT_TYPE
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(slots=True)
class Draft:
    """A version that is about to be: its bytes, what its readers will be told, and the event that it means."""

    bucket: str
    key: str
    body: StagedBody
    etag: str
    document: dict[str, Any]
    modified: datetime
    storage_class: str = "STANDARD"
    event: str = "ObjectCreated:Put"
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True, slots=True)
class Removal:
    """What a deletion did: the version it made (a marker) or removed; version_id "" where the bucket never had versions."""

    version_id: str
    marker: bool


Paths = list[Path]
# Called inside the transaction with the bucket and the key's newest version; raises to forbid the change.
Check = Callable[[Tx, Record, Version | None], None]


class Objects:
    """Reading and writing by URI, for everyone who is not an S3 client. Raises AwsError NoSuchBucket / NoSuchKey."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self.store = store
        self.blobs = blobs
        self.small = SmallBodies(store, blobs)
        self._lock = threading.Lock()
        self._asked, self._unasked = 0.0, 0  # when there was room, and the bytes written since
        self._last = self._first = time.time_ns()

    # ------------------------------------------------------------ by URI

    def get(self, uri: str) -> StoredObject | None:
        """The current version, or None."""
        bucket, key = split_uri(uri)
        version = self._current(bucket, key)
        return None if version is None else self.stored(version)

    def list(self, prefix_uri: str) -> Iterator[StoredObject]:
        """Current versions below a prefix in UTF-8 binary key order, lazily (100,000 objects must not hurt)."""
        return map(self.stored, self._versions(prefix_uri))

    def files(self, prefix_uri: str) -> Iterator[tuple[str, str, int]]:
        """Key, file and size of what `list` gives, in less time: inputs of jobs have many objects."""
        return ((version.key, self.small.file(version), version.size) for version in self._versions(prefix_uri))

    def _versions(self, prefix_uri: str) -> Iterator[Version]:
        bucket, prefix = split_uri(prefix_uri)
        first = prefix
        while True:
            with self.store.reading() as tx:
                need_bucket(tx, bucket)
                batch = current_from(tx, bucket, prefix, first, BATCH)
            yield from batch
            if len(batch) < BATCH:
                return
            first = after_key(batch[-1].key)

    def find(self, uris: Sequence[str]) -> Iterator[StoredObject | None]:
        """What `get` answers for each of many."""
        for first in range(0, len(uris), BATCH):
            places = [split_uri(uri) for uri in uris[first : first + BATCH]]
            with self.store.reading() as tx:
                versions = [newest(tx, *place) for place in places]
            yield from (None if version is None or version.marker else self.stored(version) for version in versions)

    def read(self, uri: str) -> bytes:
        """The bytes of the current version."""
        bucket, key = split_uri(uri)
        version = self._current(bucket, key)
        if version is None:
            with self.store.reading() as tx:
                need_bucket(tx, bucket)
            raise no_such_key(key)
        return self.path(version).read_bytes()

    def put(self, uri: str, body: bytes | Path | StagedBody, *, content_type: str = "", metadata: dict[str, str] | None = None) -> StoredObject:
        """Write a new current version. A Path on the same file system is moved, not copied. Emits the s3.event notification."""
        bucket, key = split_uri(uri)
        if len(key.encode()) > LONGEST_KEY:
            raise AwsError("KeyTooLongError", "Your key is too long", status=400)
        with self.store.reading() as tx:
            record = need_bucket(tx, bucket)
        staged = self._staged(body)
        document = {"ContentType": content_type or DEFAULT_TYPE, **encryption_of(record.document)}
        if metadata:
            document["Metadata"] = metadata
        document |= {"ChecksumCRC64NVME": base64.b64encode(staged.digests["crc64nvme"]).decode(), "ChecksumType": "FULL_OBJECT"}
        try:
            version = self.commit(Draft(bucket, key, staged, staged.digests["md5"].hex(), document, self._now()))
        except BaseException:
            staged.drop()
            raise
        if isinstance(body, Path):
            body.unlink(missing_ok=True)  # only now: until the commit the caller's file is the only copy that is safe
        return self.stored(version)

    def stored(self, version: Version) -> StoredObject:
        """A version with its file."""
        document = version.document
        return StoredObject(
            version.bucket,
            version.key,
            version.version_id,
            version.size,
            version.etag,
            version.modified,
            self.path(version),
            document.get("ContentType", DEFAULT_TYPE),
            document.get("Metadata", {}),
        )

    def path(self, version: Version) -> Path:
        """The file of a version; a delete marker has none."""
        return self.small.path(version)

    def body(self, version: Version) -> StagedBody:
        """A new body with a version's bytes, linked to its file where that is more than a few bytes. No digests."""
        with self.store.reading() as tx:
            data = self.small.read(tx, version)
        return StagedBody(len(data), data=data) if data is not None else self.blobs.join([self.path(version)])

    # ------------------------------------------------------------ changes

    def commit(self, draft: Draft, check: Check | None = None) -> Version:
        """Make a draft the current version of its key. Takes the body in any case."""
        generation, size, small = self.generation(), draft.body.size, self.small.take(draft.body)
        placed: Path | None = None
        try:
            self._leave_room(size)
            if small is None:
                placed = self.blobs.place(draft.body, draft.bucket, draft.key, generation)
            with self.store.transaction() as tx:
                bucket = tx.records.peek(bucket_key(draft.bucket))
                if bucket is None or (placed is not None and not placed.exists()):  # a reset came between: the bucket is another one of the same name
                    raise no_such_bucket(draft.bucket)
                last = newest(tx, draft.bucket, draft.key)
                if check is not None:
                    check(tx, bucket, last)
                if last is not None and last.generation >= generation:
                    generation = last.generation + 1
                    placed = placed and placed.rename(self.blobs.path(draft.bucket, draft.key, generation))
                version = Version(
                    draft.bucket,
                    draft.key,
                    generation,
                    version_id_of(bucket),
                    True,
                    False,
                    size,
                    draft.etag,
                    draft.modified.replace(microsecond=0),
                    draft.storage_class,
                    draft.document,
                )
                replaced = self._enter(tx, version, last, small)
                announce(tx, bucket, version, draft.event, draft.origin)
        except BaseException as problem:
            draft.body.drop()
            if placed is not None:
                placed.unlink(missing_ok=True)
            if is_full(problem):
                self.blobs.make_room()
                raise disk_full(problem) from problem
            raise
        if small is not None:
            self.small.wake()
        for old in replaced:
            self.blobs.discard(old)
        return version

    def remove(self, bucket: str, key: str, version_id: str | None = None, *, check: Check | None = None, **told: Any) -> Removal:
        """Delete as S3 does: a version for good, or the key (a marker where versioning is or was on). `told`: event, origin.

        `check` gets the version that would go, or None when there is none.
        """
        with self.store.transaction() as tx:
            record = need_bucket(tx, bucket)
            if version_id is None:
                removal, gone = self._remove_current(tx, record, key, check, told)
            else:
                removal, gone = self._remove_version(tx, record, (key, version_id), check, told)
        for path in gone:
            self.blobs.discard(path)
        return removal

    def sweep(self) -> int:
        """Remove the files that a killed process left without a row; how many went. Files that it did not get to write are written."""
        self.small.wake()

        def known(bucket: str, key: str, generation: int) -> bool:
            with self.store.reading() as tx:
                return is_known(tx, bucket, key, generation)

        def is_open(upload: str) -> bool:
            with self.store.reading() as tx:
                return upload_is_open(tx, upload)

        removed = self.blobs.sweep(known, is_open, self._first)
        if removed:
            log.info("orphans swept files=%d", removed)
        return removed

    def generation(self) -> int:
        """A number larger than any before: the clock's nanoseconds, or one more."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns())
            return self._last

    # ------------------------------------------------------------ inside

    def _current(self, bucket: str, key: str) -> Version | None:
        with self.store.reading() as tx:
            version = newest(tx, bucket, key)
        return None if version is None or version.marker else version

    def _leave_room(self, size: int) -> None:
        """`leave_room`, asked again after a few megabytes or a moment: many small writes in a row need not ask each time."""
        now = time.monotonic()
        self._unasked += size
        if self._unasked > UNASKED or now - self._asked > UNASKED_SECONDS:
            leave_room(self.blobs.folder)
            self._unasked, self._asked = 0, now

    def _enter(self, tx: Tx, version: Version, last: Version | None, small: bytes | None = None) -> Paths:
        """Insert a version, with its bytes where they are few; the files it replaces."""
        replaced: list[int] = []
        if last is None:
            insert_version(tx, version, demote=False)
        elif version.version_id == NULL == last.version_id:  # the usual case, in one statement
            overwrite_version(tx, version, last.generation)
            replaced = [] if last.marker else [last.generation]
        else:
            replaced = remove_null(tx, version.bucket, version.key) if version.version_id == NULL else []
            insert_version(tx, version)
        left: Paths = []
        if small is not None:
            former = replaced.pop(0) if replaced else 0
            was_here = self.small.insert(tx, version, small, former)
            left = self._left((version.bucket, version.key, former), was_here=was_here) if former else []
        return left + [path for generation in replaced for path in self._forget(tx, version, generation)]

    def _forget(self, tx: Tx, version: Version, generation: int) -> Paths:
        """A generation of a version's key is gone from the index: its small body goes with it, its file, if any, is the caller's to remove."""
        where = (version.bucket, version.key, generation)
        return self._left(where, was_here=self.small.remove(tx, *where))

    def _left(self, where: tuple[str, str, int], *, was_here: bool) -> Paths:
        return [self.blobs.path(*where)] if self.small.may_have_file(where, was_here=was_here) else []

    def _remove_current(self, tx: Tx, record: Record, key: str, check: Check | None, told: dict[str, Any]) -> tuple[Removal, Paths]:
        bucket, versioning = record.document["Name"], record.document["Versioning"]
        last = newest(tx, bucket, key)
        if check is not None:
            check(tx, record, last)
        event, origin = told.get("event", "ObjectRemoved"), told.get("origin", Origin())
        if not versioning:
            if last is None:
                return Removal("", False), []
            remove_version(tx, last)
            announce(tx, record, last, f"{event}:Delete", origin)
            return Removal("", False), self._forget(tx, last, last.generation)
        generation = max(self.generation(), last.generation + 1 if last else 0)
        marker = Version(bucket, key, generation, version_id_of(record), True, True, 0, "", self._now().replace(microsecond=0), "STANDARD")
        replaced = self._enter(tx, marker, last)
        announce(tx, record, marker, f"{event}:DeleteMarkerCreated", origin)
        return Removal(marker.version_id, True), replaced

    def _remove_version(self, tx: Tx, record: Record, which: tuple[str, str], check: Check | None, told: dict[str, Any]) -> tuple[Removal, Paths]:
        key, version_id = which
        version = find_version(tx, record.document["Name"], key, version_id)
        if check is not None:
            check(tx, record, version)
        if version is None:
            return Removal(version_id if record.document["Versioning"] else "", False), []
        remove_version(tx, version)
        announce(tx, record, version, f"{told.get('event', 'ObjectRemoved')}:Delete", told.get("origin", Origin()))
        return Removal(version_id, version.marker), [] if version.marker else self._forget(tx, version, version.generation)

    def _staged(self, body: bytes | Path | StagedBody) -> StagedBody:
        if isinstance(body, bytes):
            return StagedBody(len(body), data=body, digests=digest_bytes(body))
        if isinstance(body, Path):
            return self.blobs.adopt(body)
        if not {"md5", "crc64nvme"} <= body.digests.keys():
            body.digests = digest_file(body.path) if body.path is not None else digest_bytes(body.data or b"")
        return body

    def _now(self) -> datetime:
        clock: Any = getattr(self.store, "clock", None)
        if clock is None:
            from dewfall.context import SystemClock

            clock = SystemClock()
        now: datetime = clock.now()
        return now


def version_id_of(bucket: Record) -> str:
    """The id that the next version of a bucket gets: 32 characters while versioning is on, else "null"."""
    return new_version_id() if bucket.document["Versioning"] == "Enabled" else NULL


def split_uri(uri: str) -> tuple[str, str]:
    """s3://bucket/key → (bucket, key). ValidationException for anything else."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise AwsError("ValidationException", f"The S3 URI {uri!r} is not valid. It must have the form s3://bucket/key.", status=400)
    return bucket, key


def disk_full(problem: BaseException) -> AwsError:
    """S3's word for its own trouble, with what the user can do about it."""
    log.error("disk is full problem=%s", problem)
    return AwsError("InternalError", f"We encountered an internal error. Please try again. ({problem}; free disk space first.)", status=500)
