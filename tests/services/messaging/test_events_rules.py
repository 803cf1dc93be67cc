"""EventBridge: patterns refused in AWS's words, limits, a bus's policy, and AWS's own events on their way to a queue."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server
from tests.services.messaging.queues import receive

QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"


@pytest.fixture
def events(dewfall: Server) -> Any:
    return dewfall.client("events")


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ({"a": [{"wildcard": "b**"}]}, "Consecutive wildcard characters at pos 2"),
        ({"a": [{"cidr": "10.0.0.0"}]}, "Malformed CIDR, one '/' required"),
        ({"a": [{"anything-but": {"prefix": ""}}]}, "Null prefix/suffix not allowed"),
        ({"a": [{"EXISTS": True}]}, "Unrecognized match type EXISTS"),
        ({"a": "b"}, '"a" must be an object or an array'),
    ],
)
def test_patterns_are_checked(events: Any, pattern: dict[str, Any], reason: str) -> None:
    assert refusal(events.put_rule, Name="r", EventPattern=json.dumps(pattern)) == (
        "InvalidEventPatternException",
        f"Event pattern is not valid. Reason: {reason}",
    )


def test_a_rule_has_five_targets(events: Any) -> None:
    events.put_rule(Name="r", ScheduleExpression="rate(5 minutes)")
    targets = [{"Id": str(n), "Arn": f"{QUEUE}{n}"} for n in range(6)]
    events.put_targets(Rule="r", Targets=targets[:5])
    assert refusal(events.put_targets, Rule="r", Targets=targets[5:])[0] == "LimitExceededException"


def test_a_bus_has_a_policy(events: Any) -> None:
    events.put_permission(Action="events:PutEvents", Principal="111111111111", StatementId="s")
    statement = json.loads(events.describe_event_bus()["Policy"])["Statement"][0]
    assert (statement["Sid"], statement["Principal"]) == ("s", {"AWS": "arn:aws:iam::111111111111:root"})
    assert refusal(events.remove_permission, StatementId="other")[0] == "ResourceNotFoundException"
    events.remove_permission(StatementId="s")
    assert "Policy" not in events.describe_event_bus()


def test_too_much_at_once_is_refused(events: Any) -> None:
    entry = {"Source": "shop", "DetailType": "x", "Detail": json.dumps({"a": "b" * 262144})}
    assert refusal(events.put_events, Entries=[entry])[1] == "Total size of the entries in the request is over the limit."


@pytest.mark.parametrize("service", ["endpoints", "event_sources"])
def test_what_is_not_built_says_so(events: Any, service: str) -> None:
    assert refusal(getattr(events, f"list_{service}"))[0] == "NotImplemented"


def test_an_object_s_creation_reaches_a_queue(dewfall: Server, events: Any) -> None:
    sqs, s3 = dewfall.client("sqs"), dewfall.client("s3")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    s3.create_bucket(Bucket="data")
    s3.put_bucket_notification_configuration(Bucket="data", NotificationConfiguration={"EventBridgeConfiguration": {}})
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["aws.s3"], "detail-type": ["Object Created"]}))
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": QUEUE}])
    s3.put_object(Bucket="data", Key="k", Body=b"x")
    message = json.loads(receive(sqs, url)[0]["Body"])
    assert (message["source"], message["detail"]["bucket"]["name"], message["detail"]["object"]["key"]) == ("aws.s3", "data", "k")


def test_only_what_is_there_has_tags(events: Any) -> None:
    arn = "arn:aws:events:us-east-1:000000000000:rule/none"
    missing = "Rule none does not exist on EventBus default."
    assert refusal(events.list_tags_for_resource, ResourceARN=arn) == ("ResourceNotFoundException", missing)
    made = events.put_rule(Name="none", ScheduleExpression="rate(1 day)", State="DISABLED")["RuleArn"]
    events.tag_resource(ResourceARN=made, Tags=[{"Key": "a", "Value": "b"}])
    assert events.list_tags_for_resource(ResourceARN=made)["Tags"] == [{"Key": "a", "Value": "b"}]
