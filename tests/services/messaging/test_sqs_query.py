"""SQS as SDKs from before 2023 speak it: a real client with the model that they had."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server
from dewfall.wire import models
from dewfall.wire.sqs_query import with_names


@pytest.fixture
def old(dewfall: Server, tmp_path: Path) -> Any:
    """A client that speaks forms and XML."""
    file = models.model_file("sqs")
    raw = file.read_bytes()
    model = with_names(json.loads(gzip.decompress(raw) if file.suffix == ".gz" else raw))
    model["metadata"] = {k: v for k, v in model["metadata"].items() if k not in ("jsonVersion", "targetPrefix", "awsQueryCompatible")}
    model["metadata"] |= {"protocol": "query", "protocols": ["query"]}
    for name, operation in model["operations"].items():
        if "output" in operation:
            operation["output"]["resultWrapper"] = f"{name}Result"
    folder = tmp_path / "sqs" / "2012-11-05"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps(model))
    session = botocore.session.Session()
    session.get_component("data_loader").search_paths.insert(0, str(tmp_path))
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return boto3.Session(botocore_session=session, **keys).client("sqs", endpoint_url=dewfall.url)


def test_messages_with_attributes_go_through(old: Any) -> None:
    url = old.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "7"}, tags={"a": "b"})["QueueUrl"]
    attributes = {"n": {"DataType": "Number", "StringValue": "7"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\x01"}}
    old.send_message(QueueUrl=url, MessageBody="a <&> b", MessageAttributes=attributes)
    message = old.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"])["Messages"][0]
    assert (message["Body"], message["MessageAttributes"]) == ("a <&> b", attributes)
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert old.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}
    assert old.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"] == {"VisibilityTimeout": "7"}


def test_batches_go_through(old: Any) -> None:
    url = old.create_queue(QueueName="q")["QueueUrl"]
    answer = old.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x"}, {"Id": "b", "MessageBody": "\x01"}])
    assert ([e["Id"] for e in answer["Successful"]], [e["Code"] for e in answer["Failed"]]) == (["a"], ["InvalidMessageContents"])


def test_errors_have_the_old_codes_and_words(old: Any) -> None:
    with pytest.raises(ClientError) as none:
        old.get_queue_url(QueueName="none")
    assert none.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert none.value.response["Error"]["Message"] == "The specified queue does not exist for this wsdl version."


def test_a_long_poll_ends_with_the_message(dewfall: Server, old: Any) -> None:
    import threading

    url = old.create_queue(QueueName="q", Attributes={"ReceiveMessageWaitTimeSeconds": "15"})["QueueUrl"]
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.extend(m["Body"] for m in old.receive_message(QueueUrl=url).get("Messages", [])))
    waiting.start()
    dewfall.client("sqs").send_message(QueueUrl=url, MessageBody="now")
    waiting.join(10)
    assert found == ["now"]


def test_the_address_of_a_queue_names_it(dewfall: Server, old: Any) -> None:
    import urllib.request

    url = old.create_queue(QueueName="q")["QueueUrl"]
    body = b"Action=GetQueueAttributes&AttributeName.1=QueueArn&Version=2012-11-05"
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/x-www-form-urlencoded"}, method="POST")
    with urllib.request.urlopen(request) as answer:
        assert "<Name>QueueArn</Name><Value>arn:aws:sqs:us-east-1:000000000000:q</Value>" in answer.read().decode()
