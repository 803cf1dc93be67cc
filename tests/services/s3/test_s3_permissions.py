"""Who may what where signatures are enforced: nobody in particular, users with policies, buckets with policies and ACLs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from dewfall.accounts import root_credentials
from dewfall.testing import Server, running
from tests.services.s3.conftest import Refused, without_resolver


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(environment=os.environ | {"DEWFALL_AUTH": "enforce"}) as started:
        yield started


@pytest.fixture
def owner(server: Server) -> Iterator[Any]:
    """The owner's S3 client, and the bucket "data"."""
    client = of_owner(server, "s3")
    client.create_bucket(Bucket="data")
    client.put_object(Bucket="data", Key="k", Body=b"x")
    yield client
    server.reset()


@pytest.fixture
def stranger(server: Server) -> Any:
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=Config(signature_version=UNSIGNED))


def of_owner(server: Server, service: str) -> Any:
    """A client with the account's root key."""
    kept = json.loads((server.data / "root-credentials.json").read_text())
    return connect(server, service, kept["AccessKeyId"], kept["SecretAccessKey"])


def connect(server: Server, service: str, access_key: str, secret: str) -> Any:
    keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret}
    return boto3.client(service, endpoint_url=server.url, region_name="us-east-1", **keys)


def user(server: Server, *actions: str) -> Any:
    """The S3 client of a new user who may do these actions."""
    iam = of_owner(server, "iam")
    iam.create_user(UserName="joe")
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    iam.put_user_policy(UserName="joe", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    key = iam.create_access_key(UserName="joe")["AccessKey"]
    return connect(server, "s3", key["AccessKeyId"], key["SecretAccessKey"])


def allow(owner: Any, **statement: Any) -> None:
    base = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}
    owner.put_bucket_policy(Bucket="data", Policy=json.dumps({"Version": "2012-10-17", "Statement": [base | statement]}))


def test_strangers_are_refused(owner: Any, stranger: Any, refused: Refused) -> None:
    for call in (stranger.list_objects_v2, stranger.delete_bucket):
        assert refused(call, Bucket="data") == ("AccessDenied", 403)
    assert refused(stranger.get_object, Bucket="data", Key="k") == ("AccessDenied", 403)
    assert refused(stranger.list_buckets) == ("AccessDenied", 403)


def test_public_object(owner: Any, stranger: Any, refused: Refused) -> None:
    owner.put_object_acl(Bucket="data", Key="k", ACL="public-read")
    assert stranger.get_object(Bucket="data", Key="k")["Body"].read() == b"x"
    assert refused(stranger.get_object, Bucket="data", Key="none") == ("AccessDenied", 403)


def test_who_may_list_is_told_what_is_missing(owner: Any, stranger: Any, refused: Refused) -> None:
    owner.put_bucket_acl(Bucket="data", ACL="public-read")
    assert refused(stranger.get_object, Bucket="data", Key="none") == ("NoSuchKey", 404)
    assert refused(stranger.put_object, Bucket="data", Key="new") == ("AccessDenied", 403)


