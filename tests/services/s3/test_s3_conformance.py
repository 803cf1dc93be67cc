"""What public conformance suites look at and clients rarely do: odd values, order of refusals, members that AWS leaves out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import socket
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from dewfall.errors import AwsError
from dewfall.receiving import next_message
from dewfall.testing import Server
from tests.services.s3.conftest import Refused


def ask(s3: Any, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request as a stranger writes it."""
    connection = http.client.HTTPConnection(urlsplit(s3.meta.endpoint_url).netloc, timeout=90)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_expires_comes_back_as_it_was_written(s3: Any) -> None:
    ask(s3, "PUT", "/data/k", b"x", Expires="soon")
    assert ask(s3, "HEAD", "/data/k")[1]["expires"] == "soon"
    assert ask(s3, "GET", "/data/k?response-expires=123")[1]["expires"] == "123"


def test_modified_since_a_day_to_come_is_no_condition(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"x")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert s3.get_object(Bucket="data", Key="k", IfModifiedSince=tomorrow)["Body"].read() == b"x"


def test_range_of_everything_has_the_checksum(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"hello", ChecksumAlgorithm="SHA256")
    whole = s3.get_object(Bucket="data", Key="k", Range="bytes=0-99", ChecksumMode="ENABLED")
    part = s3.get_object(Bucket="data", Key="k", Range="bytes=0-1", ChecksumMode="ENABLED")
    assert (whole["ContentRange"], "ChecksumSHA256" in whole, "ChecksumSHA256" in part) == ("bytes 0-4/5", True, False)


def test_deletion_of_an_invented_version(versioned: Any, refused: Refused) -> None:
    assert refused(versioned.delete_object, Bucket="data", Key="k", VersionId="x" * 32) == ("InvalidArgument", 400)
    answer = versioned.delete_objects(Bucket="data", Delete={"Objects": [{"Key": "k", "VersionId": "x" * 32}]})
    assert answer["Errors"] == [{"Key": "k", "VersionId": "x" * 32, "Code": "NoSuchVersion", "Message": "The specified version does not exist."}]


def test_tags_behind_a_delete_marker(versioned: Any, refused: Refused) -> None:
    versioned.put_object(Bucket="data", Key="k")
    versioned.delete_object(Bucket="data", Key="k")
    assert refused(versioned.get_object_tagging, Bucket="data", Key="k") == ("MethodNotAllowed", 405)


@pytest.mark.parametrize("header", ["a=1&a=2", "a=1,b=2", "a=1=2"])
def test_tags_that_are_no_query(s3: Any, refused: Refused, header: str) -> None:
    assert refused(s3.put_object, Bucket="data", Key="k", Tagging=header) == ("InvalidArgument", 400)


def test_bypass_only_where_there_are_locks(s3: Any, refused: Refused) -> None:
    assert refused(s3.delete_object, Bucket="data", Key="k", BypassGovernanceRetention=True) == ("InvalidArgument", 400)
    listed = {"Objects": [{"Key": "k"}]}
    assert refused(s3.delete_objects, Bucket="data", Delete=listed, BypassGovernanceRetention=True) == ("InvalidArgument", 400)


def test_lists_of_versions_are_deleted_with_the_bypass_wherever(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="k")
    listed = {"Objects": [{"Key": "k", "VersionId": "null"}]}
    assert "Errors" not in s3.delete_objects(Bucket="data", Delete=listed, BypassGovernanceRetention=True)
    assert s3.list_objects_v2(Bucket="data")["KeyCount"] == 0


def test_locked_objects_come_with_a_checksum(s3: Any) -> None:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    assert ask(s3, "PUT", "/locked/k", b"x", x_amz_object_lock_legal_hold="ON")[0] == 400
    digest = base64.b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode()
    assert ask(s3, "PUT", "/locked/k", b"x", x_amz_object_lock_legal_hold="ON", content_md5=digest)[0] == 200


