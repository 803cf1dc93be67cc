"""IAM beyond users, roles and policies: passwords, providers, devices, service-linked roles, the account, simulation's places."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server

STATEMENT = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::data/${aws:username}/*", "Condition": {"Bool": {"aws:Mfa": "true"}}}
READS = json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]}, indent=2)


@pytest.fixture
def iam(dewfall: Server) -> Any:
    return dewfall.client("iam")


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_passwords_keep_to_the_rules(iam: Any) -> None:
    assert refusal(iam.get_account_password_policy)[1] == "The Password Policy with domain name 000000000000 cannot be found."
    iam.update_account_password_policy(RequireNumbers=True, MinimumPasswordLength=8)
    iam.create_user(UserName="ada")
    assert refusal(iam.create_login_profile, UserName="ada", Password="longenough")[0] == "PasswordPolicyViolation"
    iam.create_login_profile(UserName="ada", Password="longenough1")
    assert iam.get_login_profile(UserName="ada")["LoginProfile"]["UserName"] == "ada"
    assert refusal(iam.delete_user, UserName="ada")[0] == "DeleteConflict"
    iam.delete_login_profile(UserName="ada")
    iam.delete_user(UserName="ada")


def test_a_renamed_user_keeps_what_hangs_on_it(iam: Any) -> None:
    iam.create_user(UserName="ada")
    key = iam.create_access_key(UserName="ada")["AccessKey"]["AccessKeyId"]
    iam.update_user(UserName="ada", NewUserName="eve")
    assert [k["AccessKeyId"] for k in iam.list_access_keys(UserName="eve")["AccessKeyMetadata"]] == [key]


def test_groups_are_renamed_with_their_members(iam: Any) -> None:
    iam.create_user(UserName="ada")
    iam.create_group(GroupName="g")
    iam.add_user_to_group(UserName="ada", GroupName="g")
    iam.update_group(GroupName="g", NewGroupName="h", NewPath="/x/")
    assert [g["Arn"] for g in iam.list_groups_for_user(UserName="ada")["Groups"]] == ["arn:aws:iam::000000000000:group/x/h"]


def test_service_linked_roles_belong_to_their_service(iam: Any) -> None:
    role = iam.create_service_linked_role(AWSServiceName="sagemaker.application-autoscaling.amazonaws.com")["Role"]
    assert role["RoleName"] == "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Action"] == ["sts:AssumeRole"]
    kept = iam.get_role(RoleName=role["RoleName"])["Role"]["AssumeRolePolicyDocument"]["Statement"][0]
    assert kept == {"Effect": "Allow", "Principal": {"Service": "sagemaker.application-autoscaling.amazonaws.com"}, "Action": "sts:AssumeRole"}
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert attached[0]["PolicyArn"] == "arn:aws:iam::aws:policy/aws-service-role/AWSApplicationAutoscalingSageMakerEndpointPolicy"
    details = iam.get_account_authorization_details(Filter=["Role"])["RoleDetailList"]
    assert attached in [found["AttachedManagedPolicies"] for found in details]
    again = refusal(iam.create_service_linked_role, AWSServiceName="sagemaker.application-autoscaling.amazonaws.com")
    assert again[1] == f"Service role name {role['RoleName']} has been taken in this account, please try a different suffix."
    assert refusal(iam.delete_role, RoleName=role["RoleName"])[0] == "UnmodifiableEntity"
    task = iam.delete_service_linked_role(RoleName=role["RoleName"])["DeletionTaskId"]
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"


def test_providers_are_kept(iam: Any) -> None:
    arn = iam.create_open_id_connect_provider(Url="https://example.com/oidc", ClientIDList=["a"])["OpenIDConnectProviderArn"]
    assert arn == "arn:aws:iam::000000000000:oidc-provider/example.com/oidc"
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="b")
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["a", "b"]
    assert refusal(iam.create_open_id_connect_provider, Url="https://example.com/oidc")[0] == "EntityAlreadyExists"
    iam.create_saml_provider(Name="s", SAMLMetadataDocument="a" * 1024)
    assert [p["Arn"] for p in iam.list_saml_providers()["SAMLProviderList"]] == ["arn:aws:iam::000000000000:saml-provider/s"]


def test_devices_and_keys_of_users_are_kept(iam: Any) -> None:
    iam.create_user(UserName="ada")
    serial = iam.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]["SerialNumber"]
    iam.enable_mfa_device(UserName="ada", SerialNumber=serial, AuthenticationCode1="123456", AuthenticationCode2="654321")
    assert iam.list_virtual_mfa_devices(AssignmentStatus="Assigned")["VirtualMFADevices"][0]["User"]["UserName"] == "ada"
    assert refusal(iam.delete_virtual_mfa_device, SerialNumber=serial)[0] == "DeleteConflict"
    assert iam.get_mfa_device(SerialNumber=serial)["UserName"] == "ada"
    assert refusal(iam.get_mfa_device, SerialNumber=serial, UserName="eve")[0] == "NoSuchEntity"
    key = iam.upload_ssh_public_key(UserName="ada", SSHPublicKeyBody="ssh-rsa AAAA x")["SSHPublicKey"]
    iam.update_ssh_public_key(UserName="ada", SSHPublicKeyId=key["SSHPublicKeyId"], Status="Inactive")
    assert iam.list_ssh_public_keys(UserName="ada")["SSHPublicKeys"][0]["Status"] == "Inactive"


def test_the_account_in_one_answer(iam: Any) -> None:
    iam.create_user(UserName="ada")
    arn = iam.create_policy(PolicyName="p", PolicyDocument=READS)["Policy"]["Arn"]
    iam.attach_user_policy(UserName="ada", PolicyArn=arn)
    found = iam.get_account_authorization_details(Filter=["User", "LocalManagedPolicy"])
    assert found["UserDetailList"][0]["AttachedManagedPolicies"] == [{"PolicyName": "p", "PolicyArn": arn}]
    assert found["Policies"][0]["PolicyVersionList"][0]["Document"] == json.loads(READS)
    assert iam.get_account_summary()["SummaryMap"]["Users"] == 1
    iam.generate_credential_report()
    assert b"\nada,arn:aws:iam::000000000000:user/ada," in iam.get_credential_report()["Content"]


def test_a_boundary_must_exist(iam: Any) -> None:
    arn = "arn:aws:iam::000000000000:policy/none"
    assert refusal(iam.create_user, UserName="ada", PermissionsBoundary=arn)[1] == f"Scope ARN: {arn} does not exist or is not attachable."


def test_simulation_points_at_the_statement(iam: Any) -> None:
    context = [{"ContextKeyName": "aws:Mfa", "ContextKeyType": "boolean", "ContextKeyValues": ["true"]}]
    context.append({"ContextKeyName": "aws:username", "ContextKeyType": "string", "ContextKeyValues": ["ada"]})
    asked = {"ActionNames": ["s3:GetObject"], "ResourceArns": ["arn:aws:s3:::data/ada/x"], "ContextEntries": context}
    result = iam.simulate_custom_policy(PolicyInputList=[READS], **asked)["EvaluationResults"][0]
    assert result["EvalDecision"] == "allowed"
    matched = result["MatchedStatements"][0]
    assert (matched["SourcePolicyId"], matched["StartPosition"], matched["EndPosition"]) == (
        "PolicyInputList.1",
        {"Line": 4, "Column": 5},
        {"Line": 13, "Column": 6},
    )


def test_context_keys_are_named(iam: Any) -> None:
    assert iam.get_context_keys_for_custom_policy(PolicyInputList=[READS])["ContextKeyNames"] == ["aws:Mfa", "aws:username"]


def test_a_user_has_two_signing_certificates(iam: Any) -> None:
    iam.create_user(UserName="ada")
    body = "-----BEGIN CERTIFICATE-----\nMAAAAA==\n-----END CERTIFICATE-----"
    first = iam.upload_signing_certificate(UserName="ada", CertificateBody=body)["Certificate"]["CertificateId"]
    iam.upload_signing_certificate(UserName="ada", CertificateBody=body)
    assert refusal(iam.upload_signing_certificate, UserName="ada", CertificateBody=body) == (
        "LimitExceeded",
        "Cannot exceed quota for CertificatesPerUser: 2",
    )
    iam.update_signing_certificate(UserName="ada", CertificateId=first, Status="Inactive")
    iam.generate_credential_report()
    columns, row = (line.split(",") for line in iam.get_credential_report()["Content"].decode().strip().split("\n"))
    told = dict(zip(columns, row, strict=True))
    assert {told["cert_1_active"], told["cert_2_active"]} == {"true", "false"}


def test_only_get_policy_tells_the_description(iam: Any) -> None:
    made = iam.create_policy(PolicyName="p", PolicyDocument=READS, Description="reads")["Policy"]
    assert "Description" not in made
    assert iam.get_policy(PolicyArn=made["Arn"])["Policy"]["Description"] == "reads"
    nothing = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "invalid"}})
    assert "must be prefaced by a vendor" in refusal(iam.create_policy, PolicyName="q", PolicyDocument=nothing)[1]


def test_a_virtual_device_shows_its_seed(iam: Any) -> None:
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="phone", Tags=[{"Key": "Team", "Value": "a"}])["VirtualMFADevice"]
    assert device["QRCodePNG"].startswith(b"\x89PNG")
    assert "Tags" not in iam.create_virtual_mfa_device(VirtualMFADeviceName="p" * 226)["VirtualMFADevice"]
    serial = device["SerialNumber"]
    iam.tag_mfa_device(SerialNumber=serial, Tags=[{"Key": "team", "Value": "b"}, {"Key": "use", "Value": "c"}])
    iam.untag_mfa_device(SerialNumber=serial, TagKeys=["USE"])
    assert iam.list_mfa_device_tags(SerialNumber=serial)["Tags"] == [{"Key": "team", "Value": "b"}]
    assert refusal(iam.list_mfa_device_tags, SerialNumber=f"{serial}x")[0] == "NoSuchEntity"


def test_passwords_for_one_service(iam: Any) -> None:
    iam.create_user(UserName="ada")
    asked = {"UserName": "ada", "ServiceName": "codecommit.amazonaws.com"}
    made = iam.create_service_specific_credential(**asked)["ServiceSpecificCredential"]
    assert (made["ServiceUserName"], made["Status"]) == ("ada-at-000000000000", "Active")
    assert iam.create_service_specific_credential(**asked)["ServiceSpecificCredential"]["ServiceUserName"] == "ada+1-at-000000000000"
    assert refusal(iam.create_service_specific_credential, **asked)[0] == "LimitExceeded"
    unknown = refusal(iam.create_service_specific_credential, UserName="ada", ServiceName="lambda.amazonaws.com")
    assert unknown == ("NoSuchEntity", "No such service lambda.amazonaws.com is supported for Service Specific Credentials")
    key = iam.create_service_specific_credential(UserName="ada", ServiceName="bedrock.amazonaws.com", CredentialAgeDays=30)
    assert key["ServiceSpecificCredential"]["ServiceCredentialSecret"].startswith("ABSK")
    this = {"UserName": "ada", "ServiceSpecificCredentialId": made["ServiceSpecificCredentialId"]}
    iam.update_service_specific_credential(Status="Inactive", **this)
    assert iam.reset_service_specific_credential(**this)["ServiceSpecificCredential"]["ServicePassword"] != made["ServicePassword"]
    listed = iam.list_service_specific_credentials(**asked)["ServiceSpecificCredentials"]
    assert sorted(credential["Status"] for credential in listed) == ["Active", "Inactive"]
    assert "ServicePassword" not in listed[0]
    assert len(iam.list_service_specific_credentials(AllUsers=True)["ServiceSpecificCredentials"]) == 3
    wrong = refusal(iam.update_service_specific_credential, Status="Gone", **this)
    assert wrong[1] == "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set"
    assert refusal(iam.delete_user, UserName="ada") == ("DeleteConflict", "Cannot delete entity, must remove referenced objects first.")
    iam.delete_service_specific_credential(**this)
    assert refusal(iam.delete_service_specific_credential, **this)[0] == "NoSuchEntity"


def test_few_services_take_a_suffix(iam: Any) -> None:
    refused = refusal(iam.create_service_linked_role, AWSServiceName="batch.amazonaws.com", CustomSuffix="x")
    assert refused == ("InvalidInput", "Custom suffix is not allowed for batch.amazonaws.com")
    names = [iam.create_service_linked_role(AWSServiceName="lexv2.amazonaws.com", CustomSuffix=s)["Role"]["RoleName"] for s in "ab"]
    assert names == ["AWSServiceRoleForLexV2Bots_a", "AWSServiceRoleForLexV2Bots_b"]


def test_a_keys_last_use_is_told(iam: Any, dewfall: Server) -> None:
    iam.create_user(UserName="ada")
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    assert iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"] == {"ServiceName": "N/A", "Region": "N/A"}
    assert iam.generate_credential_report()["State"] == "STARTED"
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    mine = dewfall.client("sqs", region_name="eu-west-1", **keys)
    mine.list_queues()
    mine.list_queues()
    used = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
    assert (used["UserName"], used["AccessKeyLastUsed"]["ServiceName"], used["AccessKeyLastUsed"]["Region"]) == ("ada", "sqs", "eu-west-1")
    assert used["AccessKeyLastUsed"]["LastUsedDate"]
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    row = next(line for line in iam.get_credential_report()["Content"].decode().splitlines() if line.startswith("ada,"))
    assert ",eu-west-1,sqs," in row
