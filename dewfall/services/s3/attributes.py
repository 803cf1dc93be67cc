"""GetObjectAttributes, and RestoreObject: what can be asked and done about a stored version without its bytes.

Why together: both read a version's document and answer a small piece of it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.notices import announce
from dewfall.engine.versions import Version, save_document
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, find_object, http_date, invalid_argument, malformed_xml, origin_of, shown_version
from dewfall.services.s3.checksums import MEMBERS, algorithm_of, members_of
from dewfall.services.s3.content import FROZEN, check_customer_key
from dewfall.services.s3.lifecycle import midnight
from dewfall.services.s3.listings import MAX_KEYS
from dewfall.services.s3.uploads import part_marker

NAMES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")


@operation("s3", "GetObjectAttributes")
def get_object_attributes(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    asked = req["ObjectAttributes"]
    if not asked or any(name not in NAMES for name in asked):
        raise invalid_argument("Invalid attribute name specified.", "x-amz-object-attributes", ",".join(asked))
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        version = find_object(tx, bucket, req["Key"], req.get("VersionId"))
    check_customer_key(version.document, req)
    answer: dict[str, Any] = {"LastModified": version.modified, **shown_version(bucket, version.version_id)}
    checksum = {name: value.partition("-")[0] if name in MEMBERS else value for name, value in members_of(version.document).items()}
    every = {
        "ETag": version.etag,
        "Checksum": checksum or None,
        "ObjectParts": _parts(version, req),
        "StorageClass": version.storage_class,
        "ObjectSize": version.size,
    }
    return answer | {name: every[name] for name in asked if every[name] is not None}


@operation("s3", "RestoreObject")
def restore_object(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """There is no archive to fetch from: the copy is there at once, and the class stays what it was."""
    days = (req.get("RestoreRequest") or {}).get("Days")
    if days is None:
        raise malformed_xml()
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        version = find_object(tx, record.document, req["Key"], req.get("VersionId"), "POST")
        if version.storage_class not in FROZEN:
            message = "Restore is not allowed for the object's current storage class"
            raise AwsError("InvalidObjectState", message, status=403, StorageClass=version.storage_class)
        again = "Restore" in version.document
        until = http_date(midnight(ctx.now() + timedelta(days=days)))
        version.document["Restore"] = f'ongoing-request="false", expiry-date="{until}"'
        save_document(tx, version)
        for event in () if again else ("ObjectRestore:Post", "ObjectRestore:Completed"):
            announce(tx, record, version, event, origin_of(ctx))
    return {"_status": 200 if again else 202}


def _parts(version: Version, req: dict[str, Any]) -> dict[str, Any] | None:
    """The parts of an object that was uploaded so; their list only where the whole has none but theirs."""
    parts = version.document.get("Parts")
    if not parts:
        return None
    found: dict[str, Any] = {"TotalPartsCount": len(parts)}
    if version.document.get("ChecksumType") != "COMPOSITE" or f"Checksum{algorithm_of(version.document)}" not in parts[0]:
        return found
    after, limit = part_marker(req), min(req.get("MaxParts") or MAX_KEYS, MAX_KEYS)
    left = [part for part in parts if part["PartNumber"] > after]
    shown = left[:limit]
    return found | {
        "PartNumberMarker": after,
        "NextPartNumberMarker": shown[-1]["PartNumber"] if shown else 0,
        "MaxParts": limit,
        "IsTruncated": len(left) > limit,
        "Parts": shown,
    }