@pytest.mark.parametrize(("unit", "count"), [("Days", 36_501), ("Years", 101)])
def test_default_retention_has_an_end(s3: Any, refused: Refused, unit: str, count: int) -> None:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", unit: count}}}
    assert refused(s3.put_object_lock_configuration, Bucket="locked", ObjectLockConfiguration=rule) == ("InvalidArgument", 400)


def test_governance_becomes_compliance_only_by_bypass(s3: Any, refused: Refused) -> None:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    until = datetime.now(UTC) + timedelta(days=1)
    s3.put_object(Bucket="locked", Key="k", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    wanted = {"Bucket": "locked", "Key": "k", "Retention": {"Mode": "COMPLIANCE", "RetainUntilDate": until}}
    assert refused(s3.put_object_retention, **wanted) == ("AccessDenied", 403)
    s3.put_object_retention(**wanted, BypassGovernanceRetention=True)


def test_conditional_completion_after_a_change(s3: Any, refused: Refused) -> None:
    etag = s3.put_object(Bucket="data", Key="k", Body=b"1")["ETag"]
    upload = s3.create_multipart_upload(Bucket="data", Key="k")["UploadId"]
    part = s3.upload_part(Bucket="data", Key="k", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    s3.put_object(Bucket="data", Key="k", Body=b"1")
    wanted = {"Bucket": "data", "Key": "k", "UploadId": upload, "MultipartUpload": {"Parts": [{"ETag": part, "PartNumber": 1}]}}
    assert refused(s3.complete_multipart_upload, **wanted, IfMatch=etag) == ("ConditionalRequestConflict", 409)
    assert refused(s3.complete_multipart_upload, **wanted, IfMatch='"other"') == ("PreconditionFailed", 412)


def test_deletion_list_needs_a_checksum(s3: Any) -> None:
    status, _, body = ask(s3, "POST", "/data?delete", b"<Delete><Object><Key>k</Key></Object></Delete>")
    assert (status, b"Missing required header" in body) == (400, True)


@pytest.mark.parametrize(("digest", "code"), [("AAAA", b"InvalidDigest"), ("A" * 22 + "==", b"BadDigest")])
def test_documents_have_digests(s3: Any, digest: str, code: bytes) -> None:
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    assert code in ask(s3, "POST", "/data?delete", body, Content_MD5=digest)[2]


def test_address_that_is_no_text(s3: Any) -> None:
    assert b"InvalidURI" in ask(s3, "GET", "/data/%AE%8A-")[2]


def test_reads_take_no_encryption_header(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="k")
    assert ask(s3, "HEAD", "/data/k", x_amz_server_side_encryption="AES256")[0] == 400


def test_lists_tell_the_region(s3: Any) -> None:
    answer = s3.list_objects_v2(Bucket="data")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"


def test_public_acls_blocked(s3: Any, refused: Refused) -> None:
    s3.put_public_access_block(Bucket="data", PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    assert refused(s3.put_bucket_acl, Bucket="data", ACL="public-read") == ("AccessDenied", 403)
    assert refused(s3.put_object, Bucket="data", Key="k", ACL="authenticated-read") == ("AccessDenied", 403)


def test_acls_after_ownership_was_deleted(s3: Any) -> None:
    s3.delete_bucket_ownership_controls(Bucket="data")
    s3.put_bucket_acl(Bucket="data", ACL="public-read")
    assert len(s3.get_bucket_acl(Bucket="data")["Grants"]) == 2


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"NoncurrentVersionExpiration": {}}, "MalformedXML"),
        ({"Filter": {"And": {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}}, "Expiration": {"Days": 1}}, "InvalidRequest"),
        ({"Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}}, "MalformedXML"),
        ({"Filter": {"And": {"Prefix": "a"}}, "Expiration": {"Days": 1}}, "MalformedXML"),
        ({"Filter": {"ObjectSizeLessThan": 0}, "Expiration": {"Days": 1}}, "InvalidRequest"),
        ({"Filter": {"And": {"ObjectSizeLessThan": 5, "ObjectSizeGreaterThan": 5}}, "Expiration": {"Days": 1}}, "InvalidRequest"),
        ({"Filter": {"ObjectSizeGreaterThan": 5}, "Expiration": {"ExpiredObjectDeleteMarker": True}}, "InvalidRequest"),
        ({"Filter": {"Tag": {"Key": "a", "Value": ""}}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}, "InvalidRequest"),
        ({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}}, "InvalidArgument"),
    ],
)
def test_life_cycles_that_are_none(s3: Any, refused: Refused, rule: dict[str, Any], code: str) -> None:
    rules = [{"ID": "r", "Status": "Enabled", "Filter": {}, **rule}]
    found = refused(s3.put_bucket_lifecycle_configuration, Bucket="data", LifecycleConfiguration={"Rules": rules})
    assert found == (code, 400)


