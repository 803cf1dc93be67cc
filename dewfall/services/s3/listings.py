"""ListObjects, ListObjectsV2, ListObjectVersions: keys in byte order, rolled up at a delimiter by skipping, not by counting.

A common prefix costs one seek in the index, however many keys lie below it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from dewfall.context import Ctx
from dewfall.engine.buckets import Document
from dewfall.engine.ports import Tx
from dewfall.engine.versions import ABOVE_ALL, FEW, Version, after_key, current_from, find_version, prefix_end, versions_from
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, check_version_id, invalid_argument, owner_in
from dewfall.services.s3.checksums import algorithm_of

MAX_KEYS = 1000


@dataclass(slots=True)
class Page:
    """What one list answer holds: entries and common prefixes in their common order, and where it stopped."""

    entries: list[Version] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    truncated: bool = False
    last: str = ""  # the last key or common prefix
    last_version: str = ""

    @property
    def count(self) -> int:
        return len(self.entries) + len(self.prefixes)


@operation("s3", "ListObjectsV2")
def list_objects_v2(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    after, token = req.get("StartAfter") or "", req.get("ContinuationToken")
    if token == "":
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", None)
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        limit = limit_of(req)
        page = walk(tx, bucket["Name"], req, read_token(token) if token else after, limit)
    named = bucket if req.get("FetchOwner") else None
    entries = [_entry(version, req, named) for version in page.entries]
    answer = _common(req, bucket, page, limit) | {"KeyCount": page.count, "Contents": entries}
    if token:
        answer["ContinuationToken"] = token
    elif req.get("StartAfter") is not None:
        answer["StartAfter"] = _encoded(req, after)
    if page.truncated:
        answer["NextContinuationToken"] = write_token(page.last)
    return answer


@operation("s3", "ListObjects")
def list_objects(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    marker = req.get("Marker") or ""
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        limit = limit_of(req)
        page = walk(tx, bucket["Name"], req, marker, limit)
    answer = _common(req, bucket, page, limit) | {
        "Marker": _encoded(req, marker),
        "Contents": [_entry(v, req, bucket) for v in page.entries],
    }
    if page.truncated and req.get("Delimiter"):
        answer["NextMarker"] = _encoded(req, page.last)
    return answer


@operation("s3", "ListObjectVersions")
def list_object_versions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    marker, version_marker = req.get("KeyMarker") or "", req.get("VersionIdMarker")
    if version_marker is not None and not marker:
        raise invalid_argument("A version-id marker cannot be specified without a key marker.", "version-id-marker", version_marker)
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        limit = limit_of(req)
        page = walk_versions(tx, bucket, req, (marker, version_marker), limit)
    answer = _common(req, bucket, page, limit) | {
        "KeyMarker": _encoded(req, marker),
        "VersionIdMarker": version_marker or "",
        "Versions": [_version_entry(v, req, bucket) for v in page.entries if not v.marker],
        "DeleteMarkers": [_marker_entry(v, req, bucket) for v in page.entries if v.marker],
    }
    if page.truncated:
        answer["NextKeyMarker"] = _encoded(req, page.last)
        if page.last_version:
            answer["NextVersionIdMarker"] = page.last_version
    return answer


# ---------------------------------------------------------------- walking


def walk(tx: Tx, bucket: str, req: dict[str, Any], after: str, limit: int) -> Page:
    """Current objects behind `after`, rolled up at the delimiter."""
    prefix, delimiter = req.get("Prefix") or "", req.get("Delimiter") or ""

    def fetch(first: tuple[str, int], count: int) -> list[Version]:
        return current_from(tx, bucket, prefix, first[0], count)

    start = (after_key(after) if after else "", ABOVE_ALL)
    return _walk(fetch, start, (prefix, delimiter, after), limit)


def walk_versions(tx: Tx, bucket: Document, req: dict[str, Any], marker: tuple[str, str | None], limit: int) -> Page:
    """Versions behind a marker (key, version id), rolled up at the delimiter."""
    prefix, delimiter = req.get("Prefix") or "", req.get("Delimiter") or ""
    name = bucket["Name"]
    start = (after_key(marker[0]) if marker[0] else "", ABOVE_ALL)
    if marker[1]:
        check_version_id(marker[1])
        found = find_version(tx, name, marker[0], marker[1])
        # A version that is gone was of the page before, and so went all before it: what is left of the key comes next.
        start = (marker[0], found.generation if found is not None else ABOVE_ALL)

    def fetch(first: tuple[str, int], count: int) -> list[Version]:
        return versions_from(tx, name, prefix, first, count)

    return _walk(fetch, start, (prefix, delimiter, marker[0]), limit, versions=True)


Fetch = Callable[[tuple[str, int], int], list[Version]]


def _walk(fetch: Fetch, start: tuple[str, int], asked: tuple[str, str, str], limit: int, *, versions: bool = False) -> Page:
    prefix, delimiter, after = asked
    page, place, rolled = Page(), start, ""
    if limit == 0:
        return page
    size = FEW if delimiter else limit + 1
    while batch := fetch(place, size):
        for version in batch:
            if rolled and version.key.startswith(rolled):
                continue
            cut = version.key.find(delimiter, len(prefix)) if delimiter else -1
            common = version.key[: cut + len(delimiter)] if cut >= 0 else ""
            if common and common <= after:
                rolled = common
                continue
            if page.count == limit:
                page.truncated = True
                return page
            rolled = common
            _add(page, version, common)
        last = batch[-1]
        if len(batch) < size:
            return page
        if rolled and last.key.startswith(rolled):
            end = prefix_end(rolled)
            if end is None:
                return page
            place = (end, ABOVE_ALL)
        else:
            place = (last.key, last.generation) if versions else (after_key(last.key), ABOVE_ALL)
    return page


def _add(page: Page, version: Version, common: str) -> None:
    if common:
        page.prefixes.append(common)
        page.last, page.last_version = common, ""
    else:
        page.entries.append(version)
        page.last, page.last_version = version.key, version.version_id


def limit_of(req: dict[str, Any], member: str = "MaxKeys", name: str = "maxKeys") -> int:
    """max-keys and its kin: at most 1000."""
    limit = req.get(member)
    if limit is None:
        return MAX_KEYS
    check_range(limit, "max-keys" if name == "maxKeys" else name, name)
    return min(int(limit), MAX_KEYS)


def check_range(number: int, label: str, name: str) -> None:
    """InvalidArgument for what is no integer of 0 or more as S3 counts them; `label` in its words, `name` in its members."""
    if number >= 2**31:
        raise invalid_argument(f"Provided {label} not an integer or within integer range", name, number)
    if number < 0:
        raise invalid_argument(f"Argument {label} must be an integer between 0 and 2147483647", name, number)


def write_token(last: str) -> str:
    """An opaque continuation token."""
    return base64.urlsafe_b64encode(b"1" + last.encode("utf-8", "surrogatepass")).decode()


def read_token(token: str) -> str:
    try:
        raw = base64.urlsafe_b64decode(token.encode())
        if raw[:1] != b"1":
            raise ValueError(token)
        return raw[1:].decode("utf-8", "surrogatepass")
    except ValueError:
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", token) from None


# ---------------------------------------------------------------- answers


def _common(req: dict[str, Any], bucket: Document, page: Page, limit: int) -> dict[str, Any]:
    encoding = req.get("EncodingType")
    if encoding not in (None, "", "url"):
        raise invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", encoding)
    answer: dict[str, Any] = {
        "Name": req["Bucket"],
        "Prefix": _encoded(req, req.get("Prefix") or ""),
        "MaxKeys": limit,
        "IsTruncated": page.truncated,
        "CommonPrefixes": [{"Prefix": _encoded(req, prefix)} for prefix in page.prefixes],
        "_headers": {"x-amz-bucket-region": bucket["Region"]},
    }
    if req.get("Delimiter"):
        answer["Delimiter"] = _encoded(req, req["Delimiter"])
    if encoding:
        answer["EncodingType"] = encoding
    return answer


def _encoded(req: dict[str, Any], text: str) -> str:
    return quote_plus(text, safe="/*") if req.get("EncodingType") == "url" else text


def _entry(version: Version, req: dict[str, Any], bucket: Document | None) -> dict[str, Any]:
    """An entry of a list; with its owner where the bucket is given."""
    entry = {
        "Key": _encoded(req, version.key),
        "LastModified": version.modified,
        "ETag": f'"{version.etag}"',
        "Size": version.size,
        "StorageClass": version.storage_class,
    }
    algorithm = algorithm_of(version.document)
    if algorithm:
        entry |= {"ChecksumAlgorithm": [algorithm], "ChecksumType": version.document.get("ChecksumType", "FULL_OBJECT")}
    if bucket is not None:
        entry["Owner"] = owner_in(bucket, version.document)
    if version.document.get("Restore") and "RestoreStatus" in (req.get("OptionalObjectAttributes") or ()):
        entry["RestoreStatus"] = {"IsRestoreInProgress": False}
    return entry


def _version_entry(version: Version, req: dict[str, Any], bucket: Document) -> dict[str, Any]:
    return {**_entry(version, req, bucket), "VersionId": version.version_id, "IsLatest": version.current}


def _marker_entry(version: Version, req: dict[str, Any], bucket: Document) -> dict[str, Any]:
    return {
        "Key": _encoded(req, version.key),
        "VersionId": version.version_id,
        "IsLatest": version.current,
        "LastModified": version.modified,
        "Owner": owner_in(bucket, version.document),
    }
