"""Buckets: records whose names are global, found by name alone.

Why here: the engine writes objects too (job outputs, captured data), and must know a bucket's owner and versioning.
"""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError

# A bucket's document: Name, Account, Region, CreationDate, Versioning ("" | Enabled | Suspended), Settings {kind: what was put}.
Document = dict[str, Any]


def bucket_key(name: str) -> Key:
    """A bucket's key has neither account nor region: both are in the document, and the account is the record's parent."""
    return Key("", "", "s3", "bucket", name)


def find_bucket(tx: Tx, name: str) -> Record | None:
    """The bucket's record."""
    return tx.records.get(bucket_key(name))


def need_bucket(tx: Tx, name: str) -> Record:
    """The bucket's record, or NoSuchBucket."""
    record = find_bucket(tx, name)
    if record is None:
        raise no_such_bucket(name)
    return record


def encryption_of(bucket: Document) -> Document:
    """The encryption members that a new object gets when its writer names none: the bucket's default, AES256 without one."""
    rules = bucket["Settings"].get("Encryption", {}).get("Rules", [])
    default = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
    algorithm = default.get("SSEAlgorithm", "AES256")
    if algorithm == "AES256":
        return {"ServerSideEncryption": "AES256"}
    key = kms_arn(bucket, default.get("KMSMasterKeyID", ""))
    members: Document = {"ServerSideEncryption": algorithm, "SSEKMSKeyId": key}
    return members | ({"BucketKeyEnabled": True} if rules[0].get("BucketKeyEnabled") else {})


def kms_arn(bucket: Document, key: str) -> str:
    """A KMS key as S3 answers it: the ARN of what was named, else of the account's S3 key."""
    if key.startswith("arn:"):
        return key
    managed = uuid5(NAMESPACE_URL, f"{bucket['Region']}/{bucket['Account']}/alias/aws/s3")
    resource = key if key.startswith("alias/") else f"key/{key or managed}"
    return f"arn:aws:kms:{bucket['Region']}:{bucket['Account']}:{resource}"


def no_such_bucket(name: str) -> AwsError:
    return AwsError("NoSuchBucket", "The specified bucket does not exist", status=404, BucketName=name)


def no_such_key(key: str) -> AwsError:
    return AwsError("NoSuchKey", "The specified key does not exist.", status=404, Key=key)
