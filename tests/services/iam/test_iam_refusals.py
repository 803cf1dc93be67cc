"""What IAM and STS answer in particulars: refusals in their words, members that one operation tells and another does not, tags' places."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dewfall.testing_server import Server

TRUST = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
)
READS = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]})
START = "1 validation error detected: Value at "


@pytest.fixture
def iam(dewfall: Server) -> Any:
    return dewfall.client("iam")


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_refused_values_are_not_repeated(iam: Any) -> None:
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    bad = refusal(iam.tag_role, RoleName="r", Tags=[{"Key": "a!", "Value": ""}])
    assert bad == (
        "ValidationError",
        START + "'tags.1.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+",
    )
    assert refusal(iam.untag_role, RoleName="r", TagKeys=["a!"])[1].endswith("[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+, Member must not be null]")
    several = refusal(iam.update_account_password_policy, MaxPasswordAge=1096, MinimumPasswordLength=129, PasswordReusePrevention=25)[1]
    assert several.startswith("3 validation errors detected: Value at 'minimumPasswordLength'")
    assert "Reuse" in several.split(";")[1]


def test_paths_markers_and_arns_are_refused_in_words_of_their_own(iam: Any) -> None:
    assert refusal(iam.create_user, UserName="u", Path="x")[1].startswith("The specified value for path is invalid. It must begin and end with /")
    assert refusal(iam.list_users, Marker="100") == ("ValidationError", "Invalid Marker.")
    iam.create_user(UserName="u")
    no_arn = refusal(iam.attach_user_policy, UserName="u", PolicyArn="longpolicynamebutnoarn")
    assert no_arn == ("ValidationError", "ARN longpolicynamebutnoarn is not valid.")
    no_policy = "arn:aws:iam::000000000000:no_policy/x"
    assert refusal(iam.put_user_permissions_boundary, UserName="u", PermissionsBoundary=no_policy) == (
        "InvalidInput",
        f"ARN {no_policy} is not valid.",
    )


def test_trust_policies_that_are_none(iam: Any) -> None:
    assert refusal(iam.create_role, RoleName="r", AssumeRolePolicyDocument="{")[1] == "This policy contains invalid Json"
    with_resource = json.loads(TRUST)
    with_resource["Statement"][0]["Resource"] = "*"
    assert refusal(iam.create_role, RoleName="r", AssumeRolePolicyDocument=json.dumps(with_resource))[1] == "Has prohibited field Resource"


def test_a_new_role_tells_less_than_a_read_one(iam: Any) -> None:
    made = iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST, Description="d")["Role"]
    assert not {"Description", "MaxSessionDuration"} & set(made)
    assert iam.get_role(RoleName="r")["Role"]["Description"] == "d"
    changed = iam.update_role_description(RoleName="r", Description="e")["Role"]
    assert changed["Description"] == "e"
    assert not {"RoleLastUsed", "MaxSessionDuration"} & set(changed)


def test_an_instance_profile_tells_its_tags_when_read(iam: Any) -> None:
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    assert "Tags" not in iam.create_instance_profile(InstanceProfileName="p")["InstanceProfile"]
    iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName="r")
    read = iam.get_instance_profile(InstanceProfileName="p")["InstanceProfile"]
    assert read["Tags"] == []
    assert "MaxSessionDuration" not in read["Roles"][0]
    assert refusal(iam.create_instance_profile, InstanceProfileName="p")[1] == "Instance Profile p already exists."


def test_a_tag_keeps_its_place(iam: Any) -> None:
    iam.create_user(UserName="u", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}])
    iam.tag_user(UserName="u", Tags=[{"Key": "A", "Value": "2"}])
    assert iam.list_user_tags(UserName="u")["Tags"] == [{"Key": "A", "Value": "2"}, {"Key": "b", "Value": "1"}]


def test_tag_keys_of_managed_policies_differ_by_case(iam: Any) -> None:
    tags = [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]
    arn = iam.create_policy(PolicyName="p", PolicyDocument=READS, Tags=tags)["Policy"]["Arn"]
    assert [tag["Key"] for tag in iam.list_policy_tags(PolicyArn=arn)["Tags"]] == ["A", "a"]
    assert refusal(iam.tag_policy, PolicyArn=arn, Tags=tags[:1] * 2) == ("InvalidInput", "Duplicate tag keys found.")
    iam.untag_policy(PolicyArn=arn, TagKeys=["a"])
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == tags[1:]


def test_nobody_learns_of_a_key_that_is_not_there(iam: Any) -> None:
    code, message = refusal(iam.get_access_key_last_used, AccessKeyId="AKIAIOSFODNN7EXAMPLE")
    assert code == "AccessDenied"
    assert message.endswith("iam:GetAccessKeyLastUsed on resource: access key AKIAIOSFODNN7EXAMPLE")


def test_providers_and_devices_in_their_words(iam: Any) -> None:
    arn = iam.create_saml_provider(Name="s", SAMLMetadataDocument="a" * 1000)["SAMLProviderArn"]
    assert iam.get_saml_provider(SAMLProviderArn=arn)["AssertionEncryptionMode"] == "Allowed"
    assert refusal(iam.get_saml_provider, SAMLProviderArn=arn + "x")[1] == f"Manifest not found for arn {arn}x"
    iam.create_open_id_connect_provider(Url="https://a.example", ThumbprintList=[])
    twice = refusal(iam.create_open_id_connect_provider, Url="https://a.example", ThumbprintList=[])
    assert twice[1] == "Provider with url https://a.example already exists."
    device = "arn:aws:iam::000000000000:mfa/none"
    assert refusal(iam.delete_virtual_mfa_device, SerialNumber=device)[1] == f"MFA Device with serial number {device} does not exist."


def certificate(end: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.example")])
    unsigned = x509.CertificateBuilder(name, name, key.public_key(), 1, end - timedelta(days=9), end)
    return unsigned.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_server_certificates_are_kept(iam: Any) -> None:
    end, body = datetime(2040, 1, 1, tzinfo=UTC), certificate(datetime(2040, 1, 1, tzinfo=UTC))
    made = iam.upload_server_certificate(ServerCertificateName="c", CertificateBody=body, PrivateKey="k", Path="/x/")
    assert made["ServerCertificateMetadata"]["Expiration"] == end
    assert made["ServerCertificateMetadata"]["Arn"] == "arn:aws:iam::000000000000:server-certificate/x/c"
    assert refusal(iam.upload_server_certificate, ServerCertificateName="c", CertificateBody=body, PrivateKey="k")[0] == "EntityAlreadyExists"
    iam.update_server_certificate(ServerCertificateName="c", NewServerCertificateName="d")
    iam.tag_server_certificate(ServerCertificateName="d", Tags=[{"Key": "a", "Value": "1"}])
    read = iam.get_server_certificate(ServerCertificateName="d")["ServerCertificate"]
    assert read["CertificateBody"].strip() == body.strip()
    assert read["Tags"] == [{"Key": "a", "Value": "1"}]
    assert [c["ServerCertificateName"] for c in iam.list_server_certificates(PathPrefix="/x/")["ServerCertificateMetadataList"]] == ["d"]
    iam.delete_server_certificate(ServerCertificateName="d")
    assert refusal(iam.get_server_certificate, ServerCertificateName="d")[1] == "The Server Certificate with name d cannot be found."


def test_transitive_session_tags_are_passed_on(dewfall: Server) -> None:
    sts, role = dewfall.client("sts"), {"RoleArn": "arn:aws:iam::000000000000:role/r", "RoleSessionName": "one"}
    tags = [{"Key": "team", "Value": "ml"}]
    assert refusal(sts.assume_role, **role, Tags=tags, TransitiveTagKeys=["other"])[0] == "InvalidParameterValue"
    assert refusal(sts.assume_role, **role, Tags=[*tags, {"Key": "Team", "Value": "x"}])[1].startswith("Duplicate tag keys found.")
    keys = sts.assume_role(**role, Tags=tags, TransitiveTagKeys=["TEAM"])["Credentials"]
    session = dewfall.client("sts", aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"])
    assert "conflicts with a transitive tag key from the calling session" in refusal(session.assume_role, **role, Tags=tags)[1]
    assert session.assume_role(**role)["Credentials"]
