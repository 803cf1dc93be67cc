"""Documents that are no policies, and what IAM says of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dewfall.rules.policy_text import Malformed, check_identity_policy, check_trust_policy, places


def document(**changes: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::data"} | changes
    return {"Version": "2012-10-17", "Statement": {name: value for name, value in statement.items() if value is not None}}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"Version": "2012-10-17"}, "Syntax errors in policy."),
        (document() | {"Version": "2008-10-17"}, "Policy document must be version 2012-10-17 or greater."),
        (document(Extra="x"), "Syntax errors in policy."),
        (document(Condition={"Sometimes": {"a": "1"}}), "Syntax errors in policy."),
        (document(Effect="denY"), "The policy failed legacy parsing"),
        (document(Condition={"DateLessThan": {"a": "soon"}}), "The policy failed legacy parsing"),
        (document(Resource="arn:aws:s3::data"), "The policy failed legacy parsing"),
        (document(Action=None), "Policy statement must contain actions."),
        (document(Resource=None), "Policy statement must contain resources."),
        (document(Resource="data"), 'Resource data must be in ARN format or "*".'),
        (document(Resource="aws:s3:::data"), 'Partition "s3" is not valid for resource "arn:s3:::data:*".'),
        (document(Resource="arn:aws:s3:us-east-1::data"), "Resource arn:aws:s3:us-east-1::data can not contain region information."),
        (document(Action="list"), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (document(Action="s3:a:b"), "Actions/Condition can contain only one colon."),
        (document(Principal="*"), "Policy document should not specify a principal."),
    ],
)
def test_the_first_problem_is_told(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_identity_policy(json.dumps(policy))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "policy",
    [
        document(Resource="arn:aws:iam::*:user/${aws:username}"),
        document(Condition={"ForAnyValue:StringEqualsIfExists": {"aws:TagKeys": ["a"]}}),
        document(Condition={"DateLessThan": {"a": "2026-01-01T00:00:00Z"}}),
        document(Action="*", Resource="*"),
    ],
)
def test_policies_are_policies(policy: dict[str, Any]) -> None:
    check_identity_policy(json.dumps(policy))


def test_a_trust_policy_has_principals_and_no_resource() -> None:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "sagemaker.amazonaws.com"}}
    check_trust_policy(json.dumps({"Version": "2012-10-17", "Statement": statement}))
    changes: list[dict[str, Any]] = [{"Resource": "*"}, {"Principal": {}}, {"Action": "s3:GetObject"}]
    for change in changes:
        with pytest.raises(Malformed):
            check_trust_policy(json.dumps({"Version": "2012-10-17", "Statement": statement | change}))


def test_statements_have_places() -> None:
    text = '{"Statement": [\n  {"Sid": "a}"},\n {"Condition": {}}\n]}'
    assert places(text) == [((2, 3), (2, 16)), ((3, 2), (3, 19))]
