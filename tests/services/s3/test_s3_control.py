"""S3 Control: access points as further names of a bucket, the account's block, tags by ARN, Storage Lens."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from dewfall.testing import Server
from tests.services.s3.conftest import Refused, without_resolver
from tests.services.s3.test_s3_conformance import ask

ACCOUNT = "000000000000"
ARN = f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/reader"


@pytest.fixture
def control(dewfall: Server) -> Any:
    return without_resolver(dewfall.client("s3control", config=Config(retries={"max_attempts": 0})))


@pytest.fixture
def point(s3: Any, control: Any) -> dict[str, Any]:
    """An access point "reader" of the bucket "data", in which there is the key "k"."""
    s3.put_object(Bucket="data", Key="k", Body=b"hello")
    made: dict[str, Any] = control.create_access_point(AccountId=ACCOUNT, Name="reader", Bucket="data")
    return made


def test_alias_and_host_name_stand_for_the_bucket(s3: Any, point: dict[str, Any]) -> None:
    assert point["AccessPointArn"] == ARN
    assert s3.get_object(Bucket=point["Alias"], Key="k")["Body"].read() == b"hello"
    assert ask(s3, "GET", "/k", Host=f"reader-{ACCOUNT}.localhost:{urlsplit(s3.meta.endpoint_url).port}")[2] == b"hello"
    assert ask(s3, "GET", "/k", Host=f"reader-{ACCOUNT}.s3-accesspoint.us-east-1.amazonaws.com")[2] == b"hello"


@pytest.mark.parametrize("by", ["host", "alias"])
def test_a_bucket_is_not_managed_by_its_other_names(s3: Any, point: dict[str, Any], refused: Refused, by: str) -> None:
    name = {"host": f"reader-{ACCOUNT}", "alias": point["Alias"]}[by]
    s3.head_bucket(Bucket=name)
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=name)["Contents"]] == ["k"]
    assert s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "k"}]})["Deleted"] == [{"Key": "k"}]
    assert refused(s3.delete_bucket, Bucket=name) == ("NoSuchBucket", 404)
    assert refused(s3.put_bucket_versioning, Bucket=name, VersioningConfiguration={"Status": "Enabled"}) == ("NoSuchBucket", 404)


def test_a_bucket_may_have_the_name_of_an_access_points_host(s3: Any, point: dict[str, Any]) -> None:
    name = f"reader-{ACCOUNT}"
    s3.create_bucket(Bucket=name)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["data", name]
    s3.delete_bucket(Bucket=name)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["data"]


@pytest.mark.parametrize("by", ["arn", "alias"])
def test_copies_out_of_an_access_point(s3: Any, point: dict[str, Any], by: str) -> None:
    source = {"arn": f"{ARN}/object/k", "alias": f"{point['Alias']}/k"}[by]
    s3.copy_object(Bucket="data", Key="copy", CopySource=source)
    assert s3.get_object(Bucket="data", Key="copy")["Body"].read() == b"hello"


def test_access_points_are_told_and_listed(control: Any, point: dict[str, Any]) -> None:
    told = control.get_access_point(AccountId=ACCOUNT, Name="reader")
    assert (told["Bucket"], told["NetworkOrigin"], told["Alias"]) == ("data", "Internet", point["Alias"])
    control.create_access_point(AccountId=ACCOUNT, Name="writer", Bucket="data")
    first = control.list_access_points(AccountId=ACCOUNT, MaxResults=1)
    second = control.list_access_points(AccountId=ACCOUNT, NextToken=first["NextToken"])
    assert [page["AccessPointList"][0]["Name"] for page in (first, second)] == ["reader", "writer"]


def test_a_deleted_access_point_is_no_name_any_more(s3: Any, control: Any, point: dict[str, Any], refused: Refused) -> None:
    control.delete_access_point(AccountId=ACCOUNT, Name="reader")
    assert refused(control.get_access_point, AccountId=ACCOUNT, Name="reader") == ("NoSuchAccessPoint", 404)
    assert refused(s3.get_object, Bucket=point["Alias"], Key="k") == ("NoSuchBucket", 404)
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"hello"


def test_a_bucket_outlives_its_access_points(s3: Any, control: Any, point: dict[str, Any], refused: Refused) -> None:
    s3.delete_object(Bucket="data", Key="k")
    assert refused(s3.delete_bucket, Bucket="data") == ("BucketHasAccessPointsAttached", 400)
    control.delete_access_point(AccountId=ACCOUNT, Name="reader")
    s3.delete_bucket(Bucket="data")
    assert s3.list_buckets()["Buckets"] == []


@pytest.mark.parametrize(("name", "bucket", "code"), [("a_b", "data", "InvalidRequest"), ("ab-c", "nobody", "NoSuchBucket")])
def test_access_points_that_cannot_be(s3: Any, control: Any, name: str, bucket: str, code: str) -> None:
    with pytest.raises(ClientError, match=rf"\({code}\)"):
        control.create_access_point(AccountId=ACCOUNT, Name=name, Bucket=bucket)


def test_a_name_is_taken_once(control: Any, point: dict[str, Any], refused: Refused) -> None:
    again = refused(control.create_access_point, AccountId=ACCOUNT, Name="reader", Bucket="data")
    assert again == ("AccessPointAlreadyOwnedByYou", 409)


def test_policy_of_an_access_point(control: Any, point: dict[str, Any], refused: Refused) -> None:
    assert refused(control.get_access_point_policy, AccountId=ACCOUNT, Name="reader") == ("NoSuchAccessPointPolicy", 404)
    text = json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{ARN}/object/*"}})
    control.put_access_point_policy(AccountId=ACCOUNT, Name="reader", Policy=text)
    assert control.get_access_point_policy(AccountId=ACCOUNT, Name="reader")["Policy"] == text
    assert control.get_access_point_policy_status(AccountId=ACCOUNT, Name="reader")["PolicyStatus"] == {"IsPublic": True}


def test_tags_by_arn_are_the_buckets_own(s3: Any, control: Any) -> None:
    arn = "arn:aws:s3:::data"
    control.tag_resource(AccountId=ACCOUNT, ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    control.untag_resource(AccountId=ACCOUNT, ResourceArn=arn, TagKeys=["a"])
    assert control.list_tags_for_resource(AccountId=ACCOUNT, ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert s3.get_bucket_tagging(Bucket="data")["TagSet"] == [{"Key": "b", "Value": "2"}]


def test_public_access_block_of_the_account(control: Any, refused: Refused) -> None:
    assert refused(control.get_public_access_block, AccountId=ACCOUNT) == ("NoSuchPublicAccessBlockConfiguration", 404)
    control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    told = control.get_public_access_block(AccountId=ACCOUNT)["PublicAccessBlockConfiguration"]
    assert (told["BlockPublicAcls"], told["RestrictPublicBuckets"]) == (True, False)
    assert refused(control.get_public_access_block, AccountId="111111111111") == ("AccessDenied", 403)
    control.delete_public_access_block(AccountId=ACCOUNT)
    assert refused(control.get_public_access_block, AccountId=ACCOUNT) == ("NoSuchPublicAccessBlockConfiguration", 404)


def test_the_accounts_block_holds_for_its_buckets(s3: Any, control: Any, refused: Refused) -> None:
    blocks = {"BlockPublicAcls": True, "BlockPublicPolicy": True}
    control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=blocks)
    s3.put_public_access_block(Bucket="data", PublicAccessBlockConfiguration=dict.fromkeys(blocks, False))
    assert refused(s3.create_bucket, Bucket="open-to-all", ACL="public-read") == ("AccessDenied", 403)
    assert refused(s3.put_bucket_acl, Bucket="data", ACL="public-read") == ("AccessDenied", 403)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}
    assert refused(s3.put_bucket_policy, Bucket="data", Policy=json.dumps({"Statement": [statement]})) == ("AccessDenied", 403)
    control.delete_public_access_block(AccountId=ACCOUNT)
    s3.put_bucket_acl(Bucket="data", ACL="public-read")


def test_storage_lens_configurations(control: Any, refused: Refused) -> None:
    wanted = {"Id": "lens", "IsEnabled": True, "AccountLevel": {"BucketLevel": {}}}
    control.put_storage_lens_configuration(ConfigId="lens", AccountId=ACCOUNT, StorageLensConfiguration=wanted, Tags=[{"Key": "a", "Value": "1"}])
    told = control.get_storage_lens_configuration(ConfigId="lens", AccountId=ACCOUNT)["StorageLensConfiguration"]
    assert (told["IsEnabled"], told["StorageLensArn"]) == (True, f"arn:aws:s3:us-east-1:{ACCOUNT}:storage-lens/lens")
    assert control.get_storage_lens_configuration_tagging(ConfigId="lens", AccountId=ACCOUNT)["Tags"] == [{"Key": "a", "Value": "1"}]
    assert [entry["Id"] for entry in control.list_storage_lens_configurations(AccountId=ACCOUNT)["StorageLensConfigurationList"]] == ["lens"]
    control.delete_storage_lens_configuration(ConfigId="lens", AccountId=ACCOUNT)
    assert refused(control.get_storage_lens_configuration, ConfigId="lens", AccountId=ACCOUNT) == ("NoSuchConfiguration", 404)