def test_expiration_is_told_of_keys_not_versions(versioned: Any) -> None:
    rules = [{"ID": "r", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]
    versioned.put_bucket_lifecycle_configuration(Bucket="data", LifecycleConfiguration={"Rules": rules})
    version = versioned.put_object(Bucket="data", Key="k")["VersionId"]
    assert "Expiration" in versioned.head_object(Bucket="data", Key="k")
    assert "Expiration" not in versioned.head_object(Bucket="data", Key="k", VersionId=version)


def test_completion_without_any_part(s3: Any, refused: Refused) -> None:
    upload = s3.create_multipart_upload(Bucket="data", Key="k")["UploadId"]
    wanted = {"Bucket": "data", "Key": "k", "UploadId": upload}
    assert refused(s3.complete_multipart_upload, **wanted) == ("InvalidRequest", 400)
    assert refused(s3.complete_multipart_upload, **wanted, MultipartUpload={"Parts": []}) == ("MalformedXML", 400)


def test_a_put_that_looks_like_a_form_is_none(s3: Any) -> None:
    assert ask(s3, "PUT", "/data/k", b"\xff=1&Action=x", Content_Type="application/x-www-form-urlencoded")[0] == 200
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"\xff=1&Action=x"


def test_nobody_here_has_an_email_address(s3: Any) -> None:
    s3.create_bucket(Bucket="mail")
    s3.put_object(Bucket="mail", Key="k")
    with pytest.raises(ClientError) as caught:
        s3.put_object_acl(Bucket="mail", Key="k", GrantRead='emailAddress="nobody@example.com"')
    assert caught.value.response["Error"]["Code"] == "UnresolvableGrantByEmailAddress"


def test_parts_out_of_order_are_told_before_missing_ones(s3: Any) -> None:
    s3.create_bucket(Bucket="order")
    upload = s3.create_multipart_upload(Bucket="order", Key="k")["UploadId"]
    parts = [{"PartNumber": 2, "ETag": "x"}, {"PartNumber": 1, "ETag": "x"}]
    with pytest.raises(ClientError) as caught:
        s3.complete_multipart_upload(Bucket="order", Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    assert caught.value.response["Error"]["Code"] == "InvalidPartOrder"


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("nonsense", "The ARN could not be parsed"),
        ("arn:aws:sns:us-east-1:000000000000:q", "The ARN is not well formed"),
        ("arn:aws:sqs:us-west-2:000000000000:q", "The notification destination service region is not valid for the bucket location constraint"),
    ],
)
def test_destinations_of_notifications_are_checked(s3: Any, arn: str, message: str) -> None:
    s3.create_bucket(Bucket="told")
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_notification_configuration(Bucket="told", NotificationConfiguration=configuration)
    assert caught.value.response["Error"]["Message"] == message


def test_errors_name_no_resource_that_aws_leaves_out(s3: Any) -> None:
    assert b"<Resource>" not in ask(s3, "GET", "/data/none")[2]


@pytest.mark.parametrize("constraint", ["us-east-1", "us-moon-2"])
def test_a_region_takes_no_other_constraint(dewfall: Server, refused: Refused, constraint: str) -> None:
    west = dewfall.client("s3", region_name="us-west-2")
    wanted = {"Bucket": "elsewhere", "CreateBucketConfiguration": {"LocationConstraint": constraint}}
    assert refused(west.create_bucket, **wanted) == ("IllegalLocationConstraintException", 400)


