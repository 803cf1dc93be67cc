"""What a writer says about an object besides its bytes, kept in the version's document, and what readers are told of it.

Why one place: PutObject, CopyObject, CreateMultipartUpload and form uploads take the same headers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.buckets import Document, encryption_of, kms_arn
from dewfall.engine.objects import DEFAULT_TYPE
from dewfall.engine.versions import Version
from dewfall.errors import AwsError
from dewfall.services.s3 import acls, lifecycle, locks, tagging
from dewfall.services.s3.access import http_date, invalid_argument, invalid_request, moment, owner_in, shown_version

HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "WebsiteRedirectLocation")
LOCKS = ("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus")
ENCRYPTION = ("ServerSideEncryption", "SSEKMSKeyId", "SSEKMSEncryptionContext", "BucketKeyEnabled", "SSECustomerAlgorithm", "SSECustomerKeyMD5")
ENCRYPTED = "x-amz-server-side-encryption"
WRONG_LENGTH = "The secret key was invalid for the specified algorithm."
METADATA_BYTES = 2048
CLASSES = frozenset(
    [
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER_IR",
    ]
)
FROZEN = ("GLACIER", "DEEP_ARCHIVE")


def describe(ctx: Ctx, bucket: Document, req: dict[str, Any]) -> Document:
    """The document of a new version: headers, metadata, encryption, tags, locks and ACL."""
    document = described_headers(req)
    document |= encryption(bucket, req)
    if "SSECustomerKeyMD5" in document:
        refuse_blocked(ctx, bucket, req)
    if req.get("Tagging"):
        document["Tags"] = tagging.read_header(req["Tagging"])
    document |= locks.of_new(ctx, bucket, req)
    document |= acls.writer(ctx, bucket, req)
    grants = acls.of_request(ctx, bucket, req, owner_in(bucket, document))
    if grants is not None:
        document["Acl"] = grants
    return document


def described_headers(req: dict[str, Any]) -> Document:
    """Content-* headers and user metadata."""
    document: Document = {name: req[name] for name in HEADERS if req.get(name)}
    document.setdefault("ContentType", DEFAULT_TYPE)
    if req.get("Expires") is not None:
        document["Expires"] = expires_text(req["Expires"])
    redirect = req.get("WebsiteRedirectLocation")
    if redirect and not redirect.startswith(("/", "http://", "https://")):
        message = "The website redirect location must have a prefix of 'http://' or 'https://' or '/'."
        raise AwsError("InvalidRedirectLocation", message, status=400)
    if metadata := req.get("Metadata"):
        size = sum(len(k.encode()) + len(v.encode()) for k, v in metadata.items())
        if size > METADATA_BYTES:
            message = "Your metadata headers exceed the maximum allowed metadata size"
            raise AwsError("MetadataTooLarge", message, status=400, Size=size, MaxSizeAllowed=METADATA_BYTES)
        document["Metadata"] = {k.lower(): v for k, v in metadata.items()}
    return document


def expires_text(value: datetime | str) -> str:
    """Expires as it was written, a date or not."""
    return http_date(value) if isinstance(value, datetime) else value


def storage_class(req: dict[str, Any]) -> str:
    """The storage class a writer asks for."""
    name: str = req.get("StorageClass") or "STANDARD"
    if name not in CLASSES:
        message = "The storage class you specified is not valid"
        raise AwsError("InvalidStorageClass", message, status=400, StorageClassRequested=name)
    return name


# ---------------------------------------------------------------- encryption


def encryption(bucket: Document, req: dict[str, Any]) -> Document:
    """The encryption members: what the writer asks for, else the bucket's default."""
    algorithm = req.get("ServerSideEncryption")
    if req.get("SSECustomerAlgorithm") or req.get("SSECustomerKey"):
        if algorithm is not None:
            message = "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
            raise invalid_argument(message, ENCRYPTED, algorithm)
        return customer_key(req)
    if algorithm is None:
        if req.get("SSEKMSKeyId"):
            message = "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
            raise invalid_argument(message, ENCRYPTED, None)
        return encryption_of(bucket)
    if algorithm == "AES256":
        if req.get("SSEKMSKeyId"):
            message = "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
            raise invalid_argument(message, ENCRYPTED, algorithm)
        return {"ServerSideEncryption": algorithm}
    if algorithm not in ("aws:kms", "aws:kms:dsse", "aws:fsx", "aws:backup"):
        raise invalid_argument("The encryption method specified is not supported", ENCRYPTED, algorithm)
    default = encryption_of(bucket)
    key = req.get("SSEKMSKeyId") or default.get("SSEKMSKeyId") or ""
    members: Document = {"ServerSideEncryption": algorithm, "SSEKMSKeyId": kms_arn(bucket, key)}
    if req.get("SSEKMSEncryptionContext"):
        _check_encryption_context(req["SSEKMSEncryptionContext"])
        members["SSEKMSEncryptionContext"] = req["SSEKMSEncryptionContext"]
    enabled = req.get("BucketKeyEnabled", default.get("BucketKeyEnabled"))
    return members | ({"BucketKeyEnabled": True} if enabled else {})


