"""What receivers of SNS messages check: the certificate at SigningCertURL, and the signature with its key."""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from dewfall.testing_server import Server
from tests.services.messaging.queues import receive

ORDER = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")


def published(dewfall: Server, attributes: dict[str, str], **message: str) -> dict[str, Any]:
    """The envelope in which a queue gets a published message."""
    sns, sqs = dewfall.client("sns"), dewfall.client("sqs")
    topic = sns.create_topic(Name="t", Attributes=attributes)["TopicArn"]
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:q")
    sns.publish(TopicArn=topic, **message)
    [found] = receive(sqs, url)
    envelope: dict[str, Any] = json.loads(found["Body"])
    return envelope


def verify(envelope: dict[str, Any]) -> None:
    """As the SDKs' validators do; InvalidSignature otherwise."""
    with urllib.request.urlopen(envelope["SigningCertURL"], timeout=90) as answer:
        key = x509.load_pem_x509_certificate(answer.read()).public_key()
    assert isinstance(key, RSAPublicKey)
    text = "".join(f"{name}\n{envelope[name]}\n" for name in ORDER if name in envelope)
    digest = hashes.SHA256() if envelope["SignatureVersion"] == "2" else hashes.SHA1()
    key.verify(base64.b64decode(envelope["Signature"]), text.encode(), padding.PKCS1v15(), digest)


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_message_is_signed_as_its_topic_says(dewfall: Server, version: str) -> None:
    envelope = published(dewfall, {"SignatureVersion": version}, Message="hé\nllo", Subject="s")
    assert envelope["SignatureVersion"] == version
    verify(envelope)


def test_without_a_subject_it_is_not_signed(dewfall: Server) -> None:
    envelope = published(dewfall, {}, Message="hello")
    assert "Subject" not in envelope
    verify(envelope)
    with pytest.raises(InvalidSignature):
        verify(envelope | {"Message": "changed"})