def test_a_named_version_is_copied_in_place(versioned: Any, refused: Refused) -> None:
    version = versioned.put_object(Bucket="data", Key="k", Body=b"1")["VersionId"]
    source = {"Bucket": "data", "Key": "k"}
    versioned.copy_object(Bucket="data", Key="k", CopySource={**source, "VersionId": version})
    assert refused(versioned.copy_object, Bucket="data", Key="k", CopySource=source) == ("InvalidRequest", 400)


def test_configurations_without_a_body(versioned: Any, refused: Refused) -> None:
    assert refused(versioned.put_object_lock_configuration, Bucket="data") == ("MissingRequestBodyError", 400)


def test_attributes_of_an_object_must_be_named(s3: Any, refused: Refused) -> None:
    s3.put_object(Bucket="data", Key="k")
    assert refused(s3.get_object_attributes, Bucket="data", Key="k", ObjectAttributes=[]) == ("InvalidArgument", 400)


def test_a_token_makes_the_start_forgotten(s3: Any) -> None:
    for key in "abc":
        s3.put_object(Bucket="data", Key=key)
    first = s3.list_objects_v2(Bucket="data", MaxKeys=1, StartAfter="a")
    second = s3.list_objects_v2(Bucket="data", StartAfter="a", ContinuationToken=first["NextContinuationToken"])
    assert (first["StartAfter"], "StartAfter" in second, second["Contents"][0]["Key"]) == ("a", False, "c")


@pytest.mark.parametrize("change", [{"NoncurrentDays": 3}, {"StorageClass": "GLACIER"}, {"NoncurrentDays": 3, "StorageClass": "ATTIC"}])
def test_transitions_say_when_and_whereto(s3: Any, refused: Refused, change: dict[str, Any]) -> None:
    rule = {"ID": "r", "Status": "Enabled", "Filter": {}, "NoncurrentVersionTransitions": [change]}
    assert refused(s3.put_bucket_lifecycle_configuration, Bucket="data", LifecycleConfiguration={"Rules": [rule]}) == ("MalformedXML", 400)


def test_acceleration_never_set_cannot_be_suspended(s3: Any) -> None:
    s3.put_bucket_accelerate_configuration(Bucket="data", AccelerateConfiguration={"Status": "Suspended"})
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket="data")


def test_metadata_in_a_presigned_query(dewfall: Server, s3: Any) -> None:
    old = dewfall.client("s3", config=Config(signature_version="s3"))
    url = old.generate_presigned_url("put_object", Params={"Bucket": "data", "Key": "k", "Metadata": {"colour": "blue"}})
    ask(s3, "PUT", urlsplit(url).path + "?" + urlsplit(url).query, b"x")
    assert s3.head_object(Bucket="data", Key="k")["Metadata"] == {"colour": "blue"}


def test_names_of_an_accounts_own_namespace(s3: Any, refused: Refused) -> None:
    assert refused(s3.create_bucket, Bucket="free-name", BucketNamespace="account-regional") == ("InvalidNamespaceHeader", 400)
    s3.create_bucket(Bucket="mine-000000000000-us-east-1-an", BucketNamespace="account-regional")


@pytest.mark.parametrize(("value", "start"), [(-1, "Argument"), (2**31, "Provided")])
@pytest.mark.parametrize("member", ["MaxParts", "PartNumberMarker"])
def test_pages_of_parts_begin_at_a_number(s3: Any, member: str, value: int, start: str) -> None:
    upload = s3.create_multipart_upload(Bucket="data", Key="k")["UploadId"]
    with pytest.raises(ClientError, match=rf"\(InvalidArgument\).*: {start} (max-parts|part-number-marker) "):
        s3.list_parts(Bucket="data", Key="k", UploadId=upload, **{member: value})


def test_a_part_marker_is_a_number(s3: Any) -> None:
    upload = s3.create_multipart_upload(Bucket="data", Key="k")["UploadId"]
    assert ask(s3, "GET", f"/data/k?uploadId={upload}&part-number-marker=two")[0] == 400


