"""CopyObject: a new version out of a stored one, its bytes linked and not copied where the file system can.

The source may be named as bucket/key, URL-encoded, with or without a leading slash and a version, or as an access point's ARN.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_plus

from dewfall.bodies import StagedBody
from dewfall.context import Ctx
from dewfall.engine.blobs import digest_bytes, digest_file
from dewfall.engine.buckets import Document, encryption_of
from dewfall.engine.objects import Draft, disk_full, is_full
from dewfall.engine.versions import NULL, Version
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, check_key, find_object, invalid_argument, invalid_request, open_bucket, origin_of, shown_version
from dewfall.services.s3.checksums import ALGORITHMS, algorithm_of, encode, members_of
from dewfall.services.s3.conditions import check_source, write_check
from dewfall.services.s3.content import FROZEN, HEADERS, check_customer_key, describe, described_headers, shown_encryption, storage_class

MAX_COPY = 5 * 1024**3
ILLEGAL = (
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, "
    "storage class, website redirect location or encryption attributes."
)


@operation("s3", "CopyObject")
def copy_object(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_key(req["Key"])
    bucket = open_bucket(ctx, req)
    origin, source = find_source(ctx, req)
    _check_directives(req)
    if source.size > MAX_COPY:
        message = f"The specified copy source is larger than the maximum allowable size for a copy source: {MAX_COPY}"
        raise invalid_request(message)
    _check_self(bucket, origin, source, req)
    document = _described(ctx, bucket, source, req)
    try:
        body = ctx.ports.objects.body(source)
    except OSError as problem:
        if is_full(problem):
            raise disk_full(problem) from problem
        raise
    etag, checksum = _digests(source, body, req)
    document |= checksum
    draft = Draft(bucket["Name"], req["Key"], body, etag, document, ctx.now(), storage_class(req), "ObjectCreated:Copy", origin_of(ctx))
    version = ctx.ports.objects.commit(draft, write_check(req))
    return {
        "CopyObjectResult": {
            "ETag": f'"{version.etag}"',
            "LastModified": version.modified,
            **members_of(checksum),
        },
        **shown_encryption(document),
        **shown_version(bucket, version.version_id),  # a copy speaks of the version "null", too
        **source_version(source),
    }


def find_source(ctx: Ctx, req: dict[str, Any]) -> tuple[Document, Version]:
    """The version a CopySource names, with its bucket, after its conditions have been checked."""
    name, key, version_id = read_source(req["CopySource"])
    asked = {"Bucket": name, "ExpectedSourceBucketOwner": req.get("ExpectedSourceBucketOwner")}
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, asked, owner_member="ExpectedSourceBucketOwner").document
        try:
            version = find_object(tx, bucket, key, version_id)
        except AwsError as error:
            if error.code == "MethodNotAllowed":
                message = "The source of a copy request may not specifically refer to a delete marker by version id."
                raise invalid_request(message) from None
            raise
    check_customer_key(version.document, req, "CopySource")
    check_source(req, version, ctx.now())
    if version.storage_class in FROZEN and 'ongoing-request="false"' not in version.document.get("Restore", ""):
        message = "Operation is not valid for the source object's storage class"
        raise AwsError("InvalidObjectState", message, status=403, StorageClass=version.storage_class)
    return bucket, version


def source_version(source: Version) -> dict[str, str]:
    """The CopySourceVersionId member of a copy, which does not speak of the version "null"."""
    return {"CopySourceVersionId": source.version_id} if source.version_id != NULL else {}


def read_source(text: str | dict[str, str]) -> tuple[str, str, str | None]:
    """CopySource → (bucket, key, version id or None)."""
    if isinstance(text, dict):
        return text["Bucket"], text["Key"], text.get("VersionId")
    path, mark, version_id = text.rpartition("?versionId=")
    whole = unquote_plus(path if mark else text)  # some clients write a space as +, and S3 reads it so
    bucket, slash, key = whole.partition("/object/") if whole.startswith("arn:") else whole.removeprefix("/").partition("/")
    if not slash or not bucket or not key:
        raise invalid_argument("Invalid copy source object key", "x-amz-copy-source", "x-amz-copy-source")
    return bucket, key, version_id if mark else None


def _check_directives(req: dict[str, Any]) -> None:
    for member, name in (("MetadataDirective", "x-amz-metadata-directive"), ("TaggingDirective", "x-amz-tagging-directive")):
        if req.get(member) not in (None, "COPY", "REPLACE"):
            label = "metadata" if member == "MetadataDirective" else "tagging"
            raise invalid_argument(f"Unknown {label} directive.", name, req[member])


def _check_self(bucket: Document, origin: Document, source: Version, req: dict[str, Any]) -> None:
    """A copy onto itself must change something, but where it brings a named version back."""
    named = bucket["Versioning"] and read_source(req["CopySource"])[2] is not None
    if (bucket["Name"], req["Key"]) != (origin["Name"], source.key) or named:
        return
    changing = ("StorageClass", "WebsiteRedirectLocation", "ServerSideEncryption", "SSECustomerAlgorithm", "CopySourceSSECustomerAlgorithm")
    changes = any(req.get(name) for name in (*changing, "ChecksumAlgorithm", "ObjectLockMode", "ObjectLockLegalHoldStatus"))
    changes = changes or encryption_of(bucket)["ServerSideEncryption"] != source.document.get("ServerSideEncryption")
    if not changes and req.get("MetadataDirective") != "REPLACE" and "Encryption" not in bucket["Settings"]:
        raise invalid_request(ILLEGAL)


def _described(ctx: Ctx, bucket: Document, source: Version, req: dict[str, Any]) -> Document:
    """The copy's document: headers, metadata and tags of the source or of the request, everything else of the request."""
    tagged = req.get("TaggingDirective") == "REPLACE"
    document = describe(ctx, bucket, req if tagged else {**req, "Tagging": None})
    if not tagged and "Tags" in source.document:
        document["Tags"] = source.document["Tags"]
    if req.get("MetadataDirective") != "REPLACE":
        for name in described_headers(req):
            document.pop(name, None)
        kept = (*(name for name in HEADERS if name != "WebsiteRedirectLocation"), "Expires", "Metadata")
        document |= {name: source.document[name] for name in kept if name in source.document}
        if req.get("WebsiteRedirectLocation"):
            document["WebsiteRedirectLocation"] = req["WebsiteRedirectLocation"]
    return document


def _digests(source: Version, body: StagedBody, req: dict[str, Any]) -> tuple[str, Document]:
    """ETag and checksum of the copy, taken over from the source where it has them of the whole bytes, else computed."""
    algorithm = req.get("ChecksumAlgorithm") or algorithm_of(source.document) or "CRC64NVME"
    if algorithm not in ALGORITHMS:
        raise invalid_request(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, SHA1, SHA256]"
        )
    name = ALGORITHMS[algorithm][0]
    whole = source.document.get("ChecksumType") == "FULL_OBJECT" and algorithm == algorithm_of(source.document)
    if whole and "-" not in source.etag:
        return source.etag, members_of(source.document)
    found = digest_file(body.path, [name]) if body.path is not None else digest_bytes(body.data or b"", [name])
    return found["md5"].hex(), {f"Checksum{algorithm}": encode(found[name]), "ChecksumType": "FULL_OBJECT"}
