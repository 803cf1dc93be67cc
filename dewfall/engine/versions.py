"""Object versions as rows: which is current, what its file is called, and how a bucket's keys are walked in order.

Why apart from objects.py: these are the statements and nothing else; every function works inside the caller's transaction.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dewfall.engine.ports import Tx

NULL = "null"
BATCH = 1000
FEW = 64
LAST = "\U0010ffff"
ABOVE_ALL = 1 << 62


@dataclass(slots=True)
class Version:
    """One row of `objects`. `document` holds what only this version's readers want: ContentType, Metadata, Checksums, Tags …"""

    bucket: str
    key: str
    generation: int
    version_id: str
    current: bool
    marker: bool
    size: int
    etag: str
    modified: datetime
    storage_class: str
    document: dict[str, Any] = field(default_factory=dict)


def new_version_id() -> str:
    """A version id that can be told from an invented one: 24 random characters and 8 that follow from them."""
    text = secrets.token_urlsafe(18).replace("-", ".")
    return text + _seal(text)


def is_version_id(text: str) -> bool:
    """Whether a version with this id may ever have existed."""
    return text == NULL or (len(text) == 32 and text[24:] == _seal(text[:24]))


def _seal(text: str) -> str:
    digest = hashlib.sha256(f"version {text}".encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest[:6]).decode().replace("-", ".")


def newest(tx: Tx, bucket: str, key: str) -> Version | None:
    """The newest version of a key, which may be a delete marker."""
    rows = tx.run("object_newest", bucket=bucket, key=key)
    return read_row(rows[0]) if rows else None


def find_version(tx: Tx, bucket: str, key: str, version_id: str) -> Version | None:
    """A version by its id ("null" for the one made without versioning)."""
    rows = tx.run("object_version", bucket=bucket, key=key, version_id=version_id)
    return read_row(rows[0]) if rows else None


def insert_version(tx: Tx, version: Version, *, demote: bool = True) -> None:
    """Write a new version and make it the current one; `demote` where the key has others."""
    if demote:
        tx.run("object_demote", bucket=version.bucket, key=version.key)
    tx.run("object_insert", version_id=version.version_id, **_columns(version))


def overwrite_version(tx: Tx, version: Version, former: int) -> None:
    """Write a version "null" over the current one, which is "null" as well."""
    tx.run("object_overwrite", former=former, **_columns(version))


def _columns(version: Version) -> dict[str, Any]:
    return {
        "bucket": version.bucket,
        "key": version.key,
        "generation": version.generation,
        "marker": int(version.marker),
        "size": version.size,
        "etag": version.etag,
        "modified": version.modified.timestamp(),
        "storage_class": version.storage_class,
        "document": json.dumps(version.document, ensure_ascii=False, separators=(",", ":")),
    }


def remove_version(tx: Tx, version: Version) -> None:
    """Forget a version; the next newest becomes current."""
    where = {"bucket": version.bucket, "key": version.key}
    rows = tx.run("object_remove", generation=version.generation, **where)
    if rows and rows[0][0]:
        tx.run("object_promote", **where)


def remove_null(tx: Tx, bucket: str, key: str) -> list[int]:
    """Forget the version "null" because a new one takes its place; the generations whose files go with it."""
    return [generation for generation, marker in tx.run("object_remove_null", bucket=bucket, key=key) if not marker]


def is_known(tx: Tx, bucket: str, key: str, generation: int) -> bool:
    """Whether a file has its row."""
    return bool(tx.run("object_known", bucket=bucket, key=key, generation=generation))


def is_empty(tx: Tx, bucket: str) -> bool:
    """Whether a bucket holds nothing, not even a delete marker."""
    return not tx.run("object_any", bucket=bucket)


def upload_is_open(tx: Tx, upload: str) -> bool:
    """Whether a multipart upload is neither completed nor aborted."""
    return bool(tx.run("upload_open", id=upload))


def save_document(tx: Tx, version: Version) -> None:
    """Save a version's changed document."""
    text = json.dumps(version.document, ensure_ascii=False, separators=(",", ":"))
    tx.run("object_document", bucket=version.bucket, key=version.key, generation=version.generation, document=text)


def current_from(tx: Tx, bucket: str, prefix: str, first: str, limit: int) -> list[Version]:
    """Up to `limit` current objects below a prefix, from key `first` (included) on."""
    end = prefix_end(prefix)
    first = max(first, prefix)
    if end is None:
        rows = tx.run("object_list", bucket=bucket, first=first, limit=limit)
    else:
        rows = tx.run("object_list_until", bucket=bucket, first=first, end=end, limit=limit)
    return [read_row(row) for row in rows]


def versions_from(tx: Tx, bucket: str, prefix: str, place: tuple[str, int], limit: int) -> list[Version]:
    """Up to `limit` versions below a prefix behind `place` (key, generation), keys ascending, newest first."""
    end = prefix_end(prefix)
    first, below = place if place[0] >= prefix else (prefix, ABOVE_ALL)
    values = {"bucket": bucket, "first": first, "below": below, "limit": limit}
    rows = tx.run("version_list", **values) if end is None else tx.run("version_list_until", end=end, **values)
    return [read_row(row) for row in rows]


def prefix_end(prefix: str) -> str | None:
    """The first text, in code point order, that is behind every text with this prefix; None when there is no such text."""
    kept = prefix.rstrip(LAST)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)


def after_key(key: str) -> str:
    """The smallest text behind a key."""
    return key + "\x00"


def all_versions(tx: Tx, bucket: str, prefix: str = "") -> Iterator[Version]:
    """Every version of a bucket in order, in batches."""
    place = (prefix, ABOVE_ALL)
    while batch := versions_from(tx, bucket, prefix, place, BATCH):
        yield from batch
        place = (batch[-1].key, batch[-1].generation)


def read_row(row: tuple[Any, ...]) -> Version:
    """A row of one of the statements that return a version."""
    bucket, key, generation, version_id, current, marker, size, etag, modified, storage_class, document = row
    when = datetime.fromtimestamp(modified, UTC)
    return Version(bucket, key, generation, version_id, bool(current), bool(marker), size, etag, when, storage_class, json.loads(document))
