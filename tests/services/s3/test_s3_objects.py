"""Objects: bytes, headers, ranges, conditions, checksums, keys of every kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from dewfall.testing import Server

Refused = Callable[..., tuple[str, int]]

STRANGE = ["../up", "a/../b", "a//b/", "/", "é日本😀", "a", "a/b", "%41", "sp ace+plus", "x" * 1024, "a@1", ".", "..", "q?x=1&y#z", "tab\there"]


def test_what_was_put_comes_back_with_its_headers(s3: Any) -> None:
    told = {"ContentType": "text/csv", "CacheControl": "no-cache", "ContentDisposition": "inline", "ContentLanguage": "en", "Metadata": {"k": "v"}}
    put = s3.put_object(Bucket="data", Key="k", Body=b"a,b", ContentEncoding="identity", **told)
    got = s3.get_object(Bucket="data", Key="k")
    assert got["Body"].read() == b"a,b"
    assert put["ETag"] == got["ETag"] == f'"{hashlib.md5(b"a,b").hexdigest()}"'
    assert {name: got[name] for name in told} == told
    assert (got["ContentLength"], got["ServerSideEncryption"], got["AcceptRanges"]) == (3, "AES256", "bytes")


@pytest.mark.parametrize("key", STRANGE)
def test_keys_of_every_kind(s3: Any, key: str) -> None:
    s3.put_object(Bucket="data", Key=key, Body=key.encode())
    assert s3.get_object(Bucket="data", Key=key)["Body"].read() == key.encode()
    assert [c["Key"] for c in s3.list_objects_v2(Bucket="data")["Contents"]] == [key]
    s3.delete_object(Bucket="data", Key=key)
    assert s3.list_objects_v2(Bucket="data")["KeyCount"] == 0


def test_keys_end_at_1024_bytes(s3: Any, refused: Refused) -> None:
    assert refused(s3.put_object, Bucket="data", Key="é" * 513) == ("KeyTooLongError", 400)


@pytest.mark.parametrize(
    ("size", "asked", "start", "end"), [(10, "2-4", 2, 5), (10, "7-", 7, 10), (10, "-3", 7, 10), (200_000, "5-199998", 5, 199_999)]
)
def test_ranges(s3: Any, size: int, asked: str, start: int, end: int) -> None:
    body = bytes(i % 251 for i in range(size))
    s3.put_object(Bucket="data", Key="k", Body=body)
    got = s3.get_object(Bucket="data", Key="k", Range=f"bytes={asked}")
    assert got["Body"].read() == body[start:end]
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["ContentRange"]) == (206, f"bytes {start}-{end - 1}/{size}")


def test_a_range_outside_is_refused_and_nonsense_ignored(s3: Any, refused: Refused) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"0123456789")
    assert refused(s3.get_object, Bucket="data", Key="k", Range="bytes=10-") == ("InvalidRange", 416)
    assert s3.get_object(Bucket="data", Key="k", Range="lines=1-2")["Body"].read() == b"0123456789"


def test_conditions_of_reads(s3: Any, refused: Refused) -> None:
    etag = s3.put_object(Bucket="data", Key="k", Body=b"x")["ETag"]
    when = s3.head_object(Bucket="data", Key="k")["LastModified"]
    assert refused(s3.get_object, Bucket="data", Key="k", IfNoneMatch=etag) == ("304", 304)
    assert refused(s3.head_object, Bucket="data", Key="k", IfModifiedSince=when) == ("304", 304)
    assert refused(s3.get_object, Bucket="data", Key="k", IfMatch='"other"') == ("PreconditionFailed", 412)
    assert s3.head_object(Bucket="data", Key="k", IfMatch=etag, IfUnmodifiedSince=when.replace(year=2001))["ETag"] == etag


def test_conditional_writes(s3: Any, refused: Refused) -> None:
    etag = s3.put_object(Bucket="data", Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, Bucket="data", Key="k", Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket="data", Key="k", Body=b"2", IfMatch='"other"') == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket="data", Key="none", Body=b"2", IfMatch=etag) == ("NoSuchKey", 404)
    s3.put_object(Bucket="data", Key="k", Body=b"2", IfMatch=etag)
    assert refused(s3.delete_object, Bucket="data", Key="k", IfMatch=etag) == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"2"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_are_verified_and_returned(s3: Any, refused: Refused, algorithm: str) -> None:
    member = f"Checksum{algorithm}"
    put = s3.put_object(Bucket="data", Key="k", Body=b"abc", ChecksumAlgorithm=algorithm)
    got = s3.head_object(Bucket="data", Key="k", ChecksumMode="ENABLED")
    assert (put[member], got["ChecksumType"]) == (got[member], "FULL_OBJECT")
    assert refused(s3.put_object, Bucket="data", Key="k", Body=b"abd", **{member: put[member]}) == ("BadDigest", 400)


def test_content_md5_is_held_against_the_body(s3: Any, refused: Refused) -> None:
    assert refused(s3.put_object, Bucket="data", Key="k", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==") == ("BadDigest", 400)
    assert refused(s3.put_object, Bucket="data", Key="k", Body=b"x", ContentMD5="nonsense") == ("InvalidDigest", 400)


def test_a_reader_may_override_headers(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"x")
    got = s3.head_object(Bucket="data", Key="k", ResponseContentType="text/x", ResponseContentDisposition="attachment")
    assert (got["ContentType"], got["ContentDisposition"]) == ("text/x", "attachment")


def test_a_large_body_streams_through(s3: Any) -> None:
    body = bytes(range(256)) * 20_000
    s3.put_object(Bucket="data", Key="k", Body=body)
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == body


def test_kms_without_a_key_is_echoed(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    head = s3.head_object(Bucket="data", Key="k")
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"].startswith("arn:aws:kms:us-east-1:000000000000:")


def test_a_customers_key_must_be_brought_again(s3: Any, refused: Refused) -> None:
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    s3.put_object(Bucket="data", Key="k", Body=b"x", **key)
    assert s3.get_object(Bucket="data", Key="k", **key)["Body"].read() == b"x"
    assert refused(s3.get_object, Bucket="data", Key="k") == ("InvalidRequest", 400)
    assert refused(s3.get_object, Bucket="data", Key="k", SSECustomerAlgorithm="AES256", SSECustomerKey="j" * 32) == ("AccessDenied", 403)
    assert refused(s3.get_object, Bucket="data", Key="k", SSECustomerAlgorithm="AES256", SSECustomerKey="j") == ("AccessDenied", 403)


def test_customers_keys_that_a_bucket_blocks(s3: Any, refused: Refused) -> None:
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    s3.put_object(Bucket="data", Key="k", Body=b"x", **key)
    upload = {"Bucket": "data", "Key": "u", "UploadId": s3.create_multipart_upload(Bucket="data", Key="u", **key)["UploadId"]}

    def block(kind: str) -> Any:
        rule = {"BlockedEncryptionTypes": {"EncryptionType": [kind]}}
        s3.put_bucket_encryption(Bucket="data", ServerSideEncryptionConfiguration={"Rules": [rule]})
        return s3.get_bucket_encryption(Bucket="data")["ServerSideEncryptionConfiguration"]["Rules"][0]

    assert block("SSE-C")["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    plain = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket="data", ServerSideEncryptionConfiguration={"Rules": [plain]})
    assert s3.get_object(Bucket="data", Key="k", **key)["Body"].read() == b"x"
    s3.put_object(Bucket="data", Key="p", Body=b"x")
    assert refused(s3.put_object, Bucket="data", Key="k", **key) == ("AccessDenied", 403)
    assert refused(s3.create_multipart_upload, Bucket="data", Key="k", **key) == ("AccessDenied", 403)
    assert refused(s3.copy_object, Bucket="data", Key="k", CopySource="data/p", **key) == ("AccessDenied", 403)
    assert refused(s3.upload_part, PartNumber=1, Body=b"x", **upload, **key) == ("AccessDenied", 403)
    assert refused(s3.complete_multipart_upload, MultipartUpload={"Parts": []}, **upload) == ("AccessDenied", 403)
    s3.abort_multipart_upload(**upload)
    assert block("NONE")["BlockedEncryptionTypes"] == {"EncryptionType": ["NONE"]}
    s3.put_object(Bucket="data", Key="k", **key)


@pytest.mark.parametrize("context", ["a", "WzFd", "eyJhIjoxfQ=="])
def test_encryption_contexts_that_are_no_map(s3: Any, refused: Refused, context: str) -> None:
    asked = {"Bucket": "data", "Key": "k", "ServerSideEncryption": "aws:kms"}
    assert refused(s3.put_object, **asked, SSEKMSEncryptionContext=context) == ("InvalidArgument", 400)
    s3.put_object(**asked, SSEKMSEncryptionContext="eyJhIjogImIifQ==")


def test_copies_take_or_replace_what_is_told(s3: Any, refused: Refused) -> None:
    s3.put_object(Bucket="data", Key="a b/é", Body=b"x", Metadata={"k": "v"}, Tagging="t=1", ContentType="text/x")
    s3.copy_object(Bucket="data", Key="c", CopySource={"Bucket": "data", "Key": "a b/é"})
    head = s3.head_object(Bucket="data", Key="c")
    assert (head["Metadata"], head["ContentType"], head["TagCount"]) == ({"k": "v"}, "text/x", 1)
    replace = {"MetadataDirective": "REPLACE", "Metadata": {"n": "w"}, "TaggingDirective": "REPLACE"}
    s3.copy_object(Bucket="data", Key="c", CopySource="data/c", **replace)
    head = s3.head_object(Bucket="data", Key="c")
    assert (head["Metadata"], head.get("TagCount")) == ({"n": "w"}, None)
    assert refused(s3.copy_object, Bucket="data", Key="c", CopySource="data/c") == ("InvalidRequest", 400)
    assert refused(s3.copy_object, Bucket="data", Key="c", CopySource="data/none") == ("NoSuchKey", 404)
    assert refused(s3.copy_object, Bucket="data", Key="d", CopySource="data/c", CopySourceIfMatch="x") == ("PreconditionFailed", 412)


def test_many_are_deleted_at_once(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="a", Body=b"x")
    both = [{"Key": "a"}, {"Key": "never"}]
    assert s3.delete_objects(Bucket="data", Delete={"Objects": both})["Deleted"] == both
    assert "Deleted" not in s3.delete_objects(Bucket="data", Delete={"Objects": both, "Quiet": True})


def test_attributes(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"abc")
    got = s3.get_object_attributes(Bucket="data", Key="k", ObjectAttributes=["ETag", "Checksum", "StorageClass", "ObjectSize"])
    assert (got["ETag"], got["ObjectSize"], got["StorageClass"]) == (hashlib.md5(b"abc").hexdigest(), 3, "STANDARD")
    assert got["Checksum"] == {"ChecksumCRC32": "NSRBwg==", "ChecksumType": "FULL_OBJECT"}


def test_a_frozen_object_is_read_after_its_restore(s3: Any, refused: Refused) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"x", StorageClass="GLACIER")
    assert refused(s3.get_object, Bucket="data", Key="k") == ("InvalidObjectState", 403)
    s3.restore_object(Bucket="data", Key="k", RestoreRequest={"Days": 1})
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"x"
    assert refused(s3.put_object, Bucket="data", Key="k", StorageClass="ICE") == ("InvalidStorageClass", 400)


def test_a_presigned_address_works_without_a_client(dewfall: Server, s3: Any) -> None:
    import httpx

    address = s3.generate_presigned_url("put_object", Params={"Bucket": "data", "Key": "k"})
    assert httpx.put(address, content=b"body").status_code == 200
    assert httpx.get(s3.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": "k"})).content == b"body"


def test_a_checksum_in_a_presigned_address_counts_for_nothing(dewfall: Server, s3: Any) -> None:
    import httpx

    empty = {"ChecksumCRC32": "AAAAAA==", "ChecksumAlgorithm": "CRC32"}  # as the SDK for JavaScript signs it, of the body it does not have
    address = s3.generate_presigned_url("put_object", Params={"Bucket": "data", "Key": "k", **empty})
    assert "checksum-crc32" in address
    assert httpx.put(address, content=b"body").status_code == 200
    assert "ChecksumCRC32" not in s3.head_object(Bucket="data", Key="k", ChecksumMode="ENABLED")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("=?UTF-8?B?YWJj?=", "abc"),
        ("=?UTF-8?Q?caf=C3=A9_S3?=", "=?UTF-8?Q?caf=C3=A9_S3?="),
        ("=?UTF-8?B?Y2Fmw6k=?=", "=?UTF-8?Q?caf=C3=A9?="),
        ("=?UTF-8?B?AAEC?=", "=?UTF-8?B?AAEC?="),
        ("=?UTF-8?B?=GGG?=", "=?UTF-8?B?=GGG?="),
        ("=?no-such?Q?x?= plain", "=?no-such?Q?x?= plain"),
    ],
)
def test_encoded_words_in_metadata_are_read_and_written_anew(s3: Any, sent: str, told: str) -> None:
    s3.put_object(Bucket="data", Key="k", Metadata={"m": sent})
    assert s3.head_object(Bucket="data", Key="k")["Metadata"] == {"m": told}


def test_a_header_cannot_be_asked_for_in_other_letters(s3: Any, refused: Refused) -> None:
    s3.put_object(Bucket="data", Key="k")
    assert refused(s3.get_object, Bucket="data", Key="k", ResponseCacheControl="\u2014") == ("InvalidArgument", 400)
