"""Other names of a bucket: an access point's ARN, its host name `<name>-<account>`, or its alias.

Why before authorization: from there on a request names the bucket itself, so that no operation knows of access points.
"""

from __future__ import annotations

import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.buckets import bucket_key
from dewfall.engine.ports import Key
from dewfall.errors import AwsError
from dewfall.services.s3.copies import read_source

ALIAS_ENDS = "-s3alias"
ALIASES = ("", "", "s3", "access-point-alias")  # of all accounts; each record's parent is the bucket behind
_ARN = re.compile(r"arn:[^:]+:s3:([^:]*):(\d{12}):accesspoint[/:]([^/:]+)")
_HOST = re.compile(r"(.+)-(\d{12})")
# What AWS lets access points do, besides the operations that name a key.
THROUGH_POINTS = frozenset(
    [
        "DeleteObjects",
        "GetBucketAcl",
        "GetBucketCors",
        "GetBucketLocation",
        "GetBucketNotificationConfiguration",
        "GetBucketPolicy",
        "HeadBucket",
        "ListMultipartUploads",
        "ListObjectVersions",
        "ListObjects",
        "ListObjectsV2",
    ]
)


def point_key(account: str, region: str, name: str) -> Key:
    """Where an access point is kept."""
    return Key(account, region, "s3", "access-point", name)


def alias_key(alias: str) -> Key:
    """Where an alias is kept: aliases are unique over all accounts."""
    return Key(*ALIASES, alias)


def no_such_point(name: str) -> AwsError:
    """There is no access point of this name."""
    return AwsError("NoSuchAccessPoint", "The specified accesspoint does not exist", status=404, AccessPointName=name)


def name_bucket(ctx: Ctx, operation: str, req: dict[str, Any]) -> None:
    """Put the bucket's own name in a request that named it otherwise. Nobody makes, changes or deletes a bucket by its other names."""
    name = req.get("Bucket")
    served = "Key" in req or operation in THROUGH_POINTS
    if served and isinstance(name, str) and (bucket := bucket_behind(ctx, name)) is not None:
        req["Bucket"] = bucket
    if req.get("CopySource"):
        name, key, version = read_source(req["CopySource"])
        if (bucket := bucket_behind(ctx, name)) is not None:
            req["CopySource"] = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version is not None else {})}


def bucket_behind(ctx: Ctx, name: str) -> str | None:
    """The bucket that another name stands for; None for a name that is a bucket's own, or nobody's."""
    peek = ctx.ports.store.peek
    if arn := _ARN.fullmatch(name):
        point = peek(point_key(arn[2], arn[1], arn[3]))
        if point is None:
            raise no_such_point(arn[3])
    elif name.endswith(ALIAS_ENDS):
        alias = peek(alias_key(name))
        point = peek(point_key(*(alias.document[part] for part in ("Account", "Region", "Name")))) if alias else None
    elif (host := _HOST.fullmatch(name)) and peek(bucket_key(name)) is None:
        point = peek(point_key(host[2], ctx.region, host[1]))
    else:
        return None
    return str(point.document["Bucket"]) if point is not None else None
