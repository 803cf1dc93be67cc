"""SNS: what it refuses and in which words, FIFO topics, permissions, dead letters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server
from tests.services.messaging.queues import receive

QUEUE = "arn:aws:sqs:us-east-1:000000000000:"


@pytest.fixture
def sns(dewfall: Server) -> Any:
    return dewfall.client("sns")


@pytest.fixture
def topic(sns: Any) -> str:
    return str(sns.create_topic(Name="t")["TopicArn"])


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def first_of(dewfall: Server, name: str, **more: Any) -> dict[str, Any]:
    sqs = dewfall.client("sqs")
    return receive(sqs, sqs.get_queue_url(QueueName=name)["QueueUrl"], **more)[0]


def test_topics_are_made_once(sns: Any) -> None:
    arn = sns.create_topic(Name="t", Tags=[{"Key": "a", "Value": "b"}])["TopicArn"]
    assert sns.create_topic(Name="t", Tags=[{"Key": "a", "Value": "b"}])["TopicArn"] == arn == sns.create_topic(Name="t")["TopicArn"]
    other = refusal(sns.create_topic, Name="t", Tags=[{"Key": "a", "Value": "c"}])
    assert other == ("InvalidParameter", "Invalid parameter: Tags Reason: Topic already exists with different tags")
    assert refusal(sns.get_topic_attributes, TopicArn="topic")[1] == "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"


@pytest.mark.parametrize(
    ("policy", "scope", "reason"),
    [
        ({"a": [["b"]]}, "MessageAttributes", "FilterPolicy: Match value must be String, number, true, false, or null"),
        ({"a": [{"sufix": "b"}]}, "MessageAttributes", "FilterPolicy: Unrecognized match type sufix"),
        ({"a": [{"numeric": [">", 3, "<", 1]}]}, "MessageAttributes", "FilterPolicy: Bottom must be less than top"),
        ({"a": [{"numeric": ["<", 3, ">", 1]}]}, "MessageAttributes", "FilterPolicy: Too many elements in numeric expression"),
        ({"a": {"b": ["c"]}}, "MessageAttributes", "Filter policy scope MessageAttributes does not support nested filter policy"),
        ({n: ["x"] for n in "abcdef"}, "MessageBody", "FilterPolicy: Filter policy can not have more than 5 keys"),
        ({n: list(range(6)) for n in "abc"}, "MessageBody", "FilterPolicy: Filter policy is too complex"),
    ],
)
def test_filter_policies_are_checked(sns: Any, topic: str, policy: dict[str, Any], scope: str, reason: str) -> None:
    attributes = {"FilterPolicy": json.dumps(policy), "FilterPolicyScope": scope}
    message = refusal(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=f"{QUEUE}q", Attributes=attributes)[1]
    assert message == f"Invalid parameter: Attributes Reason: {reason}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{invalid}", "Unexpected character ('i' (code 105)): was expecting double-quote to start field name"),
        ('{"a" 1}', "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value"),
        ("nope", "Unrecognized token 'nope': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"),
        ('{"a":', "Unexpected end-of-input"),
    ],
)
def test_policies_that_are_no_json_say_where(sns: Any, topic: str, text: str, words: str) -> None:
    for name in ("RedrivePolicy", "FilterPolicy"):
        message = refusal(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=f"{QUEUE}q", Attributes={name: text})[1]
        assert message.startswith(f"Invalid parameter: Attributes Reason: {name}: failed to parse JSON. {words}\n at [Source: REDACTED")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"Message": ""}, "InvalidParameter"),
        ({"Subject": ""}, "InvalidParameter"),
        ({"Message": "x" * 262145}, "InvalidParameter"),
        ({"MessageDeduplicationId": "1"}, "InvalidParameter"),
        ({"MessageAttributes": {"a": {"DataType": "String", "BinaryValue": b"x"}}}, "ParameterValueInvalid"),
        ({"MessageAttributes": {"a": {"DataType": "Text", "StringValue": "x"}}}, "ParameterValueInvalid"),
        ({"TopicArn": "arn:aws:sns:us-east-1:000000000000:none"}, "NotFound"),
    ],
)
def test_messages_are_checked(sns: Any, topic: str, more: dict[str, Any], code: str) -> None:
    assert refusal(sns.publish, **({"TopicArn": topic, "Message": "x"} | more))[0] == code


def test_phones_are_not_built(sns: Any) -> None:
    assert refusal(sns.publish, PhoneNumber="+1555", Message="x")[0] == "NotImplemented"


def test_a_fifo_topic_forgets_doubles_and_keeps_order(dewfall: Server, sns: Any) -> None:
    fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    arn = sns.create_topic(Name="t.fifo", Attributes=fifo)["TopicArn"]
    dewfall.client("sqs").create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=f"{QUEUE}q.fifo", Attributes={"RawMessageDelivery": "true"})
    assert refusal(sns.publish, TopicArn=arn, Message="x")[1] == "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"
    answers = [sns.publish(TopicArn=arn, Message=text, MessageGroupId="g") for text in ("a", "b", "a")]
    assert answers[0]["MessageId"] == answers[2]["MessageId"]
    assert answers[0]["SequenceNumber"] < answers[1]["SequenceNumber"]
    assert first_of(dewfall, "q.fifo")["Body"] == "a"


def test_what_cannot_be_delivered_goes_to_the_dead_letters(dewfall: Server, sns: Any, topic: str) -> None:
    dewfall.client("sqs").create_queue(QueueName="dead")
    attributes = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{QUEUE}dead"}), "RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"{QUEUE}gone", Attributes=attributes)
    sns.publish(TopicArn=topic, Message="lost", MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}})
    message = first_of(dewfall, "dead", MessageAttributeNames=["All"])
    assert (message["Body"], message["MessageAttributes"]["n"]["StringValue"]) == ("lost", "1")


def test_permissions_are_statements_of_the_policy(sns: Any, topic: str) -> None:
    sns.add_permission(TopicArn=topic, Label="l", AWSAccountId=["111111111111"], ActionName=["Publish"])
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert [s["Sid"] for s in policy["Statement"]] == ["__default_statement_ID", "l"]
    sns.remove_permission(TopicArn=topic, Label="l")
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert [s["Sid"] for s in policy["Statement"]] == ["__default_statement_ID"]


def test_a_batch_tells_what_failed(sns: Any, topic: str) -> None:
    entries = [{"Id": "1", "Message": "x"}, {"Id": "2", "Message": "x", "Subject": "a" * 101}]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert ([e["Id"] for e in answer["Successful"]], [e["Id"] for e in answer["Failed"]]) == (["1"], ["2"])


def test_numbers_are_compared_to_five_digits(dewfall: Server, sns: Any) -> None:
    sqs, topic = dewfall.client("sqs"), sns.create_topic(Name="t", Attributes={"FifoTopic": "false"})["TopicArn"]
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    policy = json.dumps({"price": [100.123456789]})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:q", Attributes={"FilterPolicy": policy})
    for price in ("100.1234", "100.1234567"):
        sns.publish(TopicArn=topic, Message=price, MessageAttributes={"price": {"DataType": "Number", "StringValue": price}})
    got = receive(sqs, url, MaxNumberOfMessages=10)
    assert [json.loads(message["Body"])["Message"] for message in got] == ["100.1234567"]
    assert "FifoTopic" not in sns.get_topic_attributes(TopicArn=topic)["Attributes"]


def test_a_topic_is_known_in_its_region(dewfall: Server, sns: Any) -> None:
    topic = sns.create_topic(Name="t")["TopicArn"]
    elsewhere = dewfall.client("sns", region_name="eu-west-1")
    assert refusal(elsewhere.get_topic_attributes, TopicArn=topic) == ("InvalidParameter", "Invalid parameter: TopicArn")
    assert dewfall.client("sns", region_name="cn-north-1").create_topic(Name="t")["TopicArn"].startswith("arn:aws-cn:sns:cn-north-1:")
