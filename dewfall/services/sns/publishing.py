"""SNS publishing: filter, wrap and deliver to each subscription, after the commit, at least once."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import secrets
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Message, Record, Tx
from dewfall.errors import AwsError, not_implemented
from dewfall.services.common import settle
from dewfall.services.registry import operation
from dewfall.services.sns.filters import invalid, passes
from dewfall.services.sns.signatures import sign
from dewfall.services.sns.subscriptions import subscription_key
from dewfall.services.sns.topics import topic_key, topic_of

LIMIT = 262144
SUBJECT_LIMIT = 100
HTTP_SECONDS = 15
TRIES = 3
DEDUP_SECONDS = 300

log = logging.getLogger(__name__)


def _publish(tx: Tx, ctx: Ctx, topic_arn: str, entry: dict[str, Any], queued: list[int]) -> dict[str, Any]:
    """Put a message on its way to every subscription; `queued` gets the numbers of those to queues."""
    topic = topic_of(tx, topic_arn, ctx.region)
    texts, attributes = _texts(entry), entry.get("MessageAttributes") or {}
    fifo = topic.key.name.endswith(".fifo")
    answer, dedup = {"MessageId": new_uuid()}, entry.get("MessageDeduplicationId")
    if fifo:
        dedup = _dedup_id(topic, entry)
        now = ctx.now().timestamp()
        earlier = tx.run("dedup_find", queue=topic_arn, dedup=dedup, since=now - DEDUP_SECONDS)
        if earlier:
            return {"MessageId": earlier[0][0], "SequenceNumber": earlier[0][1]}
        answer["SequenceNumber"] = str(10**19 + int(now * 1e6) * 1000 + secrets.randbelow(1000))
        tx.run("dedup_put", queue=topic_arn, dedup=dedup, message_id=answer["MessageId"], sequence=answer["SequenceNumber"], at=now)
    plain = {n: {"Type": a["DataType"], "Value": _plain(a)} for n, a in attributes.items()}
    for subscription in tx.records.list(topic.key.account, topic.key.region, "sns", "subscription", parent=topic_arn):
        kept = subscription.document
        text = texts.get(kept["Protocol"], texts["default"])
        if kept["Pending"] or not passes(kept["Attributes"], plain, text):
            continue
        body = {
            "SubscriptionArn": kept["SubscriptionArn"],
            "MessageId": answer["MessageId"],
            "SequenceNumber": answer.get("SequenceNumber"),
            "Message": text,
            "Subject": entry.get("Subject"),
            "Timestamp": _stamp(ctx.now()),
            "MessageAttributes": plain,
            "MessageGroupId": entry.get("MessageGroupId"),
            "MessageDeduplicationId": dedup,
        }
        message = tx.outbox.put("sns.deliver", topic.key.account, topic.key.region, body)
        if kept["Protocol"] == "sqs":
            queued.append(message)
    return answer


def _dedup_id(topic: Record, entry: dict[str, Any]) -> str:
    if not entry.get("MessageGroupId"):
        raise invalid("The MessageGroupId parameter is required for FIFO topics")
    if entry.get("MessageDeduplicationId"):
        return str(entry["MessageDeduplicationId"])
    if topic.document["Attributes"].get("ContentBasedDeduplication", "").lower() != "true":
        raise invalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
    return hashlib.sha256(entry["Message"].encode()).hexdigest()


def _check(topic_arn: str, entry: dict[str, Any]) -> None:
    message, subject = entry["Message"], entry.get("Subject")
    if not message:
        raise invalid("Empty message")
    if _size(entry) > LIMIT:
        raise invalid("Message too long")
    if subject is not None and (not subject or len(subject) > SUBJECT_LIMIT or "\n" in subject):
        raise invalid("Subject")
    if entry.get("MessageDeduplicationId") and not topic_arn.endswith(".fifo"):
        reason = "The request includes MessageDeduplicationId parameter that is not valid for this topic type"
        raise invalid(f"MessageDeduplicationId Reason: {reason}")
    for name, attribute in (entry.get("MessageAttributes") or {}).items():
        _check_attribute(name, attribute)


def _check_attribute(name: str, attribute: dict[str, Any]) -> None:
    base = attribute.get("DataType", "").partition(".")[0]
    if base not in ("String", "Number", "Binary"):
        kinds = "the set of supported type prefixes is Binary, Number, and String."
        raise _bad_attribute(f"The message attribute '{name}' has an invalid message attribute type, {kinds}")
    member, other = ("BinaryValue", "StringValue") if base == "Binary" else ("StringValue", "BinaryValue")
    if other in attribute and member not in attribute:
        raise _bad_attribute(f"The message attribute '{name}' with type '{base}' must use field '{member.removesuffix('Value')}'.")
    if not attribute.get(member):
        what = f"must contain non-empty message attribute value for message attribute type '{base}'."
        raise _bad_attribute(f"The message attribute '{name}' {what}")
    if base == "Number":
        try:
            float(attribute["StringValue"])
        except ValueError:
            raise _bad_attribute(f"Could not cast message attribute '{name}' value to number.") from None


def _bad_attribute(message: str) -> AwsError:
    return AwsError("ParameterValueInvalid", message, status=400)


def _size(entry: dict[str, Any]) -> int:
    size = len(entry["Message"].encode())
    for name, attribute in (entry.get("MessageAttributes") or {}).items():
        size += len(name.encode()) + len(attribute["DataType"].encode())
        size += len(attribute.get("StringValue", "").encode()) + len(attribute.get("BinaryValue", b""))
    return size


def _texts(entry: dict[str, Any]) -> dict[str, str]:
    """What each protocol gets: the message, or with MessageStructure json a text per protocol."""
    if entry.get("MessageStructure") != "json":
        return {"default": entry["Message"]}
    try:
        texts = json.loads(entry["Message"])
    except ValueError:
        raise AwsError("InvalidParameter", "Invalid parameter: Message Structure - JSON message body failed to parse", status=400) from None
    if not isinstance(texts, dict) or not isinstance(texts.get("default"), str):
        raise AwsError("InvalidParameter", "Invalid parameter: Message Structure - No default entry in JSON message body", status=400)
    return texts


def _plain(attribute: dict[str, Any]) -> str:
    if attribute["DataType"].startswith("Binary"):
        return base64.b64encode(attribute.get("BinaryValue", b"")).decode()
    return str(attribute.get("StringValue", ""))


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@operation("sns", "Publish")
def publish(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if req.get("PhoneNumber"):
        raise not_implemented("sns", "Publish (to a phone number)")
    arn = req["TopicArn"] if "TopicArn" in req else req.get("TargetArn")
    if arn is None:
        raise invalid("TopicArn or TargetArn Reason: no value for required parameter")
    if ":endpoint/" in arn:
        raise invalid("TargetArn Reason: No endpoint found for the target arn specified")
    _check(arn, req)
    queued: list[int] = []
    with ctx.ports.store.transaction() as tx:
        answer = _publish(tx, ctx, arn, req, queued)
    settle(ctx, queued)
    return answer


@operation("sns", "PublishBatch")
def publish_batch(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    entries = req["PublishBatchRequestEntries"]
    if len(entries) > 10:
        raise AwsError("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.", status=400)
    if len({entry["Id"] for entry in entries}) != len(entries):
        raise AwsError("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.", status=400)
    if not entries:
        raise AwsError("EmptyBatchRequest", "The batch request doesn't contain any entries.", status=400)
    if sum(map(_size, entries)) > LIMIT:
        raise AwsError("BatchRequestTooLong", "The length of all the messages put together is more than the limit.", status=400)
    answer: dict[str, Any] = {"Successful": [], "Failed": []}
    queued: list[int] = []
    with ctx.ports.store.transaction() as tx:
        topic = topic_of(tx, req["TopicArn"], ctx.region)
        for entry in entries:
            _texts(entry)
            if topic.key.name.endswith(".fifo"):
                _dedup_id(topic, entry)
        for entry in entries:
            try:
                _check(req["TopicArn"], entry)
                answer["Successful"].append({"Id": entry["Id"]} | _publish(tx, ctx, req["TopicArn"], entry, queued))
            except AwsError as error:
                answer["Failed"].append({"Id": entry["Id"], "Code": error.code, "Message": error.message, "SenderFault": True})
    settle(ctx, queued)
    return answer


# ---------------------------------------------------------------- delivery


def deliver(ctx: Ctx, message: Message) -> None:
    """Bring one message to one subscription; raising lets the outbox try again. What cannot be delivered goes to the dead-letter queue."""
    body = message.body
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(subscription_key(body["SubscriptionArn"]))
    if record is None:
        return
    kept = record.document
    raw = kept["Attributes"].get("RawMessageDelivery", "").lower() == "true"
    dead_letters = json.loads(kept["Attributes"].get("RedrivePolicy") or "{}").get("deadLetterTargetArn")
    text = body["Message"] if raw else json.dumps(_envelope(ctx, kept, body), indent=2)
    try:
        if kept["Protocol"] == "sqs":
            _to_queue(ctx, kept["Endpoint"], body, text, raw)
        else:
            _post(kept["Endpoint"], text, "Notification", kept, body["MessageId"], tries=TRIES if dead_letters else 1, raw=raw)
    except (AwsError, OSError) as problem:
        lasting = isinstance(problem, AwsError) or (isinstance(problem, urllib.error.HTTPError) and 400 <= problem.code < 500)
        if not dead_letters and not lasting:
            raise
        log.warning("notification not delivered subscription=%s problem=%s", kept["SubscriptionArn"], problem)
        if dead_letters:
            _to_queue(ctx, dead_letters, body, text, raw)


def _to_queue(ctx: Ctx, arn: str, body: dict[str, Any], text: str, raw: bool) -> None:
    request: dict[str, Any] = {"QueueUrl": arn, "MessageBody": text}
    if raw and body["MessageAttributes"]:
        request["MessageAttributes"] = {n: _queue_attribute(a) for n, a in body["MessageAttributes"].items()}
    if arn.endswith(".fifo"):
        request |= {"MessageGroupId": body["MessageGroupId"] or "sns", "MessageDeduplicationId": body["MessageDeduplicationId"] or body["MessageId"]}
    elif body["MessageGroupId"]:
        request["MessageGroupId"] = body["MessageGroupId"]
    ctx.call("sqs", "SendMessage", request)


def _queue_attribute(attribute: dict[str, str]) -> dict[str, Any]:
    if attribute["Type"].startswith("Binary"):
        return {"DataType": attribute["Type"], "BinaryValue": base64.b64decode(attribute["Value"])}
    return {"DataType": attribute["Type"], "StringValue": attribute["Value"]}


def _envelope(ctx: Ctx, kept: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """SNS's JSON, signed."""
    base = ctx.ports.settings.endpoint
    envelope = {"Type": "Notification", "MessageId": body["MessageId"]}
    envelope |= {"SequenceNumber": body["SequenceNumber"]} if body.get("SequenceNumber") else {}
    envelope["TopicArn"] = kept["TopicArn"]
    envelope |= {"Subject": body["Subject"]} if body.get("Subject") else {}
    envelope |= {
        "Message": body["Message"],
        "Timestamp": body["Timestamp"],
    }
    sign(ctx.ports.settings, envelope, _signature_version(ctx, kept["TopicArn"]))
    envelope["UnsubscribeURL"] = f"{base}/?Action=Unsubscribe&Version=2010-03-31&SubscriptionArn={kept['SubscriptionArn']}"
    return envelope | ({"MessageAttributes": body["MessageAttributes"]} if body["MessageAttributes"] else {})


