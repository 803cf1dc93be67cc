"""DeleteObject and DeleteObjects: a key gets its marker, or a version goes for good unless a lock holds it.

Why both here: the second is the first, many times, with errors collected instead of raised.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.buckets import Document, no_such_key
from dewfall.engine.objects import Check, Removal
from dewfall.engine.ports import Record, Tx
from dewfall.engine.versions import Version
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import check_key, check_version_id, invalid_argument, malformed_xml, open_bucket, origin_of, precondition_failed
from dewfall.services.s3.conditions import fits_etag
from dewfall.services.s3.locks import check_delete

LIMIT = 1000
DENIED = "_denied"  # the member of an entry in which authorization says why not
UNKNOWN = ("NoSuchVersion", "The specified version does not exist.")


@operation("s3", "DeleteObject")
def delete_object(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    bucket = open_bucket(ctx, req)
    _check_bypass(bucket, req)
    removal = _delete(ctx, bucket, req, bypass=bool(req.get("BypassGovernanceRetention")))
    answer: dict[str, Any] = {"_status": 204}
    if removal.version_id:
        answer["VersionId"] = removal.version_id
    if removal.marker:
        answer["DeleteMarker"] = True
    return answer


@operation("s3", "DeleteObjects")
def delete_objects(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    bucket = open_bucket(ctx, req)
    asked = (req.get("Delete") or {}).get("Objects")
    if not asked or not all(entry.get("VersionId") for entry in asked):
        _check_bypass(bucket, req)
    if not asked or len(asked) > LIMIT or any(not entry.get("Key") for entry in asked):
        raise malformed_xml()
    deleted, errors = [], []
    for entry in asked:
        told = {name: entry[name] for name in ("Key", "VersionId") if entry.get(name) is not None}
        if DENIED in entry:
            errors.append({**told, "Code": "AccessDenied", "Message": entry[DENIED]})
            continue
        wanted = {**told, "IfMatch": entry.get("ETag"), "IfMatchLastModifiedTime": entry.get("LastModifiedTime"), "IfMatchSize": entry.get("Size")}
        try:
            removal = _delete(ctx, bucket, wanted, bypass=bool(req.get("BypassGovernanceRetention")))
        except AwsError as error:
            code, message = UNKNOWN if error.members.get("ArgumentName") == "versionId" else (error.code, error.message)
            errors.append({**told, "Code": code, "Message": message})
            continue
        deleted.append(told | _shown(removal, entry))
    return {"Deleted": [] if req["Delete"].get("Quiet") else deleted, "Errors": errors}


def _check_bypass(bucket: Document, req: dict[str, Any]) -> None:
    """AWS refuses the header in buckets without locks. Lists of nothing but versions pass here: ceph/s3-tests empties every bucket with such."""
    if req.get("BypassGovernanceRetention") is not None and "ObjectLock" not in bucket["Settings"]:
        message = "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets."
        raise invalid_argument(message, "x-amz-bypass-governance-retention", None)


def _shown(removal: Removal, entry: dict[str, Any]) -> dict[str, Any]:
    if not removal.marker:
        return {}
    return {"DeleteMarker": True, "DeleteMarkerVersionId": removal.version_id}


def _delete(ctx: Ctx, bucket: Document, req: dict[str, Any], *, bypass: bool) -> Removal:
    check_key(req["Key"])
    version_id = req.get("VersionId")
    if version_id is not None:
        check_version_id(version_id)
    check = _check(ctx, req, bypass=bypass)
    return ctx.ports.objects.remove(bucket["Name"], req["Key"], version_id, check=check, origin=origin_of(ctx))


def _check(ctx: Ctx, req: dict[str, Any], *, bypass: bool) -> Check:
    """Conditions and locks, for inside the transaction."""

    def check(tx: Tx, bucket: Record, version: Version | None) -> None:
        _check_conditions(req, version)
        for_good = req.get("VersionId") is not None
        if version is not None and for_good:
            check_delete(ctx, version, bypass=bypass)

    return check


def _check_conditions(req: dict[str, Any], version: Version | None) -> None:
    match, when, size = (req.get(name) for name in ("IfMatch", "IfMatchLastModifiedTime", "IfMatchSize"))
    if match is None and when is None and size is None:
        return
    if version is None or version.marker:
        raise no_such_key(req["Key"])
    if match is not None and not fits_etag(match, version.etag):
        raise precondition_failed("If-Match")
    if when is not None and int(when.timestamp()) != int(version.modified.timestamp()):
        raise precondition_failed("x-amz-if-match-last-modified-time")
    if size is not None and size != version.size:
        raise precondition_failed("x-amz-if-match-size")
