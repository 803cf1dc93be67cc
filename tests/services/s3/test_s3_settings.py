"""A bucket's settings: what is kept, what is refused, what is answered without any."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server

Refused = Callable[..., tuple[str, int]]

ABSENT = {
    "cors": "NoSuchCORSConfiguration",
    "policy": "NoSuchBucketPolicy",
    "policy_status": "NoSuchBucketPolicy",
    "tagging": "NoSuchTagSet",
    "website": "NoSuchWebsiteConfiguration",
    "lifecycle_configuration": "NoSuchLifecycleConfiguration",
    "replication": "ReplicationConfigurationNotFoundError",
}


ROOTS = {  # clients that read XML by the element's name find nothing under another
    "accelerate": "AccelerateConfiguration",
    "notification": "NotificationConfiguration",
    "analytics": "ListBucketAnalyticsConfigurationResult",
    "intelligent-tiering": "ListBucketIntelligentTieringConfigurationsOutput",
    "inventory": "ListInventoryConfigurationsResult",
    "metrics": "ListMetricsConfigurationsResult",
}


@pytest.mark.parametrize(("query", "root"), ROOTS.items())
def test_settings_come_in_the_element_that_aws_names(dewfall: Server, s3: Any, query: str, root: str) -> None:
    assert f"<{root} xmlns=" in httpx.get(f"{dewfall.url}/data?{query}").text


@pytest.mark.parametrize(("kind", "code"), ABSENT.items())
def test_what_was_never_set_is_not_found(s3: Any, refused: Refused, kind: str, code: str) -> None:
    assert refused(getattr(s3, f"get_bucket_{kind}"), Bucket="data") == (code, 404)


def test_new_buckets_are_private_and_encrypted(s3: Any) -> None:
    rule = s3.get_bucket_encryption(Bucket="data")["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert all(s3.get_public_access_block(Bucket="data")["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_ownership_controls(Bucket="data")["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert [g["Permission"] for g in s3.get_bucket_acl(Bucket="data")["Grants"]] == ["FULL_CONTROL"]


def test_default_encryption_reaches_objects(s3: Any) -> None:
    default = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "abc"}, "BucketKeyEnabled": True}]}
    s3.put_bucket_encryption(Bucket="data", ServerSideEncryptionConfiguration=default)
    put = s3.put_object(Bucket="data", Key="k", Body=b"x")
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"][-7:], put["BucketKeyEnabled"]) == ("aws:kms", "key/abc", True)


def test_a_policy_is_kept_word_for_word(s3: Any, refused: Refused) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket="data", Policy=text)
    assert s3.get_bucket_policy(Bucket="data")["Policy"] == text
    assert s3.get_bucket_policy_status(Bucket="data")["PolicyStatus"] == {"IsPublic": True}
    assert refused(s3.put_bucket_policy, Bucket="data", Policy="no") == ("MalformedPolicy", 400)
    other = text.replace("data", "other")
    assert refused(s3.put_bucket_policy, Bucket="data", Policy=other) == ("MalformedPolicy", 400)


def test_settings_come_back_and_go(s3: Any, refused: Refused) -> None:
    site = {"IndexDocument": {"Suffix": "index.html"}}
    s3.put_bucket_website(Bucket="data", WebsiteConfiguration=site)
    assert s3.get_bucket_website(Bucket="data")["IndexDocument"] == site["IndexDocument"]
    s3.delete_bucket_website(Bucket="data")
    assert refused(s3.get_bucket_website, Bucket="data") == ("NoSuchWebsiteConfiguration", 404)
    s3.put_bucket_tagging(Bucket="data", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_bucket_tagging(Bucket="data")["TagSet"] == [{"Key": "a", "Value": "b"}]
    s3.delete_public_access_block(Bucket="data")
    assert refused(s3.get_public_access_block, Bucket="data") == ("NoSuchPublicAccessBlockConfiguration", 404)


def test_named_configurations(s3: Any, refused: Refused) -> None:
    s3.put_bucket_metrics_configuration(Bucket="data", Id="m", MetricsConfiguration={"Id": "m"})
    assert s3.get_bucket_metrics_configuration(Bucket="data", Id="m")["MetricsConfiguration"] == {"Id": "m"}
    assert [c["Id"] for c in s3.list_bucket_metrics_configurations(Bucket="data")["MetricsConfigurationList"]] == ["m"]
    s3.delete_bucket_metrics_configuration(Bucket="data", Id="m")
    assert refused(s3.get_bucket_metrics_configuration, Bucket="data", Id="m") == ("NoSuchConfiguration", 404)


def test_canned_acls(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="k", ACL="public-read")
    grants = s3.get_object_acl(Bucket="data", Key="k")["Grants"]
    assert [(g["Grantee"].get("URI", "")[-8:], g["Permission"]) for g in grants] == [("", "FULL_CONTROL"), ("AllUsers", "READ")]
    s3.put_object_acl(Bucket="data", Key="k", ACL="private")
    assert len(s3.get_object_acl(Bucket="data", Key="k")["Grants"]) == 1


def test_enforced_ownership_refuses_acls(s3: Any, refused: Refused) -> None:
    s3.put_bucket_ownership_controls(Bucket="data", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    assert refused(s3.put_bucket_acl, Bucket="data", ACL="public-read") == ("AccessControlListNotSupported", 400)


def test_lifecycle_rules_are_told_to_readers(s3: Any, refused: Refused) -> None:
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket="data", LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(Bucket="data")["Rules"] == [rule]
    assert 'rule-id="r"' in s3.put_object(Bucket="data", Key="tmp/x")["Expiration"]
    assert "Expiration" not in s3.put_object(Bucket="data", Key="x")
    bad = {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 0}}]}
    assert refused(s3.put_bucket_lifecycle_configuration, Bucket="data", LifecycleConfiguration=bad) == ("InvalidArgument", 400)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"Action": None}, "Invalid policy syntax."),
        ({"Action": []}, "Missing required field Action"),
        ({"Resource": 5}, "Invalid policy syntax."),
        ({"Principal": "nobody"}, "Invalid policy syntax."),
        ({"Effect": "allow"}, "Invalid effect : allow"),
        ({"Condition": {"StringEqual": {"aws:Referer": "x"}}}, "Invalid Condition type : StringEqual"),
        ({"Condition": ["x"]}, "Invalid policy syntax."),
        ({"Sid": "x" * 20480}, "Normalized policy document exceeds the maximum allowed size of 20480 bytes"),
    ],
)
def test_policies_that_are_none(s3: Any, changed: dict[str, Any], message: str) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*", **changed}
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_policy(Bucket="data", Policy=json.dumps({"Statement": [statement]}))
    assert (caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]) == ("MalformedPolicy", message)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("analytics", {"StorageClassAnalysis": {}}, "MalformedXML"),
        ("intelligent_tiering", {"Status": "Enabled", "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}]}, "MalformedXML"),
        ("metrics", {}, "IdMismatch"),
    ],
)
def test_named_settings_under_another_name(s3: Any, refused: Refused, name: str, value: dict[str, Any], code: str) -> None:
    put, member = getattr(s3, f"put_bucket_{name}_configuration"), f"{name.title().replace('_', '')}Configuration"
    assert refused(put, Bucket="data", Id="a", **{member: {"Id": "b", **value}}) == (code, 400)
    assert put(Bucket="data", Id="a", **{member: {"Id": "a", **value}})["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_a_parts_wrong_digest_is_repeated_as_sent(s3: Any) -> None:
    upload = {"Bucket": "data", "Key": "k", "UploadId": s3.create_multipart_upload(Bucket="data", Key="k")["UploadId"]}
    with pytest.raises(ClientError) as caught:
        s3.upload_part(**upload, PartNumber=1, Body=b"x", ContentMD5="CYketZBSTjX8czcs3cXVlg==")
    assert caught.value.response["Error"]["ExpectedDigest"] == "CYketZBSTjX8czcs3cXVlg=="