@pytest.mark.parametrize(
    ("moves", "expiration", "message"),
    [
        ([{"Days": 9, "StorageClass": "STANDARD_IA"}], {}, "'Days' in Transition action must be greater than or equal to 30"),
        ([{"Days": day, "StorageClass": "GLACIER"} for day in (1, 2)], {}, "'StorageClass' must be different for 'Transition' actions"),
        ([{"Days": 9, "StorageClass": "GLACIER"}], {"Days": 9}, "'Days' in the Expiration action for filter '(prefix=a)' must be greater"),
        ([{"Days": 9, "StorageClass": "GLACIER"}], {"Date": "2999-01-01T00:00:00Z"}, "Found mixed 'Date' and 'Days' based Expiration"),
    ],
)
def test_transitions_that_fit_nothing(s3: Any, moves: list[dict[str, Any]], expiration: dict[str, Any], message: str) -> None:
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "a"}, "Transitions": moves} | ({"Expiration": expiration} if expiration else {})
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_lifecycle_configuration(Bucket="data", LifecycleConfiguration={"Rules": [rule]})
    assert caught.value.response["Error"]["Code"] == "InvalidArgument"
    assert caught.value.response["Error"]["Message"].startswith(message)


def test_a_bucket_with_grants_cannot_enforce_ownership(s3: Any, refused: Refused) -> None:
    s3.put_bucket_acl(Bucket="data", ACL="public-read")
    wanted = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    refusal = refused(s3.put_bucket_ownership_controls, Bucket="data", OwnershipControls=wanted)
    assert refusal == ("InvalidBucketAclWithObjectOwnership", 400)


def test_creating_a_bucket_again_resets_its_acl(s3: Any) -> None:
    s3.put_bucket_acl(Bucket="data", ACL="public-read")
    s3.create_bucket(Bucket="data")
    assert len(s3.get_bucket_acl(Bucket="data")["Grants"]) == 1


def test_two_kinds_of_encryption_at_once(s3: Any, refused: Refused) -> None:
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    assert refused(s3.put_object, Bucket="data", Key="k", ServerSideEncryption="AES256", **key) == ("InvalidArgument", 400)


