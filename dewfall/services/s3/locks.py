"""Object lock: a bucket's configuration, retention and legal hold of versions, and what they forbid.

A locked version cannot be deleted; governance can be bypassed by those who may, compliance and a legal hold by nobody.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.buckets import Document
from dewfall.engine.versions import Version, save_document
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, find_object, invalid_argument, invalid_request, malformed_xml, moment

MODES = ("GOVERNANCE", "COMPLIANCE")


@operation("s3", "PutObjectLockConfiguration")
def put_object_lock_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    configuration = req.get("ObjectLockConfiguration")
    if configuration is None:
        raise AwsError("MissingRequestBodyError", "Request Body is empty", status=400)
    if configuration.get("ObjectLockEnabled") != "Enabled":
        raise malformed_xml()
    if "Rule" in configuration:
        _check_default(configuration["Rule"].get("DefaultRetention") or {})
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        if record.document["Versioning"] != "Enabled":
            raise AwsError("InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration", status=409)
        record.document["Settings"]["ObjectLock"] = configuration
        tx.records.save(record)
    return {}


@operation("s3", "GetObjectLockConfiguration")
def get_object_lock_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        configuration = bucket_record(ctx, tx, req).document["Settings"].get("ObjectLock")
    if configuration is None:
        message = "Object Lock configuration does not exist for this bucket"
        raise AwsError("ObjectLockConfigurationNotFoundError", message, status=404, BucketName=req["Bucket"])
    return {"ObjectLockConfiguration": configuration}


@operation("s3", "PutObjectRetention")
def put_object_retention(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    retention = req.get("Retention") or {}
    mode, until = retention.get("Mode"), retention.get("RetainUntilDate")
    if (mode is None) != (until is None) or (mode is not None and mode not in MODES):
        raise malformed_xml()
    with ctx.ports.store.transaction() as tx:
        bucket = bucket_record(ctx, tx, req).document
        version = find_object(tx, bucket, req["Key"], req.get("VersionId"), "PUT")
        need_lock(bucket)
        if until is not None and moment(until) <= ctx.now():
            raise invalid_argument("The retain until date must be in the future!", "RetainUntilDate", moment(until).isoformat())
        _check_change(ctx, version, (mode, until), bypass=bool(req.get("BypassGovernanceRetention")))
        _set(version.document, ObjectLockMode=mode, ObjectLockRetainUntilDate=moment(until).isoformat() if until else None)
        save_document(tx, version)
    return {}


@operation("s3", "GetObjectRetention")
def get_object_retention(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    document = _locked_document(ctx, req)
    if "ObjectLockMode" not in document:
        raise no_lock()
    return {"Retention": {"Mode": document["ObjectLockMode"], "RetainUntilDate": moment(document["ObjectLockRetainUntilDate"])}}


@operation("s3", "PutObjectLegalHold")
def put_object_legal_hold(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    status = (req.get("LegalHold") or {}).get("Status")
    if status not in ("ON", "OFF"):
        raise malformed_xml()
    with ctx.ports.store.transaction() as tx:
        bucket = bucket_record(ctx, tx, req).document
        version = find_object(tx, bucket, req["Key"], req.get("VersionId"), "PUT")
        need_lock(bucket)
        _set(version.document, ObjectLockLegalHoldStatus=status)
        save_document(tx, version)
    return {}


@operation("s3", "GetObjectLegalHold")
def get_object_legal_hold(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    document = _locked_document(ctx, req)
    if "ObjectLockLegalHoldStatus" not in document:
        raise no_lock()
    return {"LegalHold": {"Status": document["ObjectLockLegalHoldStatus"]}}


def of_new(ctx: Ctx, bucket: Document, req: dict[str, Any]) -> Document:
    """The lock members of a new version: the writer's, else the bucket's default retention."""
    mode, until, hold = (req.get(name) for name in ("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus"))
    configuration = bucket["Settings"].get("ObjectLock")
    if not (mode or until or hold or configuration):
        return {}
    if (mode is None) != (until is None):
        missing = "x-amz-object-lock-mode" if mode is None else "x-amz-object-lock-retain-until-date"
        raise invalid_argument("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied", missing, None)
    if mode is not None and mode not in MODES:
        raise invalid_argument("Unknown wormMode directive.", "x-amz-object-lock-mode", mode)
    if hold is not None and hold not in ("ON", "OFF"):
        raise invalid_argument("Legal Hold must be either of 'ON' or 'OFF'", "x-amz-object-lock-legal-hold", hold)
    if until is not None and moment(until) <= ctx.now():
        raise invalid_argument("The retain until date must be in the future!", "x-amz-object-lock-retain-until-date", moment(until).isoformat())
    if configuration is None:
        need_lock(bucket)
    default = ((configuration or {}).get("Rule") or {}).get("DefaultRetention")
    if mode is None and default:
        mode, until = default["Mode"], ctx.now() + timedelta(days=default.get("Days") or 365 * default.get("Years", 0))
    document: Document = {}
    _set(document, ObjectLockMode=mode, ObjectLockRetainUntilDate=moment(until).isoformat() if until else None, ObjectLockLegalHoldStatus=hold)
    return document


def check_delete(ctx: Ctx, version: Version, *, bypass: bool) -> None:
    """AccessDenied when a lock holds the version."""
    document = version.document
    held = document.get("ObjectLockLegalHoldStatus") == "ON"
    mode = document.get("ObjectLockMode")
    retained = mode is not None and moment(document["ObjectLockRetainUntilDate"]) > ctx.now()
    if held or (retained and not (mode == "GOVERNANCE" and bypass)):
        raise locked()


def locked() -> AwsError:
    return AwsError("AccessDenied", "Access Denied because object protected by object lock.", status=403)


def no_lock() -> AwsError:
    return AwsError("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration", status=404)


def need_lock(bucket: Document) -> None:
    """InvalidRequest where the bucket has no object lock."""
    if "ObjectLock" not in bucket["Settings"]:
        raise invalid_request("Bucket is missing Object Lock Configuration")


def _locked_document(ctx: Ctx, req: dict[str, Any]) -> Document:
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        version = find_object(tx, bucket, req["Key"], req.get("VersionId"))
    need_lock(bucket)
    return version.document


def _check_change(ctx: Ctx, version: Version, wanted: tuple[str | None, Any], *, bypass: bool) -> None:
    """A running retention may be prolonged; weakened only in governance mode, with the bypass."""
    document = version.document
    mode = document.get("ObjectLockMode")
    if mode is None:
        return
    kept: datetime = moment(document["ObjectLockRetainUntilDate"])
    stronger = wanted[1] is not None and moment(wanted[1]) >= kept and wanted[0] == mode
    if kept > ctx.now() and not stronger and not (mode == "GOVERNANCE" and bypass):
        raise locked()


def _check_default(default: dict[str, Any]) -> None:
    if default.get("Mode") not in MODES or ("Days" in default) == ("Years" in default):
        raise malformed_xml()
    for name, longest in (("Days", 36_500), ("Years", 100)):
        if name in default and default[name] <= 0:
            raise invalid_argument("Default retention period must be a positive integer value.", name, default[name])
        if name in default and default[name] > longest:
            raise invalid_argument("Default retention period too large.", name, default[name])


def _set(document: Document, **members: str | None) -> None:
    for name, value in members.items():
        if value is None:
            document.pop(name, None)
        else:
            document[name] = value
