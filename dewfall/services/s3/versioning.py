"""A bucket's versioning: off, then enabled, then only suspended."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, malformed_xml, open_bucket


@operation("s3", "PutBucketVersioning")
def put_bucket_versioning(ctx: Ctx, req: dict[str, Any]) -> None:
    status = (req.get("VersioningConfiguration") or {}).get("Status")
    if status is None:
        message = "The Versioning element must be specified"
        raise AwsError("IllegalVersioningConfigurationException", message, status=400)
    if status not in ("Enabled", "Suspended"):
        raise malformed_xml()
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        if status == "Suspended" and "ObjectLock" in record.document["Settings"]:
            message = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
            raise AwsError("InvalidBucketState", message, status=409)
        record.document["Versioning"] = status
        tx.records.save(record)


@operation("s3", "GetBucketVersioning")
def get_bucket_versioning(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    status = open_bucket(ctx, req)["Versioning"]
    return {"Status": status} if status else {}
