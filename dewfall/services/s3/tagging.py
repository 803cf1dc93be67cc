"""Tags of objects and buckets.

Object tags live in the version's document, bucket tags among the bucket's settings.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from dewfall.context import Ctx
from dewfall.engine.buckets import Document
from dewfall.engine.notices import announce
from dewfall.engine.ports import Tx
from dewfall.engine.versions import Version, newest, save_document
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, find_object, invalid_argument, malformed_xml, marker_forbidden, origin_of, shown_version

OBJECT_LIMIT, BUCKET_LIMIT = 10, 50
SYSTEM_TAG, RESERVED = "System tags cannot be added/updated by requester", "Your TagKey cannot be prefixed with aws:"
_ALLOWED = re.compile(r"[\w\s+\-=.:/@]*")


@operation("s3", "PutObjectTagging")
def put_object_tagging(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _save(ctx, req, read_set(req.get("Tagging", {}).get("TagSet"), OBJECT_LIMIT), "Put")


@operation("s3", "GetObjectTagging")
def get_object_tagging(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        version = _find(tx, bucket, req, "GET")
    return {"TagSet": tag_set(version.document.get("Tags", {})), **shown_version(bucket, version.version_id)}


@operation("s3", "DeleteObjectTagging")
def delete_object_tagging(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {**_save(ctx, req, {}, "Delete"), "_status": 204}


@operation("s3", "PutBucketTagging")
def put_bucket_tagging(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    tags = read_set(req.get("Tagging", {}).get("TagSet"), BUCKET_LIMIT)
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        record.document["Settings"]["Tags"] = tags
        tx.records.save(record)
    return {"_status": 204}


@operation("s3", "GetBucketTagging")
def get_bucket_tagging(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        tags = bucket_record(ctx, tx, req).document["Settings"].get("Tags")
    if not tags:
        raise AwsError("NoSuchTagSet", "The TagSet does not exist", status=404, BucketName=req["Bucket"])
    return {"TagSet": tag_set(tags)}


@operation("s3", "DeleteBucketTagging")
def delete_bucket_tagging(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        if record.document["Settings"].pop("Tags", None) is not None:
            tx.records.save(record)
    return {"_status": 204}


def tag_set(tags: dict[str, str]) -> list[dict[str, str]]:
    """Stored tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def read_set(tags: list[dict[str, str]] | None, limit: int) -> dict[str, str]:
    """A TagSet, checked."""
    if tags is None or any("Key" not in tag or "Value" not in tag for tag in tags):
        raise malformed_xml()
    found: dict[str, str] = {}
    for tag in tags:
        check_tag(tag["Key"], tag["Value"], SYSTEM_TAG if limit == BUCKET_LIMIT else RESERVED)
        if tag["Key"] in found:
            raise invalid_tag("Cannot provide multiple Tags with the same key", tag["Key"])
        found[tag["Key"]] = tag["Value"]
    if len(found) > limit:
        kind = "Object tags" if limit == OBJECT_LIMIT else "Bucket tag count"
        raise AwsError("BadRequest", f"{kind} cannot be greater than {limit}", status=400)
    return found


def read_header(text: str) -> dict[str, str]:
    """x-amz-tagging: URL-encoded pairs."""
    pairs = parse_qsl(text, keep_blank_values=True)
    if len({key for key, _ in pairs}) != len(pairs) or not pairs or any(part.count("=") > 1 for part in text.split("&")):
        message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
        raise invalid_argument(message, "x-amz-tagging", text)
    return read_set([{"Key": key, "Value": value} for key, value in pairs], OBJECT_LIMIT)


def check_tag(key: str, value: str, reserved: str) -> None:
    """Lengths and letters; `aws:` is the system's."""
    if not 0 < len(key) <= 128 or not _ALLOWED.fullmatch(key):
        raise invalid_tag("The TagKey you have provided is invalid", key)
    if len(value) > 256 or not _ALLOWED.fullmatch(value):
        raise AwsError("InvalidTag", "The TagValue you have provided is invalid", status=400, TagKey=key, TagValue=value)
    if key.lower().startswith("aws:"):
        raise invalid_tag(reserved, key)


def invalid_tag(message: str, key: str | None) -> AwsError:
    return AwsError("InvalidTag", message, status=400, TagKey=key)


def _find(tx: Tx, bucket: Document, req: dict[str, Any], method: str) -> Version:
    """The version whose tags are meant; a delete marker is refused as such even when no version was named."""
    last = newest(tx, bucket["Name"], req["Key"])
    if req.get("VersionId") is None and last is not None and last.marker:
        raise marker_forbidden(last, method)
    try:
        return find_object(tx, bucket, req["Key"], req.get("VersionId"), method)
    except AwsError as error:
        if error.code == "NoSuchKey" and method == "GET":
            error.members["Key"] = f"{bucket['Name']}/{req['Key']}"  # as AWS says it here and nowhere else
        raise


def _save(ctx: Ctx, req: dict[str, Any], tags: dict[str, str], event: str) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        version = _find(tx, record.document, req, event.upper())
        version.document.pop("Tags", None)
        if tags:
            version.document["Tags"] = tags
        save_document(tx, version)
        announce(tx, record, version, f"ObjectTagging:{event}", origin_of(ctx))
    return shown_version(record.document, version.version_id)
