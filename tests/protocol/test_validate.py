"""Constraints of the models, in the words of each service."""

from __future__ import annotations

from typing import Any

import pytest

from dewfall.errors import AwsError
from dewfall.wire.patterns import compiled
from dewfall.wire.validate import validate

ROLE = "arn:aws:iam::000000000000:role/x"
ARN = "arn:aws:sagemaker:us-east-1:000000000000:model/m"
START = "1 validation error detected: "
SUBNETS = (
    "Value '[!]' at 'vpcConfig.subnets' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal "
    "to 32, Member must satisfy regular expression pattern: [-0-9a-zA-Z]+]"
)

BROKEN: list[tuple[str, str, dict[str, Any], str, str]] = [
    (
        "sagemaker",
        "DescribeModel",
        {},
        "ValidationException",
        START + "Value null at 'modelName' failed to satisfy constraint: Member must not be null",
    ),
    (
        "sagemaker",
        "ListModels",
        {"MaxResults": 101},
        "ValidationException",
        START + "Value '101' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 100",
    ),
    (
        "sagemaker",
        "ListModels",
        {"SortOrder": "Up"},
        "ValidationException",
        START + "Value 'Up' at 'sortOrder' failed to satisfy constraint: Member must satisfy enum value set: [Ascending, Descending]",
    ),
    (
        "sagemaker",
        "AddTags",
        {"ResourceArn": ARN, "Tags": [{"Key": "a" * 129, "Value": "v"}]},
        "ValidationException",
        START + f"Value '{'a' * 129}' at 'tags.1.member.key' failed to satisfy constraint: Member must have length less than or equal to 128",
    ),
    (
        "sagemaker",
        "CreateModel",
        {"ModelName": "m", "VpcConfig": {"Subnets": ["!"], "SecurityGroupIds": ["a"]}},
        "ValidationException",
        START + SUBNETS,
    ),
    (
        "logs",
        "CreateLogGroup",
        {"logGroupName": "a b"},
        "InvalidParameterException",
        START + "Value 'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
    ),
    (
        "ecr",
        "CreateRepository",
        {"repositoryName": "a"},
        "InvalidParameterException",
        "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must have length greater than or equal to 2'",
    ),
    (
        "iam",
        "GetRole",
        {"RoleName": "a b"},
        "ValidationError",
        "The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-",
    ),
    ("sqs", "CreateQueue", {}, "MissingParameter", "The request must contain the parameter QueueName."),
]


@pytest.mark.parametrize(("service", "operation", "params", "code", "message"), BROKEN)
def test_a_broken_constraint(service: str, operation: str, params: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(AwsError) as caught:
        validate(service, operation, params)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_events_are_printed_whole() -> None:
    entry = {"Source": "s", "DetailType": "t", "Detail": '{"a": 1}'}
    with pytest.raises(AwsError) as caught:
        validate("events", "PutEvents", {"Entries": [entry] * 11})
    shown = 'PutEventsRequestEntry(time=null, source=s, resources=null, detailType=t, detail={"a": 1}, eventBusName=null, traceHeader=null, '
    shown += "kmsKeyIdentifier=null, internalMetadata=null)"
    many = ", ".join([shown] * 11)
    assert (
        caught.value.message == f"{START}Value '[{many}]' at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10"
    )


def test_all_broken_constraints_are_told() -> None:
    with pytest.raises(AwsError, match=r"2 validation errors detected: .*'sortOrder'.*; .*'maxResults'"):
        validate("sagemaker", "ListModels", {"MaxResults": 0, "SortOrder": "x"})


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("s3", "PutObject", {"Bucket": "b", "Key": "k", "StorageClass": "NEW", "ACL": "whatever"}),
        ("sqs", "ReceiveMessage", {"QueueUrl": "u", "AttributeNames": ["Unknown"]}),
        ("sagemaker", "AddTags", {"ResourceArn": ARN, "Tags": [{"Key": "ключ 1", "Value": ""}]}),
        ("sagemaker", "CreateModel", {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Environment": {"A": "b\nc"}}}),
    ],
)
def test_what_aws_accepts_is_accepted(service: str, operation: str, params: dict[str, Any]) -> None:
    validate(service, operation, params)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*", "größe 1", True),
        ("[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*", "a#b", False),
        ("^\\P{C}*$", "tab\t", False),
        ("[\\p{Alnum}\\-]+", "a-1", True),
        ("\\d+", "٣", False),
        ("[\\u0020-\\uD7FF\\uE000-\\uFFFD\\uD800\\uDC00-\\uDBFF\\uDFFF\\t]*", "a𝒳", True),
    ],
)
def test_javas_patterns_mean_the_same(pattern: str, text: str, matches: bool) -> None:
    engine = compiled(pattern)
    assert engine is not None
    assert (engine.fullmatch(text) is not None) is matches


@pytest.mark.parametrize("pattern", ["[a-z&&[^b]]", "${1,128}", "[\\P{L}a]"])
def test_a_pattern_that_python_cannot_say_is_left_out(pattern: str) -> None:
    assert compiled(pattern) is None