def _check_encryption_context(text: str) -> None:
    try:
        pairs = json.loads(base64.b64decode(text, validate=True))
    except ValueError:
        pairs = None
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        name = f"{ENCRYPTED}-context"
        message = f"The header '{name}' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map"
        raise invalid_argument(message, name, text)


def refuse_blocked(ctx: Ctx, bucket: Document, req: dict[str, Any]) -> None:
    """A write with a customer's key, where the bucket blocks those."""
    rules = bucket["Settings"].get("Encryption", {}).get("Rules", [])
    if not rules or "SSE-C" not in rules[0].get("BlockedEncryptionTypes", {}).get("EncryptionType", []):
        return
    action = "s3:CopyObject" if req.get("CopySource") and "UploadId" not in req else "s3:PutObject"
    message = f'User: {ctx.caller.arn} is not authorized to perform: {action} on resource: "arn:aws:s3:::{bucket["Name"]}/{req["Key"]}" because this '
    message += "bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). "
    message += "Please specify a different server-side encryption type"
    raise AwsError("AccessDenied", message, status=403)


def customer_key(req: dict[str, Any], prefix: str = "") -> Document:
    """SSE-C: the key is checked against its MD5 and not kept; readers must bring it again."""
    algorithm, key, digest = (req.get(f"{prefix}SSECustomer{name}") for name in ("Algorithm", "Key", "KeyMD5"))
    start = "Requests specifying Server Side Encryption with Customer provided keys must provide"
    if not algorithm:
        raise _bad_key(f"{start} a valid encryption algorithm.")
    if algorithm != "AES256":
        message = "The Encryption request you specified is not valid. Supported value: AES256."
        raise AwsError("InvalidEncryptionAlgorithmError", message, status=400, ArgumentName=ENCRYPTED, ArgumentValue=algorithm)
    if not key:
        raise _bad_key(f"{start} an appropriate secret key.")
    if not digest:
        raise _bad_key(f"{start} the client calculated MD5 of the secret key.")
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest()).decode() != digest:
        raise _bad_key("The calculated MD5 hash of the key did not match the hash that was provided.")
    if len(raw) != 32:
        raise _bad_key(WRONG_LENGTH)
    return {"SSECustomerAlgorithm": algorithm, "SSECustomerKeyMD5": digest}


def _bad_key(message: str) -> AwsError:
    """A customer's key that is none; AWS names the header of encryption at large, and no value."""
    return AwsError("InvalidArgument", message, status=400, ArgumentName=ENCRYPTED)


def check_customer_key(document: Document, req: dict[str, Any], prefix: str = "") -> None:
    """A reader of an SSE-C object must bring its key; of any other, none."""
    kept = document.get("SSECustomerKeyMD5")
    given = req.get(f"{prefix}SSECustomerAlgorithm") or req.get(f"{prefix}SSECustomerKey")
    if kept is None:
        if given:
            raise invalid_request("The encryption parameters are not applicable to this object.")
        return
    if not given:
        message = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."
        raise invalid_request(message)
    try:
        right = customer_key(req, prefix)["SSECustomerKeyMD5"] == kept
    except AwsError as problem:
        if WRONG_LENGTH not in problem.message:
            raise
        right = False
    if not right:
        message = "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key."
        raise AwsError("AccessDenied", message, status=403)


def shown_encryption(document: Document) -> Document:
    """The encryption members of an answer."""
    return {name: document[name] for name in ENCRYPTION if name in document}


# ---------------------------------------------------------------- readers


def told(bucket: Document, version: Version) -> Document:
    """What GetObject and HeadObject say about a version, without its bytes and checksums."""
    document = version.document
    answer: Document = {
        "AcceptRanges": "bytes",
        "LastModified": version.modified,
        "ETag": f'"{version.etag}"',
        "Metadata": document.get("Metadata", {}),
        **shown_version(bucket, version.version_id),
        **shown_encryption(document),
    }
    answer |= {name: document[name] for name in HEADERS if name in document}
    if version.storage_class != "STANDARD":
        answer["StorageClass"] = version.storage_class
    for name in LOCKS:
        if name in document:
            answer[name] = moment(document[name]) if name == "ObjectLockRetainUntilDate" else document[name]
    if "Expires" in document:
        answer["_headers"] = {"Expires": document["Expires"]}
    if document.get("Tags"):
        answer["TagCount"] = len(document["Tags"])
    if restore := document.get("Restore"):
        answer["Restore"] = restore
    return answer | lifecycle.expiration_member(bucket, version)
