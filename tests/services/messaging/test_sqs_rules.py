"""SQS: what it refuses and in which words, receipts, permissions, move tasks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server


@pytest.fixture
def sqs(dewfall: Server) -> Any:
    return dewfall.client("sqs")


@pytest.fixture
def queue(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="q")["QueueUrl"])


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Nonsense": "1"}, "InvalidAttributeName"),
        ({"VisibilityTimeout": "50000"}, "InvalidAttributeValue"),
        ({"Policy": "{"}, "InvalidAttributeValue"),
        ({"RedrivePolicy": '{"deadLetterTargetArn": "dummy", "maxReceiveCount": 4}'}, "InvalidParameterValue"),
        ({"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:none", "maxReceiveCount": 4}'}, "InvalidParameterValue"),
        ({"ContentBasedDeduplication": "true"}, "InvalidAttributeName"),
    ],
)
def test_attributes_are_checked(sqs: Any, attributes: dict[str, str], code: str) -> None:
    assert refusal(sqs.create_queue, QueueName="bad", Attributes=attributes)[0] == code


def test_the_same_name_with_other_attributes_is_refused(sqs: Any, queue: str) -> None:
    assert sqs.create_queue(QueueName="q")["QueueUrl"] == queue
    assert refusal(sqs.create_queue, QueueName="q", Attributes={"DelaySeconds": "5"}) == (
        "QueueAlreadyExists",
        "A queue already exists with the same name and a different value for attribute DelaySeconds",
    )


def test_a_kms_key_takes_the_place_of_the_queue_s_own_encryption(sqs: Any, queue: str) -> None:
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"KmsMasterKeyId": "key"})
    assert sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["SqsManagedSseEnabled"])["Attributes"] == {"SqsManagedSseEnabled": "false"}
    assert refusal(sqs.set_queue_attributes, QueueUrl=queue, Attributes={"SqsManagedSseEnabled": "true"})[0] == "InvalidAttributeName"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"MessageBody": "\x01"}, "InvalidMessageContents"),
        ({"MessageBody": "a" * 1048577}, "InvalidParameterValue"),
        ({"DelaySeconds": 901}, "InvalidParameterValue"),
        ({"MessageDeduplicationId": "x"}, "InvalidParameterValue"),
        ({"MessageAttributes": {"a": {"DataType": "Text", "StringValue": "x"}}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"a": {"DataType": "String", "StringValue": ""}}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"a": {"DataType": "Number", "StringValue": "x"}}}, "InvalidParameterValue"),
    ],
)
def test_messages_are_checked(sqs: Any, queue: str, more: dict[str, Any], code: str) -> None:
    assert refusal(sqs.send_message, **({"QueueUrl": queue, "MessageBody": "x"} | more))[0] == code


def test_an_earlier_receipt_handle_stays_good(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    first, second = (sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"] for _ in range(2))
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=second)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert refusal(sqs.delete_message, QueueUrl=url, ReceiptHandle="x")[0] == "ReceiptHandleIsInvalid"


def test_a_receive_attempt_is_repeated(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="1")
    found = [sqs.receive_message(QueueUrl=url, ReceiveRequestAttemptId="try")["Messages"][0]["MessageId"] for _ in range(2)]
    assert found[0] == found[1]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_deduplication_within_a_group(sqs: Any) -> None:
    settings = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    url = sqs.create_queue(QueueName="q.fifo", Attributes=settings)["QueueUrl"]
    for group in ("a", "b", "a"):
        sqs.send_message(QueueUrl=url, MessageBody=group, MessageGroupId=group, MessageDeduplicationId="1")
    assert sorted(m["Body"] for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == ["a", "b"]


def test_permissions_are_statements_of_the_policy(sqs: Any, queue: str) -> None:
    sqs.add_permission(QueueUrl=queue, Label="l", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])["Attributes"]["Policy"])
    assert (policy["Statement"][0]["Sid"], policy["Statement"][0]["Action"]) == ("l", "SQS:SendMessage")
    sqs.remove_permission(QueueUrl=queue, Label="l")
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])
    assert refusal(sqs.remove_permission, QueueUrl=queue, Label="l") == (
        "InvalidParameterValue",
        "Value l for parameter Label is invalid. Reason: can't find label.",
    )


def test_a_second_purge_must_wait(sqs: Any, queue: str) -> None:
    sqs.purge_queue(QueueUrl=queue)
    assert refusal(sqs.purge_queue, QueueUrl=queue)[0] == "AWS.SimpleQueueService.PurgeQueueInProgress"


def test_dead_letters_go_back(sqs: Any, queue: str) -> None:
    arn = "arn:aws:sqs:us-east-1:000000000000:q"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    source = sqs.create_queue(QueueName="source", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})["QueueUrl"]
    sqs.send_message(QueueUrl=source, MessageBody="again")
    for _ in range(2):
        sqs.receive_message(QueueUrl=source)
    assert refusal(sqs.start_message_move_task, SourceArn=arn + "x")[0] == "ResourceNotFoundException"
    sqs.start_message_move_task(SourceArn=arn)
    task = sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert sqs.receive_message(QueueUrl=source)["Messages"][0]["Body"] == "again"


def test_a_slow_move_task_is_cancelled(sqs: Any, queue: str) -> None:
    arn = "arn:aws:sqs:us-east-1:000000000000:q"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    sqs.create_queue(QueueName="source", Attributes={"RedrivePolicy": policy})
    for body in "abc":
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    destination = "arn:aws:sqs:us-east-1:000000000000:source"
    handle = sqs.start_message_move_task(SourceArn=arn, DestinationArn=destination, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    assert sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"] == "RUNNING"
    assert sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"] >= 1
    assert sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"] in ("CANCELLING", "CANCELLED")
