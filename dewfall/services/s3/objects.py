"""PutObject, GetObject, HeadObject: bytes in, bytes out.

The body was received and digested before the operation runs; an answer is a range of the stored file that the server sends by itself.
"""

from __future__ import annotations

import re
from typing import Any

from dewfall.bodies import FileRange
from dewfall.context import Ctx
from dewfall.engine.buckets import Document
from dewfall.engine.objects import Draft
from dewfall.engine.versions import Version
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3 import jumpstart, lifecycle
from dewfall.services.s3.access import check_key, find_object, invalid_argument, invalid_request, made_version, open_bucket, origin_of
from dewfall.services.s3.checksums import MEMBERS, members_of, staged, verify
from dewfall.services.s3.conditions import check_read, write_check
from dewfall.services.s3.content import FROZEN, LOCKS, check_customer_key, describe, expires_text, shown_encryption, storage_class, told

MAX_PUT = 5 * 1024**3
_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*")
OVERRIDES = {
    "ResponseCacheControl": "CacheControl",
    "ResponseContentDisposition": "ContentDisposition",
    "ResponseContentEncoding": "ContentEncoding",
    "ResponseContentLanguage": "ContentLanguage",
    "ResponseContentType": "ContentType",
}


@operation("s3", "PutObject")
def put_object(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    body = staged(req)
    try:
        check_key(req["Key"])
        bucket = open_bucket(ctx, req)
        if body.size > MAX_PUT:
            message = "Your proposed upload exceeds the maximum allowed size"
            raise AwsError("EntityTooLarge", message, status=400, ProposedSize=body.size, MaxSizeAllowed=MAX_PUT)
        if req.get("WriteOffsetBytes") is not None:
            raise AwsError("NotImplemented", "A header you provided implies functionality that is not implemented", status=501)
        document = describe(ctx, bucket, req)
        if not document.keys().isdisjoint(LOCKS) and not any(req.get(name) is not None for name in ("ContentMD5", *MEMBERS)):
            raise invalid_request("Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
        checksum = verify(body, req)
        document |= checksum | {"ChecksumType": "FULL_OBJECT"}
        name, size = storage_class(req), body.size
        draft = Draft(bucket["Name"], req["Key"], body, body.digests["md5"].hex(), document, ctx.now(), name, origin=origin_of(ctx))
        version = ctx.ports.objects.commit(draft, write_check(req))
    except BaseException:
        body.drop()
        raise
    return {
        "ETag": f'"{version.etag}"',
        **checksum,
        "ChecksumType": "FULL_OBJECT",
        **shown_encryption(document),
        **made_version(version.version_id),
        **lifecycle.expiration_member(bucket, version),
        **({"Size": size} if req.get("WriteOffsetBytes") is not None else {}),
    }


@operation("s3", "GetObject")
def get_object(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    bucket, version, small = _find(ctx, req, "GET")
    answer, start, length = _answer(ctx, bucket, version, req)
    if version.storage_class in FROZEN and 'ongoing-request="false"' not in version.document.get("Restore", ""):
        message = "The operation is not valid for the object's storage class"
        raise AwsError("InvalidObjectState", message, status=403, StorageClass=version.storage_class)
    answer["Body"] = small[start : start + length] if small is not None else FileRange(ctx.ports.objects.path(version), start, length)
    return answer


@operation("s3", "HeadObject")
def head_object(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    bucket, version, _ = _find(ctx, req, "HEAD")
    return _answer(ctx, bucket, version, req)[0]


def _find(ctx: Ctx, req: dict[str, Any], method: str) -> tuple[Document, Version, bytes | None]:
    """The bucket, the version, and its bytes where they are few."""
    jumpstart.ensure(ctx, req["Bucket"])
    bucket, tx = open_bucket(ctx, req), ctx.ports.store.look()
    version = find_object(tx, bucket, req["Key"], req.get("VersionId"), method)
    return bucket, version, ctx.ports.objects.small.recall(tx, version) if method == "GET" else None


def _answer(ctx: Ctx, bucket: Document, version: Version, req: dict[str, Any]) -> tuple[dict[str, Any], int, int]:
    """The answer without its body, and the range of the body."""
    check_customer_key(version.document, req)
    check_read(req, version, ctx.now())
    if req.get("Range") and req.get("PartNumber") is not None:
        raise invalid_request("Cannot specify both Range header and partNumber query parameter")
    answer = told(bucket, version)
    if req.get("VersionId") is not None:
        answer.pop("Expiration", None)  # told of the key, not of a version
    whole = True
    start, length = 0, version.size
    parts = version.document.get("Parts")
    if req.get("PartNumber") is not None:
        start, length = part_range(version, req["PartNumber"])
        whole = False
        if parts:
            answer["PartsCount"] = len(parts)
    elif req.get("Range"):
        found = byte_range(req["Range"], version.size)
        if found is not None:
            (start, length), whole = found, False
    answer["ContentLength"] = length
    if not whole and (version.size or req.get("Range")):
        answer["ContentRange"] = f"bytes {start}-{start + length - 1}/{version.size}"
        answer["_status"] = 206
    if req.get("ChecksumMode") == "ENABLED":
        answer |= _shown_checksum(version, req, whole or (length == version.size and req.get("PartNumber") is None))
    for name, member in OVERRIDES.items():
        if req.get(name) is not None:
            answer[member] = _sendable(name, req[name])
    if req.get("ResponseExpires") is not None:
        answer["_headers"] = {"Expires": expires_text(req["ResponseExpires"])}
    return answer, start, length


def _sendable(name: str, text: str) -> str:
    """A header that a reader asks for, in letters that headers have."""
    if any(character > "\xff" for character in text):
        wire_name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
        raise invalid_argument("Header value cannot be represented using ISO-8859-1.", wire_name, text)
    return text


def _shown_checksum(version: Version, req: dict[str, Any], whole: bool) -> Document:
    """The whole object's checksum, or that of the part that was asked for; of any other range there is none."""
    if whole:
        return members_of(version.document)
    parts = version.document.get("Parts")
    if req.get("PartNumber") is None:
        return {}
    if not parts or (len(parts) == 1 and version.document.get("ChecksumType") != "COMPOSITE"):
        return members_of(version.document)
    if version.document.get("ChecksumType") != "COMPOSITE":
        return {}
    shown = {name: parts[req["PartNumber"] - 1][name] for name in MEMBERS if name in parts[req["PartNumber"] - 1]}
    return shown | ({"ChecksumType": version.document["ChecksumType"]} if shown and "ChecksumType" in version.document else {})


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """A Range header → (start, length); None for one that S3 ignores; InvalidRange for one outside."""
    hit = _RANGE.fullmatch(text)
    if hit is None or (not hit[1] and not hit[2]):
        return None
    if not hit[1]:
        length = min(int(hit[2]), size)
        start = size - length
    else:
        start = int(hit[1])
        last = min(int(hit[2]), size - 1) if hit[2] else size - 1
        if hit[2] and int(hit[2]) < start:
            return None
        length = last - start + 1
    if length <= 0:
        raise AwsError("InvalidRange", "The requested range is not satisfiable", status=416, RangeRequested=text, ActualObjectSize=size)
    return start, length


def part_range(version: Version, number: int) -> tuple[int, int]:
    """The bytes of one part of an object; an object uploaded whole is its part 1."""
    parts = version.document.get("Parts")
    if not 1 <= number <= 10000:
        raise invalid_argument("Part number must be an integer between 1 and 10000, inclusive", "partNumber", number)
    count = len(parts) if parts else 1
    if number > count:
        message = "The requested partnumber is not satisfiable"
        raise AwsError("InvalidPartNumber", message, status=416, ActualPartCount=count, PartNumberRequested=number)
    if not parts:
        return 0, version.size
    return sum(part["Size"] for part in parts[: number - 1]), parts[number - 1]["Size"]