def test_public_acls_that_are_ignored(owner: Any, stranger: Any, refused: Refused) -> None:
    owner.put_bucket_acl(Bucket="data", ACL="public-read")
    owner.put_public_access_block(Bucket="data", PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert refused(stranger.list_objects_v2, Bucket="data") == ("AccessDenied", 403)


def test_bucket_policy_with_a_condition_on_tags(owner: Any, stranger: Any, refused: Refused) -> None:
    allow(owner, Condition={"StringEquals": {"s3:ExistingObjectTag/open": "yes"}})
    assert refused(stranger.get_object, Bucket="data", Key="k") == ("AccessDenied", 403)
    owner.put_object_tagging(Bucket="data", Key="k", Tagging={"TagSet": [{"Key": "open", "Value": "yes"}]})
    assert stranger.get_object(Bucket="data", Key="k")["Body"].read() == b"x"


def test_explicit_denial_holds_for_the_owner(owner: Any, refused: Refused) -> None:
    allow(owner, Effect="Deny", Action="s3:PutObject")
    assert refused(owner.put_object, Bucket="data", Key="k") == ("AccessDenied", 403)
    owner.delete_bucket_policy(Bucket="data")
    owner.put_object(Bucket="data", Key="k")


def words(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Message"]).removeprefix("User: arn:aws:iam::000000000000:")


def test_a_refusal_says_which_policy_it_rests_on(server: Server, owner: Any, other: Any) -> None:
    joe, put = user(server, "s3:PutObject"), "is not authorized to perform: s3:PutObject on resource: "
    unsaid = "user/joe is not authorized to perform: s3:ListAllMyBuckets because no identity-based policy allows the s3:ListAllMyBuckets action"
    assert words(joe.list_buckets) == unsaid
    allow(owner, Effect="Deny", Action="s3:PutObject")
    assert words(joe.put_object, Bucket="data", Key="k") == f'user/joe {put}"arn:aws:s3:::data/k" with an explicit deny in a resource-based policy'
    owner.delete_bucket_policy(Bucket="data")
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:Put*", "Resource": "*"}]})
    of_owner(server, "iam").put_user_policy(UserName="joe", PolicyName="never", PolicyDocument=document)
    assert words(joe.put_object, Bucket="data", Key="k") == f'user/joe {put}"arn:aws:s3:::data/k" with an explicit deny in an identity-based policy'
    assert words(other.put_object, Bucket="data", Key="k") == "Access Denied"


def test_what_is_missing_is_told_to_those_who_may_list(server: Server, owner: Any, stranger: Any, refused: Refused) -> None:
    joe = user(server, "s3:GetObject")
    assert joe.get_object(Bucket="data", Key="k")["Body"].read() == b"x"
    unsaid = 'on resource: "arn:aws:s3:::data" because no identity-based policy allows the s3:ListBucket action'
    assert words(joe.get_object, Bucket="data", Key="none") == f"user/joe is not authorized to perform: s3:ListBucket {unsaid}"
    assert refused(joe.head_object, Bucket="data", Key="none") == ("403", 403)
    owner.put_public_access_block(Bucket="data", PublicAccessBlockConfiguration={"BlockPublicPolicy": False})
    allow(owner)
    assert stranger.get_object(Bucket="data", Key="k")["Body"].read() == b"x"
    assert refused(stranger.get_object, Bucket="data", Key="none") == ("AccessDenied", 403)


def test_users_do_what_their_policies_allow(server: Server, owner: Any, refused: Refused) -> None:
    joe = user(server, "s3:ListBucket", "s3:GetObject")
    assert joe.list_objects_v2(Bucket="data")["KeyCount"] == 1
    assert joe.get_object(Bucket="data", Key="k")["Body"].read() == b"x"
    assert refused(joe.put_object, Bucket="data", Key="k") == ("AccessDenied", 403)


def test_a_bucket_policy_is_enough_for_its_own_account(server: Server, owner: Any) -> None:
    joe = user(server, "sqs:*")
    allow(owner, Principal={"AWS": "arn:aws:iam::000000000000:user/joe"})
    assert joe.get_object(Bucket="data", Key="k")["Body"].read() == b"x"


def test_access_points_are_the_accounts_own(server: Server, owner: Any, refused: Refused) -> None:
    control = without_resolver(of_owner(server, "s3control"))
    control.create_access_point(AccountId="000000000000", Name="reader", Bucket="data")
    iam = of_owner(server, "iam")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    ann = without_resolver(connect(server, "s3control", key["AccessKeyId"], key["SecretAccessKey"]))
    assert refused(ann.delete_access_point, AccountId="000000000000", Name="reader") == ("AccessDenied", 403)
    assert refused(control.list_access_points, AccountId="111111111111") == ("AccessDenied", 403)


def test_an_access_point_opens_nothing_that_the_bucket_keeps_shut(server: Server, owner: Any, refused: Refused) -> None:
    control = without_resolver(of_owner(server, "s3control"))
    alias = control.create_access_point(AccountId="000000000000", Name="reader", Bucket="data")["Alias"]
    iam = of_owner(server, "iam")
    iam.create_user(UserName="bob")
    key = iam.create_access_key(UserName="bob")["AccessKey"]
    bob = connect(server, "s3", key["AccessKeyId"], key["SecretAccessKey"])
    assert owner.get_object(Bucket=alias, Key="k")["Body"].read() == b"x"
    assert refused(bob.get_object, Bucket=alias, Key="k") == ("AccessDenied", 403)


@pytest.fixture
def other(server: Server) -> Any:
    """The S3 client of another account's owner."""
    kept = root_credentials(server.data, "111111111111", "000000000000")
    return connect(server, "s3", kept["AccessKeyId"], kept["SecretAccessKey"])


def test_another_account_is_let_in_by_its_canonical_id(owner: Any, other: Any, refused: Refused) -> None:
    assert refused(other.get_object, Bucket="data", Key="k") == ("AccessDenied", 403)
    assert refused(other.list_objects_v2, Bucket="data") == ("AccessDenied", 403)
    name = other.list_buckets()["Owner"]["ID"]
    owner.put_bucket_acl(Bucket="data", GrantRead=f"id={name}")
    assert [entry["Key"] for entry in other.list_objects_v2(Bucket="data")["Contents"]] == ["k"]
    assert refused(other.get_object, Bucket="data", Key="k") == ("AccessDenied", 403)
    owner.put_object_acl(Bucket="data", Key="k", GrantFullControl=f"id={name}")
    assert other.get_object(Bucket="data", Key="k")["Body"].read() == b"x"
    assert len(other.get_object_acl(Bucket="data", Key="k")["Grants"]) == 1


def test_another_account_is_let_in_by_the_policy(owner: Any, other: Any, refused: Refused) -> None:
    assert refused(other.put_object, Bucket="data", Key="theirs", Body=b"y") == ("AccessDenied", 403)
    allow(
        owner,
        Principal={"AWS": "arn:aws:iam::111111111111:root"},
        Action=["s3:PutObject", "s3:ListBucket"],
        Resource=["arn:aws:s3:::data/*", "arn:aws:s3:::data"],
    )
    other.put_object(Bucket="data", Key="theirs", Body=b"y")
    assert len(other.list_objects_v2(Bucket="data")["Contents"]) == 2
    assert refused(other.delete_bucket, Bucket="data") == ("AccessDenied", 403)
    assert refused(other.get_bucket_policy, Bucket="data") == ("AccessDenied", 403)
    assert refused(other.create_bucket, Bucket="data") == ("BucketAlreadyExists", 409)


def test_everybody_may_hear_that_there_is_no_bucket(owner: Any, stranger: Any, refused: Refused) -> None:
    assert refused(stranger.get_object, Bucket="nowhere", Key="k") == ("NoSuchBucket", 404)
    assert refused(stranger.put_object, Bucket="nowhere", Key="k") == ("NoSuchBucket", 404)
    assert refused(stranger.create_bucket, Bucket="nowhere") == ("AccessDenied", 403)


def test_a_list_of_deletions_is_refused_key_by_key(owner: Any, stranger: Any) -> None:
    owner.put_object(Bucket="data", Key="open", Body=b"x")
    allow(owner, Action="s3:DeleteObject", Resource="arn:aws:s3:::data/open")
    answer = stranger.delete_objects(Bucket="data", Delete={"Objects": [{"Key": "k"}, {"Key": "open"}]})
    assert [(error["Key"], error["Code"]) for error in answer["Errors"]] == [("k", "AccessDenied")]
    assert [entry["Key"] for entry in owner.list_objects_v2(Bucket="data")["Contents"]] == ["k"]


def share(owner: Any, *, ownership: str = "ObjectWriter") -> None:
    owner.put_bucket_ownership_controls(Bucket="data", OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]})
    allow(owner, Action=["s3:PutObject", "s3:ListBucket"], Resource=["arn:aws:s3:::data", "arn:aws:s3:::data/*"])