def test_parts_bring_the_key_that_the_upload_began_with(s3: Any, refused: Refused) -> None:
    s3.put_object(Bucket="data", Key="source", Body=b"x")
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    upload = {"Bucket": "data", "Key": "k", "UploadId": s3.create_multipart_upload(Bucket="data", Key="k", **key)["UploadId"]}
    for other in ({}, key | {"SSECustomerKey": "o" * 32}):
        assert refused(s3.upload_part, **upload, PartNumber=1, Body=b"x", **other) == ("InvalidRequest", 400)
        assert refused(s3.upload_part_copy, **upload, PartNumber=1, CopySource="data/source", **other) == ("InvalidRequest", 400)
    part = s3.upload_part_copy(**upload, PartNumber=1, CopySource="data/source", **key)["CopyPartResult"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert refused(s3.complete_multipart_upload, **upload, MultipartUpload=parts, **other) == ("InvalidRequest", 400)
    s3.complete_multipart_upload(**upload, MultipartUpload=parts, **key)


def test_where_ownership_is_enforced_a_private_acl_is_one_too_many(s3: Any, refused: Refused) -> None:
    s3.put_bucket_ownership_controls(Bucket="data", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    assert refused(s3.put_object, Bucket="data", Key="k", ACL="private") == ("AccessControlListNotSupported", 400)
    assert refused(s3.put_bucket_acl, Bucket="data", ACL="private") == ("AccessControlListNotSupported", 400)
    s3.put_object(Bucket="data", Key="k", ACL="bucket-owner-full-control")


@pytest.mark.parametrize(
    ("setting", "code"),
    [("policy", b"MalformedPolicy"), ("logging", b"MissingRequestBodyError"), ("ownershipControls", b"MissingRequestBodyError")],
)
def test_settings_without_a_body(s3: Any, setting: str, code: bytes) -> None:
    assert b"<Code>" + code + b"</Code>" in ask(s3, "PUT", f"/data?{setting}")[2]


def test_a_region_that_is_none_makes_buckets_in_the_first_one(dewfall: Server, s3: Any) -> None:
    dewfall.client("s3", region_name="US").create_bucket(Bucket="named-by-an-old-client")
    assert s3.head_bucket(Bucket="named-by-an-old-client")["BucketRegion"] == "us-east-1"


def test_a_length_that_is_too_short_is_a_wrong_digest(s3: Any) -> None:
    with socket.create_connection((urlsplit(s3.meta.endpoint_url).hostname, urlsplit(s3.meta.endpoint_url).port), timeout=60) as line:
        head = f"PUT /data/k HTTP/1.1\r\nHost: s3\r\nContent-Length: 2\r\nx-amz-content-sha256: {sha256(b'bar').hexdigest()}\r\n\r\n"
        line.sendall(head.encode() + b"bar")
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert b"<Code>XAmzContentSHA256Mismatch</Code>" in answer


def test_a_body_that_never_comes_is_waited_for_no_longer_than_needed() -> None:
    async def never() -> dict[str, Any]:
        return await asyncio.Future()

    with pytest.raises(AwsError) as caught:
        asyncio.run(next_message(never, 0.0))
    assert (caught.value.code, caught.value.status) == ("RequestTimeout", 400)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x_amz_content_sha256": "abc"}, 400, b"InvalidArgument"),
        ({"x_amz_sdk_checksum_algorithm": "SHA256"}, 400, b"InvalidRequest"),
        ({"x_amz_content_sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, 411, b"MissingContentLength"),
    ],
)
def test_headers_about_the_payload_that_do_not_fit(s3: Any, headers: dict[str, str], status: int, code: bytes) -> None:
    answer = ask(s3, "PUT", "/data/k", b"x", **headers)
    assert (answer[0], b"<Code>" + code + b"</Code>" in answer[2]) == (status, True)


def test_an_object_of_unsaid_length(dewfall: Server, s3: Any) -> None:
    answer = httpx.put(f"{dewfall.url}/data/k", content=iter([b"ab", b"c"]))  # sent in HTTP's chunks
    assert (answer.status_code, "<Header>Transfer-Encoding</Header>" in answer.text) == (501, True)
    assert "<Code>NotImplemented</Code>" in answer.text


def test_the_region_of_no_place(dewfall: Server, s3: Any) -> None:
    signed = "AWS4-HMAC-SHA256 Credential=test/20260101/aws-global/s3/aws4_request, SignedHeaders=host, Signature=00"
    answer = ask(s3, "GET", "/data", Authorization=signed, x_amz_date="20260101T000000Z")
    assert b"<Code>AuthorizationHeaderMalformed</Code>" in answer[2]
    assert b"<Region>us-east-1</Region>" in answer[2]


def test_least_sizes_of_transitions_are_two_words(s3: Any, refused: Refused) -> None:
    rule = {"ID": "r", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 7}}
    wanted = {"LifecycleConfiguration": {"Rules": [rule]}, "TransitionDefaultMinimumObjectSize": "none"}
    assert refused(s3.put_bucket_lifecycle_configuration, Bucket="data", **wanted) == ("InvalidRequest", 400)


def test_an_algorithm_without_a_value_counts_for_nothing(s3: Any) -> None:
    assert ask(s3, "PUT", "/data/k", b"x", x_amz_checksum_algorithm="SHA256")[0] == 200
    told = s3.head_object(Bucket="data", Key="k", ChecksumMode="ENABLED")
    assert ("ChecksumCRC64NVME" in told, "ChecksumSHA256" in told) == (True, False)


def test_an_expected_owner_that_is_no_account(s3: Any) -> None:
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_policy(Bucket="data", ExpectedBucketOwner="abcd")
    assert caught.value.response["Error"] == {
        "Code": "InvalidBucketOwnerAWSAccountID",
        "Message": "The value of the expected bucket owner parameter must be an AWS Account ID... [abcd]",
    }


def test_a_plus_in_a_copy_source_is_a_space(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="a b", Body=b"x")
    assert ask(s3, "PUT", "/data/k", x_amz_copy_source="data%2Fa+b")[0] == 200
    s3.put_object(Bucket="data", Key="a+b", Body=b"y")
    s3.copy_object(Bucket="data", Key="k", CopySource="data/a+b")
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"y"


def test_a_form_of_another_type(s3: Any) -> None:
    answer = ask(s3, "POST", "/data", b"key=k", Content_Type="text/plain")
    assert (answer[0], b"<Condition>Bucket POST must be of the enclosure-type multipart/form-data</Condition>" in answer[2]) == (412, True)


@pytest.mark.parametrize(
    ("owner", "grantee", "code"),
    [
        ("wrong", {"Type": "CanonicalUser", "ID": "a" * 64}, "InvalidArgument"),
        ("a" * 64, {"Type": "Group", "ID": "a" * 64}, "MalformedACLError"),
        ("a" * 64, {"Type": "CanonicalUser", "URI": "http://acs.amazonaws.com/groups/s3/LogDelivery"}, "MalformedACLError"),
    ],
)
def test_acls_that_say_nobody(s3: Any, refused: Refused, owner: str, grantee: dict[str, str], code: str) -> None:
    policy = {"Owner": {"ID": owner}, "Grants": [{"Grantee": grantee, "Permission": "READ"}]}
    assert refused(s3.put_bucket_acl, Bucket="data", AccessControlPolicy=policy) == (code, 400)


def test_grants_that_cannot_be_read_are_named_as_their_header(s3: Any) -> None:
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_acl(Bucket="data", GrantFullControl='name="1234"')
    assert caught.value.response["Error"]["ArgumentName"] == "x-amz-grant-full-control"


@pytest.mark.parametrize(
    ("key", "code", "message"),
    [
        ({"SSECustomerKey": "k" * 32}, "InvalidArgument", "Requests specifying Server Side Encryption with Customer provided keys must provide"),
        ({"SSECustomerKey": "k" * 16, "SSECustomerAlgorithm": "AES256"}, "InvalidArgument", "The secret key was invalid"),
        ({"SSECustomerKey": "k" * 32, "SSECustomerAlgorithm": "KMS"}, "InvalidEncryptionAlgorithmError", "The Encryption request you specified"),
    ],
)
def test_customers_keys_that_are_none(s3: Any, key: dict[str, str], code: str, message: str) -> None:
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="data", Key="k", **key)
    error = caught.value.response["Error"]
    assert (error["Code"], error["ArgumentName"]) == (code, "x-amz-server-side-encryption")
    assert error["Message"].startswith(message)


