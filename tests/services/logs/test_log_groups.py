"""Log groups, streams, retention and tags, as clients see them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server

NO_GROUP = ("ResourceNotFoundException", "The specified log group does not exist.")
NO_STREAM = ("ResourceNotFoundException", "The specified log stream does not exist.")
STREAM_EXISTS = ("ResourceAlreadyExistsException", "The specified log stream already exists")
NO_SUBSCRIPTION = "The specified subscription filter does not exist."
INVALID = "InvalidParameterException"
TOO_LONG = "Invalid LogGroup or LogStream, both must have length less than or equal to 512."
TWO_NAMES = "LogGroup name and LogGroup ARN are mutually exclusive parameters."
ARN = "arn:aws:logs:us-east-1:000000000000:log-group:/my/group"


def test_a_group_is_made_described_and_deleted(dewfall: Server) -> None:
    logs = dewfall.client("logs")
    logs.create_log_group(logGroupName="/my/group", tags={"a": "1"})
    (group,) = logs.describe_log_groups(logGroupNamePrefix="/my")["logGroups"]
    assert (group["logGroupName"], group["arn"], group["logGroupArn"]) == ("/my/group", ARN + ":*", ARN)
    assert (group["storedBytes"], group["metricFilterCount"], "retentionInDays" in group) == (0, 0, False)
    assert logs.list_tags_log_group(logGroupName="/my/group")["tags"] == {"a": "1"}
    logs.delete_log_group(logGroupName="/my/group")
    assert logs.describe_log_groups()["logGroups"] == []


def test_groups_come_in_pages(dewfall: Server) -> None:
    logs = dewfall.client("logs")
    for n in range(5):
        logs.create_log_group(logGroupName=f"g{n}")
    pages = list(logs.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["logGroups"]) for page in pages] == [2, 2, 1]


@pytest.mark.parametrize(
    ("operation", "arguments", "code", "message"),
    [
        ("create_log_group", {"logGroupName": "g"}, "ResourceAlreadyExistsException", "The specified log group already exists"),
        ("delete_log_group", {"logGroupName": "no"}, *NO_GROUP),
        ("create_log_stream", {"logGroupName": "no", "logStreamName": "s"}, *NO_GROUP),
        (
            "create_log_stream",
            {"logGroupName": "g", "logStreamName": "s"},
            "ResourceAlreadyExistsException",
            "The specified log stream already exists",
        ),
        ("delete_log_stream", {"logGroupName": "g", "logStreamName": "no"}, *NO_STREAM),
        ("get_log_events", {"logGroupName": "g", "logStreamName": "no"}, *NO_STREAM),
        ("create_log_group", {"logGroupName": "aws/spans"}, INVALID, "Log groups starting with AWS/ are reserved for AWS."),
        ("create_log_group", {"logGroupName": "g" * 513}, INVALID, TOO_LONG),
        ("create_log_stream", {"logGroupName": "g", "logStreamName": "s" * 513}, INVALID, TOO_LONG),
        ("describe_log_streams", {"logGroupName": "g", "logGroupIdentifier": "g"}, "ValidationException", TWO_NAMES),
        ("filter_log_events", {"logGroupName": "g", "logStreamNames": ["no"]}, *NO_STREAM),
        ("delete_metric_filter", {"logGroupName": "g", "filterName": "f"}, NO_GROUP[0], "The specified metric filter does not exist."),
        ("tag_log_group", {"logGroupName": "g", "tags": {"aws:x": "1"}}, INVALID, "Tag keys starting with 'aws:' are reserved for system use."),
        ("describe_subscription_filters", {"logGroupName": "no"}, *NO_GROUP),
        ("delete_subscription_filter", {"logGroupName": "g", "filterName": "f"}, NO_GROUP[0], NO_SUBSCRIPTION),
        ("delete_resource_policy", {"policyName": "p"}, NO_GROUP[0], "Policy with name [p] does not exist."),
        ("describe_log_groups", {"nextToken": "x"}, "InvalidParameterException", "The specified nextToken is invalid."),
    ],
)
def test_what_is_refused(dewfall: Server, operation: str, arguments: dict[str, Any], code: str, message: str) -> None:
    logs = dewfall.client("logs")
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    with pytest.raises(ClientError) as error:
        getattr(logs, operation)(**arguments)
    assert (error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]) == (code, message)


def test_retention_is_set_and_lifted(dewfall: Server) -> None:
    logs = dewfall.client("logs")
    logs.create_log_group(logGroupName="g")
    logs.put_retention_policy(logGroupName="g", retentionInDays=7)
    assert logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 7
    logs.delete_retention_policy(logGroupName="g")
    assert "retentionInDays" not in logs.describe_log_groups()["logGroups"][0]
    with pytest.raises(logs.exceptions.InvalidParameterException):
        logs.put_retention_policy(logGroupName="g", retentionInDays=8)


def test_resource_policies_are_kept_up_to_ten(dewfall: Server) -> None:
    logs = dewfall.client("logs")
    for n in range(10):
        logs.put_resource_policy(policyName=f"p{n}", policyDocument="{}")
    changed = logs.put_resource_policy(policyName="p3", policyDocument='{"Version": "2012-10-17"}')["resourcePolicy"]
    assert (changed["policyDocument"], changed["policyScope"]) == ('{"Version": "2012-10-17"}', "ACCOUNT")
    with pytest.raises(logs.exceptions.LimitExceededException, match="Resource limit exceeded"):
        logs.put_resource_policy(policyName="one-too-many", policyDocument="{}")
    logs.delete_resource_policy(policyName="p0")
    assert [policy["policyName"] for policy in logs.describe_resource_policies()["resourcePolicies"]] == [f"p{n}" for n in range(1, 10)]


def test_a_group_has_no_subscriptions(dewfall: Server) -> None:
    logs = dewfall.client("logs")
    logs.create_log_group(logGroupName="g")
    assert logs.describe_subscription_filters(logGroupName="g")["subscriptionFilters"] == []


def test_tags_by_arn(dewfall: Server) -> None:
    logs = dewfall.client("logs")
    logs.create_log_group(logGroupName="/my/group")
    logs.tag_resource(resourceArn=ARN, tags={"a": "1", "b": "2"})
    logs.untag_resource(resourceArn=ARN, tagKeys=["a"])
    assert logs.list_tags_for_resource(resourceArn=ARN)["tags"] == {"b": "2"}


def test_a_few_streams_need_no_token(dewfall: Server) -> None:
    logs = dewfall.client("logs")
    logs.create_log_group(logGroupName="g")
    for n in range(3):
        logs.create_log_stream(logGroupName="g", logStreamName=f"job/algo-{n}")
    answer = logs.describe_log_streams(logGroupName="g", logStreamNamePrefix="job/", orderBy="LogStreamName", limit=3)
    assert len(answer["logStreams"]) == 3
    assert "nextToken" not in answer


def test_streams_by_name_and_by_last_event(dewfall: Server) -> None:
    logs = dewfall.client("logs")
    logs.create_log_group(logGroupName="g")
    now = logs.describe_log_groups()["logGroups"][0]["creationTime"]
    for n, name in enumerate(("b/1", "a/1", "a/2")):
        logs.create_log_stream(logGroupName="g", logStreamName=name)
        logs.put_log_events(logGroupName="g", logStreamName=name, logEvents=[{"timestamp": now - n * 1000, "message": "x"}])
    by_name = logs.describe_log_streams(logGroupName="g", logStreamNamePrefix="a/")["logStreams"]
    assert [stream["logStreamName"] for stream in by_name] == ["a/1", "a/2"]
    by_time = logs.describe_log_streams(logGroupName="g", orderBy="LastEventTime", descending=True)["logStreams"]
    assert [stream["logStreamName"] for stream in by_time] == ["b/1", "a/1", "a/2"]
    assert by_time[0]["firstEventTimestamp"] == by_time[0]["lastEventTimestamp"] == now
    assert by_time[0]["arn"].endswith(":log-group:g:log-stream:b/1")


def test_a_groups_key_comes_and_goes(dewfall: Server) -> None:
    logs = dewfall.client("logs")
    logs.create_log_group(logGroupName="g")
    key = "arn:aws:kms:us-east-1:000000000000:key/51d81fab-b138-4bd2-8a09-07fd6d37224d"
    logs.associate_kms_key(logGroupName="g", kmsKeyId=key)
    group = logs.describe_log_groups()["logGroups"][0]
    assert group["kmsKeyId"] == key
    logs.disassociate_kms_key(resourceIdentifier=group["arn"])
    assert "kmsKeyId" not in logs.describe_log_groups()["logGroups"][0]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        logs.associate_kms_key(logGroupName="none", kmsKeyId=key)
    with pytest.raises(ClientError, match="InvalidParameterException"):
        logs.disassociate_kms_key()