def owners(client: Any) -> dict[str, str]:
    return {entry["Key"]: entry["Owner"]["ID"] for entry in client.list_objects(Bucket="data")["Contents"]}


def test_an_object_is_its_writers(owner: Any, other: Any, refused: Refused) -> None:
    share(owner)
    other.put_object(Bucket="data", Key="theirs", Body=b"y")
    assert owners(owner)["theirs"] == other.list_buckets()["Owner"]["ID"]
    assert other.get_object(Bucket="data", Key="theirs")["Body"].read() == b"y"
    assert refused(owner.get_object, Bucket="data", Key="theirs") == ("AccessDenied", 403)
    assert refused(owner.put_object_acl, Bucket="data", Key="theirs", ACL="public-read") == ("AccessDenied", 403)
    owner.delete_object(Bucket="data", Key="theirs")


def test_a_writer_gives_the_buckets_owner_rights(owner: Any, other: Any) -> None:
    share(owner)
    for acl in ("bucket-owner-read", "bucket-owner-full-control"):
        other.put_object(Bucket="data", Key=acl, Body=b"y", ACL=acl)
        assert owner.get_object(Bucket="data", Key=acl)["Body"].read() == b"y"
    grants = owner.get_object_acl(Bucket="data", Key="bucket-owner-full-control")["Grants"]
    assert {grant["Grantee"]["ID"] for grant in grants} == {client.list_buckets()["Owner"]["ID"] for client in (owner, other)}