def _signature_version(ctx: Ctx, topic: str) -> str:
    """The topic's attribute, where the topic is still there."""
    record = ctx.ports.store.peek(topic_key(topic))
    return str(record.document["Attributes"].get("SignatureVersion") or "1") if record else "1"


def confirm(ctx: Ctx, message: Message) -> None:
    """Ask an HTTP subscriber to confirm."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(subscription_key(message.body["SubscriptionArn"]))
    if record is None or not record.document["Pending"]:
        return
    kept, message_id = record.document, new_uuid()
    link = f"{ctx.ports.settings.endpoint}/?Action=ConfirmSubscription&Version=2010-03-31&TopicArn={kept['TopicArn']}&Token={kept['Token']}"
    text = f"You have chosen to subscribe to the topic {kept['TopicArn']}.\n"
    text += "To confirm the subscription, visit the SubscribeURL included in this message."
    body = {
        "Type": "SubscriptionConfirmation",
        "MessageId": message_id,
        "Token": kept["Token"],
        "TopicArn": kept["TopicArn"],
        "Message": text,
        "SubscribeURL": link,
        "Timestamp": _stamp(ctx.now()),
    }
    sign(ctx.ports.settings, body, _signature_version(ctx, kept["TopicArn"]))
    _post(kept["Endpoint"], json.dumps(body, indent=2), "SubscriptionConfirmation", kept, message_id)


def _post(url: str, text: str, kind: str, kept: dict[str, Any], message_id: str, *, tries: int = 1, raw: bool = False) -> None:
    headers = {
        "Content-Type": "text/plain; charset=UTF-8",
        "User-Agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-type": kind,
        "x-amz-sns-message-id": message_id,
        "x-amz-sns-topic-arn": kept["TopicArn"],
        "x-amz-sns-subscription-arn": kept["SubscriptionArn"],
    }
    headers |= {"x-amz-sns-rawdelivery": "true"} if raw else {}
    request = urllib.request.Request(url, data=text.encode(), headers=headers, method="POST")
    for attempt in range(1, tries + 1):
        try:
            urllib.request.urlopen(request, timeout=HTTP_SECONDS).close()
        except OSError:
            if attempt == tries:
                raise
        else:
            return
