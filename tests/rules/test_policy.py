"""IAM's decisions, against the rules of its user guide."""

from __future__ import annotations

from typing import Any

import pytest

from dewfall.rules.policy import Access, Policy, decide, trusts

OBJECT = "arn:aws:s3:::data/a.csv"
ROLE = "arn:aws:sts::111122223333:assumed-role/analyst/session"


def policy(*statements: dict[str, Any], kind: str = "user") -> Policy:
    return Policy.parse("p", kind, {"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return allow(action, resource, **more) | {"Effect": "Deny"}


READ = Access("s3:GetObject", OBJECT, ROLE, "111122223333")


def test_nothing_allows_by_itself() -> None:
    assert decide(READ, []).verdict == "implicitDeny"


def test_a_deny_anywhere_wins() -> None:
    assert decide(READ, [policy(allow("*")), policy(deny("s3:Get*"))]).verdict == "explicitDeny"


@pytest.mark.parametrize("action", ["S3:getobject", "s3:Get?bject", "s3:*", "*"])
def test_actions_match_without_case_and_by_wildcards(action: str) -> None:
    assert decide(READ, [policy(allow(action))]).allowed


def test_resources_match_with_case() -> None:
    assert not decide(READ, [policy(allow("s3:*", "arn:aws:s3:::Data/*"))]).allowed


def test_not_action_allows_all_others() -> None:
    statement = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}
    assert decide(READ, [policy(statement)]).allowed
    assert not decide(Access("iam:GetRole", "*"), [policy(statement)]).allowed


def test_a_boundary_limits_what_is_allowed() -> None:
    decision = decide(READ, [policy(allow("*"))], boundary=policy(allow("ec2:*")))
    assert (decision.verdict, decision.boundary_allows) == ("implicitDeny", False)


def test_session_policies_limit_what_is_allowed() -> None:
    assert not decide(READ, [policy(allow("*"))], session=[policy(allow("s3:PutObject"))]).allowed
    assert decide(READ, [policy(allow("*"))], session=[policy(allow("s3:GetObject"))]).allowed


def test_a_resource_policy_grants_within_the_account() -> None:
    bucket = policy(allow("s3:GetObject", "arn:aws:s3:::data/*", Principal={"AWS": "arn:aws:iam::111122223333:role/analyst"}), kind="resource")
    assert decide(READ, [], resource=bucket).allowed
    assert not decide(Access("s3:GetObject", OBJECT, "arn:aws:iam::999:user/x", "999"), [], resource=bucket).allowed


@pytest.mark.parametrize(
    ("condition", "context", "fits"),
    [
        ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, {"aws:requestedregion": ["us-east-1"]}, True),
        ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, {}, False),
        ({"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}, {}, True),
        ({"StringEqualsIfExists": {"aws:RequestedRegion": "us-east-1"}}, {}, True),
        ({"StringLike": {"s3:prefix": ["home/*", "tmp"]}}, {"s3:prefix": ["home/me"]}, True),
        ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": ["11"]}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}, {"aws:currenttime": ["2026-06-01T00:00:00Z"]}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:sourceip": ["10.1.2.3"]}, True),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:sourceip": ["10.1.2.3"]}, False),
        ({"Null": {"aws:TokenIssueTime": "true"}}, {}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:securetransport": ["true"]}, False),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/an*"}}, {"aws:principalarn": ["arn:aws:iam::1:role/analyst"]}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ["a", "c"]}, False),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:tagkeys": ["a", "c"]}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, {}, True),
    ],
)
def test_conditions(condition: dict[str, Any], context: dict[str, list[str]], fits: bool) -> None:
    access = Access("s3:GetObject", OBJECT, context=context)
    assert decide(access, [policy(allow("*", Condition=condition))]).allowed is fits


def test_variables_stand_for_the_caller() -> None:
    home = policy(allow("s3:*", "arn:aws:s3:::data/${aws:username}/*"))
    access = Access("s3:GetObject", "arn:aws:s3:::data/ada/x", context={"aws:username": ["ada"]})
    assert decide(access, [home]).allowed
    assert not decide(Access("s3:GetObject", "arn:aws:s3:::data/bob/x", context={"aws:username": ["ada"]}), [home]).allowed


def test_missing_context_is_named() -> None:
    asked = policy(allow("s3:*", Condition={"StringEquals": {"aws:RequestedRegion": "us-east-1"}}))
    assert decide(READ, [asked]).missing == ("aws:RequestedRegion",)


def test_a_trust_policy_names_the_service() -> None:
    document = {"Statement": {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}}
    assert trusts(document, Access("sts:AssumeRole", "*", "sagemaker.amazonaws.com"))
    assert not trusts(document, Access("sts:AssumeRole", "*", "lambda.amazonaws.com"))
