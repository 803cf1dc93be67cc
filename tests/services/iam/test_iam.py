"""IAM and STS by a real client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server

TRUST = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
)
READS = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::data/*"}]})


@pytest.fixture
def iam(dewfall: Server) -> Any:
    return dewfall.client("iam")


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_the_default_caller_is_a_role_that_exists_and_trusts_sagemaker(dewfall: Server, iam: Any) -> None:
    arn = dewfall.client("sts").get_caller_identity()["Arn"]
    assert arn == "arn:aws:sts::000000000000:assumed-role/DewfallExecutionRole/local"
    role = iam.get_role(RoleName="DewfallExecutionRole")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}


def test_a_role_lives_and_dies(iam: Any) -> None:
    made = iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=TRUST, Path="/ml/", Tags=[{"Key": "team", "Value": "x"}])["Role"]
    assert made["Arn"] == "arn:aws:iam::000000000000:role/ml/trainer"
    assert iam.get_role(RoleName="trainer")["Role"]["Tags"] == [{"Key": "team", "Value": "x"}]
    with pytest.raises(ClientError) as twice:
        iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=TRUST)
    assert code(twice) == "EntityAlreadyExists"
    iam.delete_role(RoleName="trainer")
    with pytest.raises(ClientError) as gone:
        iam.get_role(RoleName="trainer")
    assert code(gone) == "NoSuchEntity"
    assert "The role with name trainer cannot be found." in str(gone.value)


def test_a_role_with_policies_cannot_go(iam: Any) -> None:
    iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="trainer", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    assert iam.list_attached_role_policies(RoleName="trainer")["AttachedPolicies"][0]["PolicyName"] == "AmazonSageMakerFullAccess"
    with pytest.raises(ClientError) as kept:
        iam.delete_role(RoleName="trainer")
    assert code(kept) == "DeleteConflict"


@pytest.mark.parametrize(
    "document", ["{", "[]", '{"Statement": {"Effect": "Maybe", "Action": "s3:*", "Resource": "*"}}', READS.replace("s3:Get*", "get")]
)
def test_documents_that_are_none_are_refused(iam: Any, document: str) -> None:
    with pytest.raises(ClientError) as refused:
        iam.create_policy(PolicyName="p", PolicyDocument=document)
    assert code(refused) == "MalformedPolicyDocument"


def test_policy_versions(iam: Any) -> None:
    arn = iam.create_policy(PolicyName="p", PolicyDocument=READS)["Policy"]["Arn"]
    for _ in range(4):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=READS, SetAsDefault=True)
    with pytest.raises(ClientError) as full:
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=READS)
    assert code(full) == "LimitExceeded"
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v5"
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == json.loads(READS)


def test_simulation_answers_truly(iam: Any) -> None:
    iam.create_user(UserName="ada")
    iam.put_user_policy(UserName="ada", PolicyName="reads", PolicyDocument=READS)
    arn = "arn:aws:iam::000000000000:user/ada"
    asked = {"PolicySourceArn": arn, "ActionNames": ["s3:GetObject", "s3:PutObject"], "ResourceArns": ["arn:aws:s3:::data/x"]}
    verdicts = {r["EvalActionName"]: r["EvalDecision"] for r in iam.simulate_principal_policy(**asked)["EvaluationResults"]}
    assert verdicts == {"s3:GetObject": "allowed", "s3:PutObject": "implicitDeny"}


def test_groups_carry_policies(iam: Any) -> None:
    iam.create_user(UserName="ada")
    iam.create_group(GroupName="readers")
    iam.put_group_policy(GroupName="readers", PolicyName="reads", PolicyDocument=READS)
    iam.add_user_to_group(GroupName="readers", UserName="ada")
    asked = {"PolicySourceArn": "arn:aws:iam::000000000000:user/ada", "ActionNames": ["s3:GetObject"], "ResourceArns": ["arn:aws:s3:::data/x"]}
    result = iam.simulate_principal_policy(**asked)["EvaluationResults"][0]
    assert (result["EvalDecision"], result["MatchedStatements"][0]["SourcePolicyId"]) == ("allowed", "reads")


def test_a_session_has_the_roles_identity(dewfall: Server, iam: Any) -> None:
    iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=TRUST)
    given = dewfall.client("sts").assume_role(RoleArn="arn:aws:iam::000000000000:role/trainer", RoleSessionName="night")["Credentials"]
    keys = {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"], "aws_session_token": given["SessionToken"]}
    assert dewfall.client("sts", **keys).get_caller_identity()["Arn"] == "arn:aws:sts::000000000000:assumed-role/trainer/night"


def test_access_keys_act_as_their_user(dewfall: Server, iam: Any) -> None:
    iam.create_user(UserName="ada")
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    sts = dewfall.client("sts", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:user/ada"
    iam.create_access_key(UserName="ada")
    with pytest.raises(ClientError) as third:
        iam.create_access_key(UserName="ada")
    assert code(third) == "LimitExceeded"


def test_an_access_key_of_twelve_digits_is_an_account(dewfall: Server) -> None:
    assert dewfall.client("sts", aws_access_key_id="123456789012").get_caller_identity()["Account"] == "123456789012"


def test_instance_profiles_hold_one_role(iam: Any) -> None:
    iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=TRUST)
    iam.create_instance_profile(InstanceProfileName="box")
    iam.add_role_to_instance_profile(InstanceProfileName="box", RoleName="trainer")
    assert iam.get_instance_profile(InstanceProfileName="box")["InstanceProfile"]["Roles"][0]["RoleName"] == "trainer"
    with pytest.raises(ClientError) as kept:
        iam.delete_instance_profile(InstanceProfileName="box")
    assert code(kept) == "DeleteConflict"
