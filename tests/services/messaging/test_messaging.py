"""SQS, SNS and EventBridge by a real client; what is sent arrives."""

from __future__ import annotations

import http.server
import json
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server
from tests.services.messaging.queues import receive

ARN = "arn:aws:sqs:us-east-1:000000000000:q"


@pytest.fixture
def sqs(dewfall: Server) -> Any:
    return dewfall.client("sqs")


@pytest.fixture
def queue(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="q")["QueueUrl"])


def test_a_message_is_received_and_deleted(sqs: Any, queue: str) -> None:
    sent = sqs.send_message(QueueUrl=queue, MessageBody="hello", MessageAttributes={"n": {"DataType": "Number", "StringValue": "7"}})
    message = receive(sqs, queue, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"])[0]
    assert (message["Body"], message["MessageId"]) == ("hello", sent["MessageId"])
    assert message["MessageAttributes"]["n"]["StringValue"] == "7"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "1")
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_message_comes_again_when_its_time_is_over(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="again")
    first = receive(sqs, queue)[0]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    assert receive(sqs, queue)[0]["MessageId"] == first["MessageId"]


def test_a_long_poll_ends_with_the_message(dewfall: Server, sqs: Any, queue: str) -> None:
    found: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: found.extend(receive(dewfall.session.client("sqs", endpoint_url=dewfall.url), queue)))
    waiting.start()
    sqs.send_message(QueueUrl=queue, MessageBody="now")
    waiting.join(90)
    assert [message["Body"] for message in found] == ["now"]


def test_fifo_keeps_order_and_forgets_doubles(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="o.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})["QueueUrl"]
    for body in ("a", "b", "a"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g")
    assert [m["Body"] for m in receive(sqs, url, 2, MaxNumberOfMessages=10)] == ["a", "b"]


def test_dead_letters_move(sqs: Any, queue: str) -> None:
    policy = json.dumps({"deadLetterTargetArn": ARN, "maxReceiveCount": 1})
    url = sqs.create_queue(QueueName="source", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="bad")
    receive(sqs, url)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert receive(sqs, queue)[0]["Body"] == "bad"


def test_batches_tell_what_failed(sqs: Any, queue: str) -> None:
    entries = [{"Id": "1", "MessageBody": "a"}, {"Id": "2", "MessageBody": "b"}]
    assert [s["Id"] for s in sqs.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"]] == ["1", "2"]
    with pytest.raises(ClientError) as twice:
        sqs.send_message_batch(QueueUrl=queue, Entries=[entries[0], entries[0]])
    assert "BatchEntryIdsNotDistinct" in twice.value.response["Error"]["Code"]


def test_a_missing_queue_is_told_as_aws_does(sqs: Any, dewfall: Server) -> None:
    with pytest.raises(ClientError) as missing:
        sqs.send_message(QueueUrl=f"{dewfall.url}/000000000000/none", MessageBody="x")
    assert missing.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


def test_a_topic_reaches_its_queues_through_their_filters(dewfall: Server, sqs: Any, queue: str) -> None:
    sns = dewfall.client("sns")
    topic = sns.create_topic(Name="t")["TopicArn"]
    policy = {"FilterPolicy": json.dumps({"kind": ["good"]}), "RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=ARN, Attributes=policy)
    sns.publish(TopicArn=topic, Message="no", MessageAttributes={"kind": {"DataType": "String", "StringValue": "bad"}})
    sns.publish(TopicArn=topic, Message="yes", MessageAttributes={"kind": {"DataType": "String", "StringValue": "good"}})
    assert receive(sqs, queue)[0]["Body"] == "yes"


def test_an_http_subscriber_confirms_and_is_told(dewfall: Server) -> None:
    got: list[dict[str, Any]] = []
    told = threading.Event()

    class Subscriber(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            told.set()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Subscriber) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        sns = dewfall.client("sns")
        topic = sns.create_topic(Name="t")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://127.0.0.1:{listening.server_port}/")
        assert told.wait(90)
        told.clear()
        sns.confirm_subscription(TopicArn=topic, Token=got[0]["Token"])
        sns.publish(TopicArn=topic, Message="hi", Subject="s")
        assert told.wait(90)
        listening.shutdown()
    assert (got[1]["Type"], got[1]["Message"], got[1]["Subject"]) == ("Notification", "hi", "s")


def test_a_template_may_quote_its_parts(dewfall: Server, sqs: Any, queue: str) -> None:
    events = dewfall.client("events")
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["shop"]}))
    paths = {"whole": "$.detail", "none": "$.detail.none"}
    transformer = {"InputPathsMap": paths, "InputTemplate": '"<whole> and <none>"'}
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": ARN, "InputTransformer": transformer}])
    events.put_events(Entries=[{"Source": "shop", "DetailType": "sale", "Detail": json.dumps({"a": ["é"], "b": 1})}])
    assert receive(sqs, queue)[0]["Body"] == '"{a:[é],b:1} and "'


def test_an_event_reaches_the_targets_of_its_rule(dewfall: Server, sqs: Any, queue: str) -> None:
    events = dewfall.client("events")
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["shop"], "detail": {"price": [{"numeric": [">", 10]}]}}))
    transformer = {"InputPathsMap": {"p": "$.detail.price"}, "InputTemplate": '{"cost": <p>}'}
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": ARN, "InputTransformer": transformer}])
    details = [{"Source": "shop", "DetailType": "sale", "Detail": json.dumps({"price": price})} for price in (5, 20)]
    assert events.put_events(Entries=details)["FailedEntryCount"] == 0
    assert json.loads(receive(sqs, queue)[0]["Body"]) == {"cost": 20}


