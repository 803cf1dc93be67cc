"""Where signatures are enforced: known keys enter, temporary ones only with their token and in their time; audit only tells."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from dewfall.accounts import root_credentials
from dewfall.testing_server import Server, running

TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with running(environment=os.environ | {"DEWFALL_AUTH": "enforce"}) as server:
        yield server


@pytest.fixture(scope="module")
def owner(guarded: Server) -> dict[str, str]:
    kept = json.loads((guarded.data / "root-credentials.json").read_text())
    return {"aws_access_key_id": kept["AccessKeyId"], "aws_secret_access_key": kept["SecretAccessKey"]}


def client(server: Server, service: str, keys: dict[str, str], **more: Any) -> Any:
    return boto3.client(service, endpoint_url=server.url, region_name="us-east-1", **keys, **more)


def keys_of(credentials: dict[str, str]) -> dict[str, str]:
    names = {"AccessKeyId": "aws_access_key_id", "SecretAccessKey": "aws_secret_access_key", "SessionToken": "aws_session_token"}
    return {name: credentials[member] for member, name in names.items()}


def code(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


@pytest.fixture(scope="module")
def session(guarded: Server, owner: dict[str, str]) -> dict[str, str]:
    iam = client(guarded, "iam", owner)
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.attach_role_policy(RoleName="worker", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    sts = client(guarded, "sts", owner)
    return keys_of(sts.assume_role(RoleArn="arn:aws:iam::000000000000:role/worker", RoleSessionName="night")["Credentials"])


UNKNOWN = [("s3", "list_buckets", "InvalidAccessKeyId"), ("sts", "get_caller_identity", "InvalidClientTokenId")]
UNKNOWN.append(("sagemaker", "list_models", "UnrecognizedClientException"))


@pytest.mark.parametrize(("service", "call", "refusal"), UNKNOWN)
def test_unknown_keys_are_refused(guarded: Server, service: str, call: str, refusal: str) -> None:
    assert code(getattr(client(guarded, service, {"aws_access_key_id": "test", "aws_secret_access_key": "test"}), call)) == refusal


@pytest.mark.parametrize(("service", "call", "refusal"), UNKNOWN)
def test_temporary_keys_need_their_token(guarded: Server, session: dict[str, str], service: str, call: str, refusal: str) -> None:
    getattr(client(guarded, service, session), call)()
    assert code(getattr(client(guarded, service, {k: v for k, v in session.items() if k != "aws_session_token"}), call)) == refusal
    wrong = "InvalidToken" if service == "s3" else refusal
    assert code(getattr(client(guarded, service, session | {"aws_session_token": "other"}), call)) == wrong


def test_a_session_says_who_it_is(guarded: Server, session: dict[str, str]) -> None:
    assert client(guarded, "sts", session).get_caller_identity()["Arn"] == "arn:aws:sts::000000000000:assumed-role/worker/night"


def test_presigned_urls_carry_the_token(guarded: Server, session: dict[str, str]) -> None:
    import urllib.request

    s3 = client(guarded, "s3", session)
    s3.create_bucket(Bucket="presigned")
    s3.put_object(Bucket="presigned", Key="k", Body=b"x")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "k"})
    assert "amz-security-token" in url.lower()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"x"


def test_inactive_keys_are_refused(guarded: Server, owner: dict[str, str]) -> None:
    iam = client(guarded, "iam", owner)
    iam.create_user(UserName="ada")
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    mine = client(guarded, "sts", {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]})
    assert mine.get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:user/ada"
    iam.update_access_key(UserName="ada", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert code(mine.get_caller_identity) == "InvalidClientTokenId"


def test_another_accounts_registry_is_its_own(guarded: Server, owner: dict[str, str]) -> None:
    kept = root_credentials(guarded.data, "111111111111", "000000000000")
    keys = {"aws_access_key_id": kept["AccessKeyId"], "aws_secret_access_key": kept["SecretAccessKey"]}
    theirs, mine = client(guarded, "ecr", keys), client(guarded, "ecr", owner)
    arn = theirs.create_repository(repositoryName="model", registryId="111111111111")["repository"]["repositoryArn"]
    asked = {"registryId": "111111111111", "repositoryName": "model"}
    assert code(mine.create_repository, registryId="111111111111", repositoryName="next") == "AccessDeniedException"
    assert code(mine.describe_repositories, registryId="111111111111") == "AccessDeniedException"
    with pytest.raises(ClientError) as caught:
        mine.delete_repository(**asked)
    caller = client(guarded, "sts", owner).get_caller_identity()["Arn"]
    message = f"User: {caller} is not authorized to perform: ecr:DeleteRepository on resource: "
    message += f"{arn} because no resource-based policy allows the ecr:DeleteRepository action"
    assert caught.value.response["Error"] == {"Code": "AccessDeniedException", "Message": message}
    statement = {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "ecr:ListImages"}
    theirs.set_repository_policy(repositoryName="model", policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert mine.list_images(**asked)["imageIds"] == []
    assert code(mine.delete_repository, **asked) == "AccessDeniedException"


def test_nobody_in_particular_is_refused(guarded: Server) -> None:
    unsigned = Config(signature_version=UNSIGNED)
    assert code(client(guarded, "sqs", {}, config=unsigned).list_queues) == "MissingAuthenticationTokenException"
    assert code(client(guarded, "s3", {}, config=unsigned).list_buckets) == "AccessDenied"


def test_a_role_must_trust_its_caller(guarded: Server, owner: dict[str, str]) -> None:
    statement = TRUST["Statement"][0] | {"Principal": {"Service": "sagemaker.amazonaws.com"}}  # type: ignore[operator]
    client(guarded, "iam", owner).create_role(RoleName="closed", AssumeRolePolicyDocument=json.dumps(TRUST | {"Statement": [statement]}))
    sts = client(guarded, "sts", owner)
    assert code(sts.assume_role, RoleArn="arn:aws:iam::000000000000:role/closed", RoleSessionName="ss") == "AccessDenied"
    assert code(sts.assume_role, RoleArn="arn:aws:iam::000000000000:role/missing", RoleSessionName="ss") == "AccessDenied"


def test_a_role_may_ask_for_an_external_id(guarded: Server, owner: dict[str, str]) -> None:
    condition = {"StringEquals": {"sts:ExternalId": "42"}}
    statement = TRUST["Statement"][0] | {"Condition": condition}  # type: ignore[operator]
    client(guarded, "iam", owner).create_role(RoleName="partner", AssumeRolePolicyDocument=json.dumps(TRUST | {"Statement": [statement]}))
    sts, role = client(guarded, "sts", owner), "arn:aws:iam::000000000000:role/partner"
    assert code(sts.assume_role, RoleArn=role, RoleSessionName="ss") == "AccessDenied"
    assert isinstance(sts.assume_role(RoleArn=role, RoleSessionName="ss", ExternalId="42")["Credentials"]["Expiration"], datetime)


def test_audit_tells_and_lets_pass() -> None:
    with running(environment=os.environ | {"DEWFALL_AUTH": "audit"}) as server:
        assert server.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
        log = server.data.parent / "data.log"
        assert "would be refused service=sqs operation=ListQueues key=test code=UnrecognizedClientException" in log.read_text()


IMAGE = {"Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"}


def test_a_model_needs_a_role_that_trusts_sagemaker(guarded: Server, owner: dict[str, str]) -> None:
    iam, sagemaker = client(guarded, "iam", owner), client(guarded, "sagemaker", owner)
    arn = "arn:aws:iam::000000000000:role/hosts"
    message = f"Could not assume role {arn}. Please ensure that the role exists and allows principal 'sagemaker.amazonaws.com' to assume the role."
    for service in (None, "ec2.amazonaws.com"):
        if service:
            iam.create_role(RoleName="hosts", AssumeRolePolicyDocument=json.dumps(trust_of(service)))
        with pytest.raises(ClientError) as caught:
            sagemaker.create_model(ModelName="m", ExecutionRoleArn=arn, PrimaryContainer=IMAGE)
        assert caught.value.response["Error"] == {"Code": "ValidationException", "Message": message}
    iam.update_assume_role_policy(RoleName="hosts", PolicyDocument=json.dumps(trust_of("sagemaker.amazonaws.com")))
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=arn, PrimaryContainer=IMAGE)
    sagemaker.create_model(ModelName="n", ExecutionRoleArn=arn.replace("hosts", "DewfallExecutionRole"), PrimaryContainer=IMAGE)


def trust_of(service: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]}


def test_the_testing_servers_own_clients_enter(guarded: Server) -> None:
    assert guarded.client("sts").get_caller_identity()["Account"] == "000000000000"
    assert guarded.environment()["AWS_ACCESS_KEY_ID"] == guarded.access_key != "test"
