"""Buckets and versions as requests name them: checked, found, or refused with S3's words.

Why one place: every operation begins here, so owner checks and missing things are said alike everywhere.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.buckets import Document, bucket_key, need_bucket, no_such_bucket, no_such_key
from dewfall.engine.notices import Origin
from dewfall.engine.ports import Key, Record, Store, Tx
from dewfall.engine.versions import NULL, Version, find_version, is_version_id, newest
from dewfall.errors import AwsError

MAX_KEY = 1024
NOBODY = "anonymous"  # in place of an account: the owner of what an unsigned request has written
_NOBODYS_ID = "65a011a29cdf8ec533ec3d1ccaae921c"
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FORBIDDEN_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_FORBIDDEN_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")


def check_bucket_name(name: str) -> None:
    """InvalidBucketName unless it is a name that S3 would create."""
    fits = _BUCKET_NAME.fullmatch(name) and ".." not in name and ".-" not in name and "-." not in name and not _is_address(name)
    if not fits or name.endswith(_FORBIDDEN_ENDS) or name.startswith(_FORBIDDEN_STARTS[:2]):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", status=400, BucketName=name)


def check_key(key: str) -> None:
    """KeyTooLongError beyond 1024 bytes of UTF-8."""
    size = len(key.encode("utf-8", "surrogatepass")) if len(key) * 4 > MAX_KEY else 0
    if size > MAX_KEY:
        raise AwsError("KeyTooLongError", "Your key is too long", status=400, Size=size, MaxSizeAllowed=MAX_KEY)


def bucket_record(ctx: Ctx, tx: Tx, req: dict[str, Any], *, owner_member: str = "ExpectedBucketOwner") -> Record:
    """The request's bucket; NoSuchBucket, or AccessDenied when it is not of the expected owner."""
    record = need_bucket(tx, req["Bucket"])
    check_owner(record.document, req.get(owner_member))
    return record


def open_bucket(ctx: Ctx, req: dict[str, Any]) -> Document:
    """The bucket's document, for who only looks at it; refused as `bucket_record` refuses."""
    record = ctx.ports.store.peek(bucket_key(req["Bucket"]))
    if record is None:
        raise no_such_bucket(req["Bucket"])
    check_owner(record.document, req.get("ExpectedBucketOwner"))
    return record.document


def check_owner(bucket: Document, expected: str | None) -> None:
    """x-amz-expected-bucket-owner."""
    if expected is None:
        return
    if not re.fullmatch(r"\d{12}", expected):
        message = f"The value of the expected bucket owner parameter must be an AWS Account ID... [{expected}]"
        raise AwsError("InvalidBucketOwnerAWSAccountID", message, status=400)
    if expected != bucket["Account"]:
        raise AwsError("AccessDenied", "Access Denied", status=403)


def find_object(tx: Tx, bucket: Document, key: str, version_id: str | None, method: str = "GET") -> Version:
    """The version that a read means; NoSuchKey, NoSuchVersion, or MethodNotAllowed for a delete marker asked for by its id."""
    check_key(key)
    if version_id is None:
        version = newest(tx, bucket["Name"], key)
        if version is None:
            raise no_such_key(key)
        if version.marker:
            error = no_such_key(key)
            error.headers = {"x-amz-delete-marker": "true", "x-amz-version-id": version.version_id}
            raise error
        return version
    check_version_id(version_id)
    version = find_version(tx, bucket["Name"], key, version_id)
    if version is None:
        raise AwsError("NoSuchVersion", "The specified version does not exist.", status=404, Key=key, VersionId=version_id)
    if version.marker:
        raise marker_forbidden(version, method)
    return version


def check_version_id(version_id: str) -> None:
    """InvalidArgument for what is no version id at all."""
    if version_id == "":
        raise invalid_argument("Version id cannot be the empty string", "versionId", "")
    if not is_version_id(version_id):
        raise invalid_argument("Invalid version id specified", "versionId", version_id)


def marker_forbidden(version: Version, method: str) -> AwsError:
    """A delete marker can only be deleted."""
    headers = {
        "x-amz-delete-marker": "true",
        "x-amz-version-id": version.version_id,
        "Allow": "DELETE",
        "Last-Modified": http_date(version.modified),
    }
    message = "The specified method is not allowed against this resource."
    return AwsError("MethodNotAllowed", message, status=405, headers=headers, Method=method, ResourceType="DeleteMarker")


def invalid_argument(message: str, name: str, value: Any) -> AwsError:
    return AwsError("InvalidArgument", message, status=400, ArgumentName=name, ArgumentValue=value)


def invalid_request(message: str) -> AwsError:
    return AwsError("InvalidRequest", message, status=400)


def malformed_xml() -> AwsError:
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    return AwsError("MalformedXML", message, status=400)


def precondition_failed(condition: str) -> AwsError:
    return AwsError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", status=412, Condition=condition)


def canonical_id(account: str) -> str:
    """An account's canonical user id."""
    return _NOBODYS_ID if account == NOBODY else hashlib.sha256(f"canonical user of {account}".encode()).hexdigest()


def owner_of(bucket: Document) -> dict[str, str]:
    """A bucket's Owner structure. AWS gave its display names up, older clients still read them."""
    return {"DisplayName": bucket["Account"], "ID": canonical_id(bucket["Account"])}


def account_block_key(account: str) -> Key:
    """Where an account's public access block is kept."""
    return Key(account, "", "s3", "account-block", "public-access")


def is_blocked(store: Store, bucket: Document, name: str) -> bool:
    """Whether the bucket's public access block, or its account's, was put and says so."""
    block = bucket["Settings"].get("PublicAccessBlock")
    if isinstance(block, dict) and block.get(name):
        return True
    record = store.peek(account_block_key(bucket["Account"]))
    return record is not None and bool(record.document.get(name))


def owner_in(bucket: Document, document: Document) -> dict[str, str]:
    """The Owner structure of an object or upload in a bucket: the bucket's, where its document names no other account."""
    return owner_of({"Account": document.get("Owner") or bucket["Account"]})


def origin_of(ctx: Ctx) -> Origin:
    """Who makes a change, for its notification."""
    return Origin(f"AWS:{ctx.caller.user_id}", ctx.source_ip, ctx.request_id)


def shown_version(bucket: Document, version_id: str) -> dict[str, str]:
    """The VersionId member of a read, where the bucket has or had versions."""
    return {"VersionId": version_id} if bucket["Versioning"] else {}


def made_version(version_id: str) -> dict[str, str]:
    """The VersionId member of a write, which does not speak of the version "null"."""
    return {"VersionId": version_id} if version_id != NULL else {}


def moment(value: Any) -> datetime:
    """A stored moment as a datetime."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def http_date(when: datetime) -> str:
    """A moment as headers write it."""
    return format_datetime(when.astimezone(UTC), usegmt=True)


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
