"""CompleteMultipartUpload: the parts that the client names become one object, or nothing changes.

The upload's rows go in the transaction that makes the object visible, so that of two completions one wins.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any
from urllib.parse import quote

from dewfall.context import Ctx
from dewfall.engine.buckets import Document
from dewfall.engine.objects import Draft, disk_full, is_full
from dewfall.engine.ports import Record, Tx
from dewfall.engine.uploads import Part, Upload, parts_from, remove_upload
from dewfall.engine.versions import Version, newest
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3 import lifecycle
from dewfall.services.s3.access import bucket_record, invalid_request, made_version, malformed_xml, origin_of
from dewfall.services.s3.checksums import MEMBERS, combined, composite, members_of
from dewfall.services.s3.conditions import conflict, write_check
from dewfall.services.s3.content import customer_key, refuse_blocked, shown_encryption
from dewfall.services.s3.uploads import MAX_PARTS, check_part_key, digest_of, need_upload, no_such_upload, present_generation

MIN_PART = 5 * 1024**2
INVALID_PART = (
    "One or more of the specified parts could not be found.  The part may not have been uploaded, "
    "or the specified entity tag may not match the part's entity tag."
)


@operation("s3", "CompleteMultipartUpload")
def complete_multipart_upload(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Completing again what was completed gives the same answer, as long as the object is the key's newest version."""
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        done = newest(tx, bucket["Name"], req["Key"])
        if done is not None and done.document.get("UploadId") == req["UploadId"]:
            return _answer(ctx, bucket, done)
        upload = need_upload(tx, req)
        stored = {part.number: part for part in parts_from(tx, upload.id, 0, MAX_PARTS)}
    if req.get("SSECustomerAlgorithm") or req.get("SSECustomerKey"):
        check_part_key(ctx, upload, req)
    elif "SSECustomerKeyMD5" in upload.document and upload.document["Upload"]["ChecksumAlgorithm"]:
        customer_key(req)  # refuses: the checksums lie below the key
    if "SSECustomerKeyMD5" in upload.document:
        refuse_blocked(ctx, bucket, req)
    if req.get("MultipartUpload") is None:
        raise invalid_request("You must specify at least one part")
    parts = _named_parts(upload, req["MultipartUpload"].get("Parts"), stored)
    checksum = _checksum(upload, parts, req)
    size = sum(part.size for part in parts)
    if req.get("MpuObjectSize") is not None and req["MpuObjectSize"] != size:
        message = f"The provided 'x-amz-mp-object-size' header value {req['MpuObjectSize']} does not match what was computed: {size}"
        raise invalid_request(message)
    document = {name: value for name, value in upload.document.items() if name != "Upload"} | checksum
    document["UploadId"] = upload.id
    told = bool(upload.document["Upload"]["ChecksumAlgorithm"])
    document["Parts"] = [{"PartNumber": part.number, "Size": part.size, **(part.document["Shown"] if told else {})} for part in parts]
    return _answer(ctx, bucket, _commit(ctx, req, upload, parts, document))


def _answer(ctx: Ctx, bucket: Document, version: Version) -> dict[str, Any]:
    return {
        "Location": f"{ctx.ports.settings.endpoint}/{bucket['Name']}/{quote(version.key)}",
        "Bucket": bucket["Name"],
        "Key": version.key,
        "ETag": f'"{version.etag}"',
        **members_of(version.document),
        **shown_encryption(version.document),
        **made_version(version.version_id),
        **lifecycle.expiration_member(bucket, version),
    }


def _commit(ctx: Ctx, req: dict[str, Any], upload: Upload, parts: list[Part], document: Document) -> Version:
    objects = ctx.ports.objects
    conditions = write_check(req)

    def check(tx: Tx, bucket: Record, last: Version | None) -> None:
        if conditions is not None:
            conditions(tx, bucket, last)
            if present_generation(last) != upload.document["Upload"]["Before"]:
                raise conflict("If-Match" if req.get("IfMatch") else "If-None-Match", upload.key)
        if not remove_upload(tx, upload.id):
            raise no_such_upload(upload.id)

    try:
        body = objects.blobs.join([objects.blobs.part_path(upload.id, part.number, part.generation) for part in parts])
    except FileNotFoundError:
        raise no_such_upload(upload.id) from None
    except OSError as problem:
        if is_full(problem):
            raise disk_full(problem) from problem
        raise
    etag = f"{hashlib.md5(b''.join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False).hexdigest()}-{len(parts)}"
    name, event = upload.document["Upload"]["StorageClass"], "ObjectCreated:CompleteMultipartUpload"
    version = objects.commit(Draft(upload.bucket, upload.key, body, etag, document, ctx.now(), name, event, origin_of(ctx)), check)
    objects.blobs.discard_upload(upload.id)
    return version