@pytest.mark.parametrize("ownership", ["BucketOwnerPreferred", "BucketOwnerEnforced"])
def test_a_buckets_owner_gets_what_others_write(owner: Any, other: Any, ownership: str) -> None:
    share(owner, ownership=ownership)
    other.put_object(Bucket="data", Key="given", Body=b"y", ACL="bucket-owner-full-control")
    assert owners(owner)["given"] == owner.list_buckets()["Owner"]["ID"]
    assert owner.get_object(Bucket="data", Key="given")["Body"].read() == b"y"


def test_an_upload_is_its_beginners(owner: Any, other: Any) -> None:
    share(owner)
    other.create_multipart_upload(Bucket="data", Key="big")
    upload = owner.list_multipart_uploads(Bucket="data")["Uploads"][0]
    assert upload["Owner"] == upload["Initiator"] == other.list_buckets()["Owner"]


def test_nobody_may_change_an_owner(owner: Any, other: Any, refused: Refused) -> None:
    own, theirs = owner.get_object_acl(Bucket="data", Key="k"), other.list_buckets()["Owner"]
    wanted = {"Owner": theirs, "Grants": own["Grants"]}
    assert refused(owner.put_object_acl, Bucket="data", Key="k", AccessControlPolicy=wanted) == ("AccessDenied", 403)
    owner.put_object_acl(Bucket="data", Key="k", AccessControlPolicy=wanted | {"Owner": own["Owner"]})


def test_conditions_on_the_referring_page(owner: Any, server: Server) -> None:
    allow(owner, Action="s3:GetObject", Resource="arn:aws:s3:::data/*", Condition={"StringLike": {"aws:Referer": "http://page.test/*"}})
    address = f"{server.url}/data/k"
    assert [httpx.get(address, headers=headers).status_code for headers in ({"Referer": "http://page.test/a"}, {})] == [200, 403]


def test_conditions_on_a_customers_key(owner: Any, refused: Refused) -> None:
    missing = {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "true"}}
    allow(owner, Effect="Deny", Action="s3:PutObject", Resource="arn:aws:s3:::data/*", Condition=missing)
    assert refused(owner.put_object, Bucket="data", Key="plain", Body=b"x") == ("AccessDenied", 403)
    owner.put_object(Bucket="data", Key="keyed", Body=b"x", SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32)


def test_version_two_signs_a_bucket_with_its_slash(owner: Any, server: Server) -> None:
    kept = json.loads((server.data / "root-credentials.json").read_text())
    keys = {"aws_access_key_id": kept["AccessKeyId"], "aws_secret_access_key": kept["SecretAccessKey"]}
    old = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=Config(signature_version="s3"), **keys)
    assert httpx.get(old.generate_presigned_url("list_objects", Params={"Bucket": "data"})).status_code == 200


def test_a_form_with_an_unknown_key(owner: Any) -> None:
    form = owner.generate_presigned_post("data", "k")
    answer = httpx.post(form["url"], data=form["fields"] | {"AWSAccessKeyId": "nobody"}, files={"file": b"x"})
    assert (answer.status_code, b"InvalidAccessKeyId" in answer.content) == (403, True)
    del form["fields"]["AWSAccessKeyId"]
    answer = httpx.post(form["url"], data=form["fields"], files={"file": b"x"})
    assert (answer.status_code, b"InvalidArgument" in answer.content) == (400, True)