@pytest.mark.parametrize(
    "target",
    [
        "states:us-east-1:000000000000:stateMachine:none",
        "logs:us-east-1:000000000000:no-group",
        "events:us-east-1:000000000000:api-destination/hook/0b5a44b5-7d4e-4c3a-9f0e-2d1c8a6f3e11",
    ],
)
def test_events_to_a_target_that_is_not_there_are_dead_letters(dewfall: Server, sqs: Any, queue: str, target: str) -> None:
    events, function = dewfall.client("events"), f"arn:aws:{target}"
    events.put_rule(Name="r", EventPattern='{"source": ["shop"]}')
    assert events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": function, "DeadLetterConfig": {"Arn": ARN}}])["FailedEntryCount"] == 0
    events.put_events(Entries=[{"Source": "shop", "DetailType": "sale", "Detail": "{}"}])
    message = receive(sqs, queue, MessageAttributeNames=["All"])[0]
    told = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert (told["TARGET_ARN"], told["ERROR_CODE"], json.loads(message["Body"])["source"]) == (function, "NO_RESOURCE", "shop")


def test_a_dead_letter_queue_that_is_gone_keeps_no_other_target_waiting(dewfall: Server, sqs: Any, queue: str) -> None:
    events, function = dewfall.client("events"), "arn:aws:states:us-east-1:000000000000:stateMachine:none"
    events.put_rule(Name="r", EventPattern='{"source": ["shop"]}')
    bad = {"Id": "1", "Arn": function, "DeadLetterConfig": {"Arn": f"{ARN}-gone"}}
    events.put_targets(Rule="r", Targets=[{"Id": "0", "Arn": ARN}, bad, {"Id": "2", "Arn": ARN}])
    events.put_events(Entries=[{"Source": "shop", "DetailType": "sale", "Detail": "{}"}])
    events.put_events(Entries=[{"Source": "shop", "DetailType": "last", "Detail": "{}"}])
    found: list[str] = []
    for _ in range(12):
        if found.count("last") < 2:
            messages = receive(sqs, queue, MaxNumberOfMessages=10, VisibilityTimeout=600)
            found += [json.loads(message["Body"])["detail-type"] for message in messages]
    assert sorted(found) == ["last", "last", "sale", "sale"]


@pytest.mark.parametrize(("by_content", "arrive"), [("true", 1), ("false", 0)])
def test_a_fifo_target_must_tell_copies_by_content(dewfall: Server, sqs: Any, by_content: str, arrive: int) -> None:
    events = dewfall.client("events")
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": by_content})["QueueUrl"]
    events.put_rule(Name="r", EventPattern='{"source": ["shop"]}')
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": f"{ARN}.fifo", "SqsParameters": {"MessageGroupId": "g"}}])
    events.put_events(Entries=[{"Source": "shop", "DetailType": "sale", "Detail": "{}"}])
    found = receive(sqs, url) if arrive else sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", [])
    assert len(found) == arrive


def test_a_batch_reaches_the_queue_whole(dewfall: Server, sqs: Any, queue: str) -> None:
    sns = dewfall.client("sns")
    topic = sns.create_topic(Name="t")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=ARN, Attributes={"RawMessageDelivery": "true"})
    sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": str(n), "Message": str(n)} for n in range(3)])
    assert len(receive(sqs, queue, 3, MaxNumberOfMessages=10)) == 3


@pytest.mark.parametrize("expression", ["rate(0 minutes)", "cron(* * * * * *)", "at(2030-01-01T00:00:00)"])
def test_bad_schedules_are_refused(dewfall: Server, expression: str) -> None:
    with pytest.raises(ClientError) as refused:
        dewfall.client("events").put_rule(Name="r", ScheduleExpression=expression)
    assert "ScheduleExpression is not valid" in str(refused.value)