def _named_parts(upload: Upload, named: list[dict[str, Any]] | None, stored: dict[int, Part]) -> list[Part]:
    """The parts that the request lists, each checked against what was uploaded."""
    if not named:
        raise malformed_xml()
    if len(named) > MAX_PARTS:
        raise malformed_xml()
    if any(entry.get("PartNumber") is None or "ETag" not in entry for entry in named):
        raise malformed_xml()
    if any(after["PartNumber"] <= before["PartNumber"] for before, after in itertools.pairwise(named)):
        message = "The list of parts was not in ascending order. Parts must be ordered by part number."
        raise AwsError("InvalidPartOrder", message, status=400, UploadId=upload.id)
    parts: list[Part] = []
    for entry in named:
        number = entry["PartNumber"]
        part = stored.get(number)
        etag = entry["ETag"].strip('"')
        if part is None or etag != part.etag:
            raise AwsError("InvalidPart", INVALID_PART, status=400, UploadId=upload.id, PartNumber=number, ETag=etag)
        _check_part_checksum(upload, part, entry)
        parts.append(part)
    for part in parts[:-1]:
        if part.size < MIN_PART:
            message = "Your proposed upload is smaller than the minimum allowed size"
            told: dict[str, Any] = {"ETag": part.etag, "MinSizeAllowed": MIN_PART, "ProposedSize": part.size, "PartNumber": part.number}
            raise AwsError("EntityTooSmall", message, status=400, **told)
    return parts


def _check_part_checksum(upload: Upload, part: Part, entry: dict[str, Any]) -> None:
    """Composite uploads want each part's checksum again; one that is given must be right."""
    plan = upload.document["Upload"]
    algorithm = plan["ChecksumAlgorithm"]
    if algorithm and plan["ChecksumType"] == "COMPOSITE" and not entry.get(f"Checksum{algorithm}"):
        raise invalid_request(
            f"The upload was created using a {algorithm.lower()} checksum. The complete request must include the checksum for each part. "
            f"It was missing for part {part.number} in the request."
        )
    shown = part.document["Shown"] if algorithm else {}  # where no algorithm was asked for, parts have none to be named
    for name in MEMBERS:
        kept = shown.get(name) or (part.document["crc64nvme"] if name == "ChecksumCRC64NVME" else None)
        if entry.get(name) and entry[name] != kept:
            raise AwsError("InvalidPart", INVALID_PART, status=400, UploadId=upload.id, PartNumber=part.number, ETag=part.etag)


def _checksum(upload: Upload, parts: list[Part], req: dict[str, Any]) -> Document:
    """The object's checksum members; what the request claims about the whole must agree."""
    plan = upload.document["Upload"]
    algorithm = plan["ChecksumAlgorithm"] or "CRC64NVME"
    kind = plan["ChecksumType"] or "FULL_OBJECT"
    if req.get("ChecksumType") and req["ChecksumType"] != plan["ChecksumType"]:
        made = plan["ChecksumType"] or "null"
        message = f"The upload was created using the {made} checksum mode. The complete request must use the same checksum mode."
        raise invalid_request(message)
    if "SSECustomerKeyMD5" in upload.document and not plan["ChecksumAlgorithm"]:
        return {}  # S3 computes none of its own for what it cannot read
    digests = [digest_of(part, algorithm) or b"" for part in parts]
    if kind == "COMPOSITE":
        value = composite(algorithm, digests)
    else:
        value = combined(algorithm, [(found, part.size) for found, part in zip(digests, parts, strict=True)])
    if not _is_claimed(req, plan, algorithm, value):
        raise AwsError("BadDigest", f"The {algorithm.lower()} you specified did not match the calculated checksum.", status=400)
    return {f"Checksum{algorithm}": value, "ChecksumType": kind}


def _is_claimed(req: dict[str, Any], plan: Document, algorithm: str, value: str) -> bool:
    """Whether what the request says of the whole, if anything, is its checksum: by the upload's algorithm, and with the type where there are two."""
    claims = {MEMBERS[name]: req[name] for name in MEMBERS if req.get(name) is not None}
    if not plan["ChecksumAlgorithm"]:
        return claims.get(algorithm) in (None, value)
    typed = plan["ChecksumType"] == "COMPOSITE" or algorithm == "CRC64NVME" or bool(req.get("ChecksumType"))
    return not claims or (typed and claims.keys() == {algorithm} and claims[algorithm] in (value, value.partition("-")[0]))
