"""Multipart uploads: begin, receive parts, list, complete, abort.

Parts are files of their own until completion joins them inside the kernel; CRCs of the whole come from those of the parts by arithmetic.
"""

from __future__ import annotations

import re
import secrets
from typing import Any
from urllib.parse import quote_plus

from dewfall.bodies import StagedBody
from dewfall.context import Ctx
from dewfall.engine.buckets import Document
from dewfall.engine.objects import disk_full, is_full
from dewfall.engine.ports import Tx
from dewfall.engine.uploads import Part, Upload, find_upload, insert_upload, parts_from, put_part, remove_upload, uploads_from
from dewfall.engine.versions import Version, newest
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, check_key, invalid_argument, invalid_request, open_bucket, owner_in
from dewfall.services.s3.checksums import ALGORITHMS, COMBINING, MEMBERS, decoded, digest, encode, staged, verify
from dewfall.services.s3.content import customer_key, describe, refuse_blocked, shown_encryption, storage_class
from dewfall.services.s3.copies import find_source, source_version
from dewfall.services.s3.lifecycle import abort_members
from dewfall.services.s3.listings import check_range, limit_of
from dewfall.services.s3.objects import MAX_PUT
from dewfall.settings import DEFAULT_ROLE

MAX_PARTS = 10_000
_COPY_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@operation("s3", "CreateMultipartUpload")
def create_multipart_upload(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_key(req["Key"])
    bucket = open_bucket(ctx, req)
    document = describe(ctx, bucket, req)
    algorithm, kind = _checksum_plan(req)
    document["Upload"] = {"StorageClass": storage_class(req), "ChecksumAlgorithm": algorithm, "ChecksumType": kind, "Initiator": ctx.caller.arn}
    upload = Upload(secrets.token_urlsafe(96), bucket["Name"], req["Key"], ctx.now().replace(microsecond=0), document)
    with ctx.ports.store.transaction() as tx:
        bucket_record(ctx, tx, req)
        document["Upload"]["Before"] = present_generation(newest(tx, upload.bucket, upload.key))
        insert_upload(tx, upload)
    answer = {"Bucket": bucket["Name"], "Key": req["Key"], "UploadId": upload.id, **shown_encryption(document), **abort_members(bucket, upload)}
    return answer | ({"ChecksumAlgorithm": algorithm, "ChecksumType": kind} if algorithm else {})


@operation("s3", "UploadPart")
def upload_part(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    body = staged(req)
    try:
        upload = _open_upload(ctx, req)
        check_number(req["PartNumber"])
        if body.size > MAX_PUT:
            message = "Your proposed upload exceeds the maximum allowed size"
            raise AwsError("EntityTooLarge", message, status=400, ProposedSize=body.size, MaxSizeAllowed=MAX_PUT)
        check_part_key(ctx, upload, req)
        _check_algorithm(upload, req)
        algorithm = upload.document["Upload"]["ChecksumAlgorithm"]
        given = any(req.get(name) is not None for name in MEMBERS)
        shown = verify(body, req, algorithm or "CRC64NVME")
        part = _store_part(ctx, upload, req["PartNumber"], body, shown if given or algorithm else {})
    except BaseException:
        body.drop()
        raise
    return {"ETag": f'"{part.etag}"', **_shown(part), **shown_encryption(upload.document)}


@operation("s3", "UploadPartCopy")
def upload_part_copy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    upload = _open_upload(ctx, req)
    check_number(req["PartNumber"])
    check_part_key(ctx, upload, req)
    _, source = find_source(ctx, req)
    start, length = copy_range(req.get("CopySourceRange"), source.size)
    algorithm = upload.document["Upload"]["ChecksumAlgorithm"]
    try:
        body = ctx.ports.objects.blobs.cut(ctx.ports.objects.path(source), start, length, [ALGORITHMS[algorithm][0]] if algorithm else [])
    except OSError as problem:
        if is_full(problem):
            raise disk_full(problem) from problem
        raise
    try:
        part = _store_part(ctx, upload, req["PartNumber"], body, {f"Checksum{algorithm}": encode(digest(body, algorithm))} if algorithm else {})
    except BaseException:
        body.drop()
        raise
    return {
        "CopyPartResult": {"ETag": f'"{part.etag}"', "LastModified": part.modified, **_shown(part)},
        **shown_encryption(upload.document),
        **source_version(source),
    }


@operation("s3", "AbortMultipartUpload")
def abort_multipart_upload(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    upload = _open_upload(ctx, req)
    when = req.get("IfMatchInitiatedTime")
    if when is not None and int(when.timestamp()) != int(upload.initiated.timestamp()):
        raise AwsError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", status=412)
    with ctx.ports.store.transaction() as tx:
        remove_upload(tx, upload.id)
    ctx.ports.objects.blobs.discard_upload(upload.id)
    return {"_status": 204}


@operation("s3", "ListParts")
def list_parts(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    limit, after = limit_of(req, "MaxParts", "max-parts"), part_marker(req)
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        upload = need_upload(tx, req)
        parts = parts_from(tx, upload.id, after, limit + 1)
    shown, plan = parts[:limit], upload.document["Upload"]
    answer = {
        **{name: req[name] for name in ("Bucket", "Key", "UploadId")},
        "PartNumberMarker": after,
        "NextPartNumberMarker": shown[-1].number if shown else 0,
        "MaxParts": limit,
        "IsTruncated": len(parts) > limit and limit > 0,
        "Parts": [_listed(part, plan) for part in shown],
        "Initiator": _initiator(upload, bucket),
        "Owner": owner_in(bucket, upload.document),
        "StorageClass": plan["StorageClass"],
        **abort_members(bucket, upload),
    }
    return answer | ({name: plan[name] for name in ("ChecksumAlgorithm", "ChecksumType")} if plan["ChecksumAlgorithm"] else {})


@operation("s3", "ListMultipartUploads")
def list_multipart_uploads(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    limit = limit_of(req, "MaxUploads", "max-uploads")
    prefix, delimiter = req.get("Prefix") or "", req.get("Delimiter") or ""
    place = (req.get("KeyMarker") or "", (req.get("UploadIdMarker") or "\U0010ffff") if req.get("KeyMarker") else "")
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        found = [u for u in uploads_from(tx, req["Bucket"], place, 1_000_000) if u.key.startswith(prefix)]
    shown, prefixes, truncated = roll_up(found, prefix, delimiter, limit)
    encode_key = (lambda text: quote_plus(text, safe="/*")) if req.get("EncodingType") == "url" else str
    answer: dict[str, Any] = {
        "Bucket": req["Bucket"],
        "KeyMarker": encode_key(req.get("KeyMarker") or ""),
        "UploadIdMarker": req.get("UploadIdMarker") or "",
        "NextKeyMarker": encode_key(shown[-1].key) if shown else "",
        "NextUploadIdMarker": shown[-1].id if shown else "",
        "MaxUploads": limit,
        "IsTruncated": truncated,
        "Uploads": [_entry(upload, bucket, encode_key(upload.key)) for upload in shown],
        "CommonPrefixes": [{"Prefix": encode_key(text)} for text in prefixes],
    }
    answer |= {"Prefix": encode_key(prefix)} if req.get("Prefix") is not None else {}
    answer |= {"Delimiter": encode_key(delimiter)} if delimiter else {}
    return answer | ({"EncodingType": req["EncodingType"]} if req.get("EncodingType") else {})


# ---------------------------------------------------------------- shared with completion


def need_upload(tx: Tx, req: dict[str, Any]) -> Upload:
    """The request's open upload, or NoSuchUpload."""
    upload = find_upload(tx, req["Bucket"], req["Key"], req["UploadId"])
    if upload is None:
        raise no_such_upload(req["UploadId"])
    return upload


def present_generation(version: Version | None) -> int:
    """The generation of a key's current object, 0 when there is none: what a conditional completion compares."""
    return 0 if version is None or version.marker else version.generation


def no_such_upload(upload: str) -> AwsError:
    message = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    return AwsError("NoSuchUpload", message, status=404, UploadId=upload)


def check_number(number: int) -> None:
    """Parts are numbered from 1 to 10000."""
    if not 1 <= number <= MAX_PARTS:
        raise invalid_argument(f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive", "partNumber", number)


def part_marker(req: dict[str, Any]) -> int:
    """The part after which a list begins."""
    marker = int(req.get("PartNumberMarker") or 0)
    check_range(marker, "part-number-marker", "part-number-marker")
    return marker


def copy_range(text: str | None, size: int) -> tuple[int, int]:
    """x-amz-copy-source-range → (start, length)."""
    if text is None:
        return 0, size
    hit = _COPY_RANGE.fullmatch(text)
    if hit is None or int(hit[1]) > int(hit[2]):
        message = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets "
        message += "of the first and last bytes to copy"
        raise invalid_argument(message, "x-amz-copy-source-range", text)
    start, last = int(hit[1]), int(hit[2])
    if start >= size:
        raise invalid_request("The specified copy range is invalid for the source object size")
    if last >= size:
        raise invalid_argument(f"Range specified is not valid for source object of size: {size}", "x-amz-copy-source-range", text)
    return start, last - start + 1


def roll_up(uploads: list[Upload], prefix: str, delimiter: str, limit: int) -> tuple[list[Upload], list[str], bool]:
    """Uploads and common prefixes of one page, and whether more follow."""
    shown: list[Upload] = []
    prefixes: list[str] = []
    for upload in uploads:
        cut = upload.key.find(delimiter, len(prefix)) if delimiter else -1
        common = upload.key[: cut + len(delimiter)] if cut >= 0 else ""
        if common and prefixes and prefixes[-1] == common:
            continue
        if len(shown) + len(prefixes) == limit:
            return shown, prefixes, limit > 0
        if common:
            prefixes.append(common)
        else:
            shown.append(upload)
    return shown, prefixes, False


# ---------------------------------------------------------------- inside


def _open_upload(ctx: Ctx, req: dict[str, Any]) -> Upload:
    with ctx.ports.store.reading() as tx:
        bucket_record(ctx, tx, req)
        return need_upload(tx, req)


def _checksum_plan(req: dict[str, Any]) -> tuple[str, str]:
    """(algorithm, type) that the upload will have; ("", "") where none was asked for."""
    algorithm, kind = (req.get("ChecksumAlgorithm") or "").upper(), (req.get("ChecksumType") or "").upper()
    if not algorithm:
        if kind:
            raise invalid_request("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
        return "", ""
    if algorithm not in ALGORITHMS:
        names = ", ".join(("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"))
        raise invalid_request(f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{names}]")
    if kind not in ("", "COMPOSITE", "FULL_OBJECT"):
        raise invalid_request("Value for x-amz-checksum-type header is invalid.")
    if (kind == "COMPOSITE" and algorithm == "CRC64NVME") or (kind == "FULL_OBJECT" and algorithm not in COMBINING):
        raise invalid_request(f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm.")
    return algorithm, kind or ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")


def check_part_key(ctx: Ctx, upload: Upload, req: dict[str, Any]) -> None:
    """A part must come with the key that the upload began with, and with none where it began with none."""
    given = bool(req.get("SSECustomerAlgorithm") or req.get("SSECustomerKey"))
    if given != ("SSECustomerKeyMD5" in upload.document):
        message = "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters."
        raise invalid_request(message)
    if given and customer_key(req)["SSECustomerKeyMD5"] != upload.document["SSECustomerKeyMD5"]:
        raise invalid_request("The provided encryption parameters did not match the ones used originally.")
    if given:
        refuse_blocked(ctx, open_bucket(ctx, req), req)


def _check_algorithm(upload: Upload, req: dict[str, Any]) -> None:
    """A part's checksum must be of the upload's algorithm."""
    plan = upload.document["Upload"]
    wanted = plan["ChecksumAlgorithm"]
    given = next((MEMBERS[name] for name in MEMBERS if req.get(name) is not None), req.get("ChecksumAlgorithm") or "").upper()
    if wanted and given != wanted and (given or plan["ChecksumType"] == "COMPOSITE"):
        actual = given.lower() or "null"
        raise invalid_request(f"Checksum Type mismatch occurred, expected checksum Type: {wanted.lower()}, actual checksum Type: {actual}")


def _store_part(ctx: Ctx, upload: Upload, number: int, body: StagedBody, shown: Document) -> Part:
    """Place a part's file, then commit its row; what it replaces is removed."""
    objects = ctx.ports.objects
    kept = {"crc64nvme": encode(digest(body, "CRC64NVME")), "Shown": shown}
    part = Part(number, objects.generation(), body.size, digest(body, "MD5").hex(), ctx.now().replace(microsecond=0), kept)
    path = objects.blobs.part_path(upload.id, number, part.generation)
    try:
        objects.blobs.place_part(body, upload.id, number, part.generation)
        with ctx.ports.store.transaction() as tx:
            if find_upload(tx, upload.bucket, upload.key, upload.id) is None:
                raise no_such_upload(upload.id)
            old = tx.run("part_get", upload=upload.id, number=number)
            put_part(tx, upload.id, part)
    except BaseException as problem:
        path.unlink(missing_ok=True)
        if is_full(problem):
            raise disk_full(problem) from problem
        raise
    if old:
        objects.blobs.part_path(upload.id, number, old[0][1]).unlink(missing_ok=True)
    return part


def _listed(part: Part, plan: Document) -> Document:
    """A part as lists tell it: its checksum is of interest where the upload has an algorithm."""
    listed = {"PartNumber": part.number, "LastModified": part.modified, "ETag": f'"{part.etag}"', "Size": part.size}
    return listed | (_shown(part) if plan["ChecksumAlgorithm"] else {})


def _shown(part: Part) -> Document:
    shown: Document = part.document["Shown"]
    return shown


def digest_of(part: Part, algorithm: str) -> bytes | None:
    """A part's digest of an algorithm, if it is known."""
    text = part.document["Shown"].get(f"Checksum{algorithm}") or (part.document["crc64nvme"] if algorithm == "CRC64NVME" else None)
    return decoded(text, ALGORITHMS[algorithm][1]) if text else None


def _initiator(upload: Upload, bucket: Document) -> dict[str, str]:
    arn = upload.document["Upload"]["Initiator"]
    if arn.endswith((":root", f"/{DEFAULT_ROLE}/local")):  # the account itself
        return owner_in(bucket, upload.document)
    return {"ID": arn, "DisplayName": arn.rsplit("/", 1)[-1]}


def _entry(upload: Upload, bucket: Document, key: str) -> dict[str, Any]:
    plan = upload.document["Upload"]
    entry = {
        "UploadId": upload.id,
        "Key": key,
        "Initiated": upload.initiated,
        "StorageClass": plan["StorageClass"],
        "Owner": owner_in(bucket, upload.document),
        "Initiator": _initiator(upload, bucket),
    }
    return entry | ({name: plan[name] for name in ("ChecksumAlgorithm", "ChecksumType")} if plan["ChecksumAlgorithm"] else {})