@pytest.mark.parametrize(
    ("denied", "expected"),
    [
        ({"Action": "s3:PutObject", "Resource": "arn:aws:s3:::data/up/f"}, 403),
        ({"Action": "s3:PutObject", "Resource": "arn:aws:s3:::data/up/g"}, 204),
        ({"Action": "s3:PutObjectTagging", "Resource": "arn:aws:s3:::data/*"}, 403),
        ({"Action": "s3:PutObject", "Resource": "*", "Condition": {"StringEquals": {"s3:RequestObjectTag/a": "b"}}}, 403),
        ({"Action": "s3:PutObject", "Resource": "*", "Condition": {"StringEquals": {"s3:x-amz-storage-class": "GLACIER"}}}, 403),
    ],
)
def test_a_form_is_weighed_as_what_it_writes(owner: Any, denied: dict[str, Any], expected: int) -> None:
    statement = {"Effect": "Deny", "Principal": "*", **denied}
    owner.put_bucket_policy(Bucket="data", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    fields = {"tagging": tags, "x-amz-storage-class": "GLACIER"}
    form = owner.generate_presigned_post("data", "up/${filename}", Fields=fields, Conditions=[{name: value} for name, value in fields.items()])
    assert httpx.post(form["url"], data=form["fields"], files={"file": ("f", b"x")}).status_code == expected


def test_public_policies_that_are_restricted(owner: Any, other: Any, stranger: Any, refused: Refused) -> None:
    owner.delete_public_access_block(Bucket="data")
    allow(owner, Action="s3:GetObject", Resource="arn:aws:s3:::data/*")
    for client in (other, stranger):
        assert client.get_object(Bucket="data", Key="k")["Body"].read() == b"x"
    owner.put_public_access_block(Bucket="data", PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    for client in (other, stranger):
        assert refused(client.get_object, Bucket="data", Key="k") == ("AccessDenied", 403)
    assert owner.get_object(Bucket="data", Key="k")["Body"].read() == b"x"


def test_who_may_list_a_prefix_may_know_what_is_not_there(owner: Any, stranger: Any, refused: Refused) -> None:
    allow(owner, Action="s3:ListBucket", Resource="arn:aws:s3:::data", Condition={"StringLike": {"s3:prefix": "open/*"}})
    assert refused(stranger.head_object, Bucket="data", Key="open/nothing")[1] == 404
    assert refused(stranger.head_object, Bucket="data", Key="closed/nothing")[1] == 403


def test_where_ownership_was_never_put_both_may_read(owner: Any, other: Any) -> None:
    allow(owner, Action="s3:PutObject")
    other.put_object(Bucket="data", Key="theirs", Body=b"y")
    assert {client.get_object(Bucket="data", Key="theirs")["Body"].read() for client in (owner, other)} == {b"y"}


def test_tags_and_holds_need_a_right_of_their_own(owner: Any, stranger: Any, refused: Refused) -> None:
    allow(owner, Action="s3:PutObject")
    assert refused(stranger.put_object, Bucket="data", Key="k", Body=b"y", Tagging="a=b") == ("AccessDenied", 403)
    assert refused(stranger.put_object, Bucket="data", Key="k", Body=b"y", ObjectLockLegalHoldStatus="ON") == ("AccessDenied", 403)
    allow(owner, Action=["s3:PutObject", "s3:PutObjectTagging"])
    stranger.put_object(Bucket="data", Key="k", Body=b"y", Tagging="a=b")


def test_the_accounts_block_makes_public_grants_count_for_nothing(server: Server, owner: Any, stranger: Any, refused: Refused) -> None:
    owner.put_object_acl(Bucket="data", Key="k", ACL="public-read")
    assert stranger.get_object(Bucket="data", Key="k")["Body"].read() == b"x"
    control = without_resolver(of_owner(server, "s3control"))
    control.put_public_access_block(AccountId="000000000000", PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert refused(stranger.get_object, Bucket="data", Key="k") == ("AccessDenied", 403)


@pytest.mark.parametrize(("version", "missing", "code"), [("s3", "AWSAccessKeyId", "AccessDenied"), ("s3v4", "X-Amz-Credential", "Authorization")])
def test_a_presigned_address_without_its_key(server: Server, owner: Any, version: str, missing: str, code: str) -> None:
    kept = json.loads((server.data / "root-credentials.json").read_text())
    keys = {"aws_access_key_id": kept["AccessKeyId"], "aws_secret_access_key": kept["SecretAccessKey"]}
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=Config(signature_version=version), **keys)
    address, query = client.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": "k"}).split("?")
    rest = "&".join(part for part in query.split("&") if not part.startswith(missing))
    answer = httpx.get(f"{address}?{rest}").text
    assert code in answer
    assert "Query-string authentication" in answer


def test_a_presigned_content_type_is_the_one_that_comes(server: Server, owner: Any) -> None:
    kept = json.loads((server.data / "root-credentials.json").read_text())
    keys = {"aws_access_key_id": kept["AccessKeyId"], "aws_secret_access_key": kept["SecretAccessKey"]}
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=Config(signature_version="s3"), **keys)
    address = client.generate_presigned_url("put_object", Params={"Bucket": "data", "Key": "k", "ContentType": "text/plain"})
    found = [httpx.put(address, content=b"x", headers={"Content-Type": kind}).status_code for kind in ("text/plain", "text/html")]
    assert found == [200, 403]


def test_a_presigned_credential_that_was_encoded_twice(server: Server, owner: Any) -> None:
    kept = json.loads((server.data / "root-credentials.json").read_text())
    keys = {"aws_access_key_id": kept["AccessKeyId"], "aws_secret_access_key": kept["SecretAccessKey"]}
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=Config(signature_version="s3v4"), **keys)
    address = client.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": "k"})
    assert "the Credential is mal-formed" in httpx.get(address.replace("%2F", "%252F")).text