@pytest.mark.parametrize(
    ("wheres", "message"),
    [
        ([{"Prefix": "a"}, {"Filter": {}}], "Filter element can only be used in Lifecycle V2."),
        ([{"Filter": {}}, {"Prefix": "a"}], "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter."),
        ([{"Prefix": "a"}, {"Prefix": ""}], "Found overlapping prefixes '' and 'a' for same action type 'Expiration'"),
    ],
)
def test_rules_of_a_life_cycle_that_do_not_go_together(s3: Any, wheres: list[dict[str, Any]], message: str) -> None:
    rules = [{"ID": f"r{n}", "Status": "Enabled", "Expiration": {"Days": 1}, **where} for n, where in enumerate(wheres)]
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_lifecycle_configuration(Bucket="data", LifecycleConfiguration={"Rules": rules})
    assert caught.value.response["Error"] == {"Code": "InvalidRequest", "Message": message}


def test_uploads_tell_when_a_rule_aborts_them(s3: Any) -> None:
    rules = [
        {"ID": f"r {days}", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}} for days in (9, 2)
    ]
    s3.put_bucket_lifecycle_configuration(Bucket="data", LifecycleConfiguration={"Rules": rules})
    begun = s3.create_multipart_upload(Bucket="data", Key="k")
    listed = s3.list_parts(Bucket="data", Key="k", UploadId=begun["UploadId"])
    assert [told["AbortRuleId"] for told in (begun, listed)] == ["r 2", "r 2"]
    assert begun["AbortDate"] == listed["AbortDate"]
    assert begun["AbortDate"].hour == 0
