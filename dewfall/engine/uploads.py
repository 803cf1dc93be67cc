"""Multipart uploads and their parts as rows.

Why apart from versions.py: nothing of an upload is visible as an object until it is completed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dewfall.engine.ports import Tx


@dataclass(slots=True)
class Upload:
    """An open upload. `document`: what the object will say of itself, and `Upload` {StorageClass, ChecksumAlgorithm, ChecksumType, …}."""

    id: str
    bucket: str
    key: str
    initiated: datetime
    document: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Part:
    """A part as it was uploaded last. `document` holds its digests as base64: Checksum<NAME> shown, others for combining."""

    number: int
    generation: int
    size: int
    etag: str
    modified: datetime
    document: dict[str, Any] = field(default_factory=dict)


def insert_upload(tx: Tx, upload: Upload) -> None:
    """Begin an upload."""
    tx.run(
        "upload_insert",
        id=upload.id,
        bucket=upload.bucket,
        key=upload.key,
        initiated=upload.initiated.timestamp(),
        document=json.dumps(upload.document, ensure_ascii=False),
    )


def find_upload(tx: Tx, bucket: str, key: str, upload: str) -> Upload | None:
    """An open upload of this bucket and key."""
    rows = tx.run("upload_get", id=upload, bucket=bucket, key=key)
    return _upload(rows[0]) if rows else None


def uploads_from(tx: Tx, bucket: str, place: tuple[str, str], limit: int) -> list[Upload]:
    """Open uploads behind a place (key, id), by key and id."""
    return [_upload(row) for row in tx.run("upload_list", bucket=bucket, key=place[0], id=place[1], limit=limit)]


def remove_upload(tx: Tx, upload: str) -> bool:
    """The upload is completed or aborted; False when somebody was faster."""
    tx.run("part_remove", upload=upload)
    return bool(tx.run("upload_remove", id=upload))


def put_part(tx: Tx, upload: str, part: Part) -> None:
    """A part, for the first time or again."""
    tx.run(
        "part_put",
        upload=upload,
        number=part.number,
        generation=part.generation,
        size=part.size,
        etag=part.etag,
        modified=part.modified.timestamp(),
        document=json.dumps(part.document),
    )


def find_part(tx: Tx, upload: str, number: int) -> Part | None:
    """The part that a number has now."""
    rows = tx.run("part_get", upload=upload, number=number)
    return _part(rows[0]) if rows else None


def parts_from(tx: Tx, upload: str, after: int, limit: int) -> list[Part]:
    """Parts by number, behind a number."""
    return [_part(row) for row in tx.run("part_list", upload=upload, after=after, limit=limit)]


def _upload(row: tuple[Any, ...]) -> Upload:
    upload, bucket, key, initiated, document = row
    return Upload(upload, bucket, key, datetime.fromtimestamp(initiated, UTC), json.loads(document))


def _part(row: tuple[Any, ...]) -> Part:
    number, generation, size, etag, modified, document = row
    return Part(number, generation, size, etag, datetime.fromtimestamp(modified, UTC), json.loads(document))
