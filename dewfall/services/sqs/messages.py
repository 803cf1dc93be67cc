"""SQS messages on their way in: what may be sent, FIFO order and deduplication, digests."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import struct
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Record, Tx
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.sqs.attributes import invalid, is_true
from dewfall.services.sqs.queues import is_fifo, queue_of

DEDUP_SECONDS = 300
BATCH_BYTES = 1048576
DELAY_LIMIT = 900
ATTRIBUTES_LIMIT = 10
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TOKEN = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_BATCH_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")


def md5_of_attributes(attributes: dict[str, Any]) -> str:
    """The digest that SDKs verify: names in order, each with type and value, lengths as 4 bytes big-endian.

    Source: SQS Developer Guide, "Calculating the MD5 message digest for message attributes".
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        kind = attribute["DataType"]
        for text in (name, kind):
            digest.update(struct.pack("!I", len(text.encode())) + text.encode())
        binary = kind.startswith("Binary")
        value = attribute.get("BinaryValue", b"") if binary else attribute.get("StringValue", "").encode()
        digest.update((b"\x02" if binary else b"\x01") + struct.pack("!I", len(value)) + value)
    return digest.hexdigest()


def size_of(entry: dict[str, Any]) -> int:
    """What counts towards a message's size: the body, and each attribute's name, type and value."""
    size = len(entry.get("MessageBody", "").encode())
    for name, attribute in (entry.get("MessageAttributes") or {}).items():
        size += len(name.encode()) + len(attribute.get("DataType", "").encode())
        size += len(attribute.get("StringValue", "").encode()) + len(attribute.get("BinaryValue", b""))
    return size


# ---------------------------------------------------------------- checks


def _check(record: Record, entry: dict[str, Any], limit: int) -> None:
    body, delay = entry.get("MessageBody", ""), entry.get("DelaySeconds")
    if not body:
        raise AwsError("MissingParameter", "The request must contain the parameter MessageBody.", status=400)
    if _FORBIDDEN.search(body):
        allowed = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
        message = f"Invalid characters found. Valid unicode characters are {allowed}"
        raise AwsError("InvalidMessageContents", message, status=400)
    _check_attributes(entry.get("MessageAttributes") or {})
    if size_of(entry) > limit:
        raise invalid(f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.")
    if delay is not None and not 0 <= delay <= DELAY_LIMIT:
        raise invalid(f"Value {delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= {DELAY_LIMIT}.")
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        if entry.get(name) is not None and not _TOKEN.fullmatch(entry[name]):
            reason = f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
            raise invalid(f"Value {entry[name]} for parameter {name} is invalid. Reason: {reason}")
    _check_kind(record, entry)


def _check_kind(record: Record, entry: dict[str, Any]) -> None:
    """What only one of the two kinds of queue takes."""
    foreign = "DelaySeconds" if is_fifo(record) else "MessageDeduplicationId"
    if is_fifo(record) and not entry.get("MessageGroupId"):
        raise AwsError("MissingParameter", "The request must contain the parameter MessageGroupId.", status=400)
    if entry.get(foreign):
        reason = "The request include parameter that is not valid for this queue type."
        raise invalid(f"Value {entry[foreign]} for parameter {foreign} is invalid. Reason: {reason}")


def _check_attributes(attributes: dict[str, dict[str, Any]]) -> None:
    if len(attributes) > ATTRIBUTES_LIMIT:
        raise invalid(f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{ATTRIBUTES_LIMIT}].")
    for name, attribute in attributes.items():
        if not _NAME.fullmatch(name):
            allowed = "Attribute name can contain A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.) characters."
            raise invalid(f"The message attribute name '{name}' is invalid. {allowed}")
        kind = attribute.get("DataType", "")
        base = kind.partition(".")[0]
        if not kind:
            raise invalid(f"The message attribute '{name}' must contain non-empty message attribute type.")
        if base not in ("String", "Number", "Binary"):
            prefixes = "You must use only the following supported type prefixes: Binary, Number, String."
            raise invalid(f"The type of message (user) attribute '{name}' is invalid. {prefixes}")
        value = attribute.get("BinaryValue" if base == "Binary" else "StringValue")
        if not value:
            raise invalid(f"Message (user) attribute '{name}' must contain a non-empty value of type '{base}'.")
        if base == "Number" and not _is_number(value):
            raise invalid(f"Can't cast the value of message (user) attribute '{name}' to a number.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- sending


def send(tx: Tx, ctx: Ctx, record: Record, entry: dict[str, Any], limit: int = 0) -> dict[str, Any]:
    """Put one message into a queue; SendMessage's answer. `limit`: bytes, where it is not the queue's."""
    _check(record, entry, limit or int(record.document["Attributes"]["MaximumMessageSize"]))
    now, arn = ctx.now().timestamp(), record.document["Arn"]
    attributes, body = entry.get("MessageAttributes") or {}, entry["MessageBody"]
    system = entry.get("MessageSystemAttributes") or {}
    answer = {"MD5OfMessageBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(), "MessageId": new_uuid()}
    if attributes:
        answer["MD5OfMessageAttributes"] = md5_of_attributes(attributes)
    if system:
        answer["MD5OfMessageSystemAttributes"] = md5_of_attributes(system)
    group, dedup = entry.get("MessageGroupId") or "", ""
    if is_fifo(record):
        dedup = _dedup_id(record, entry)
        scope = f"{group}\n{dedup}" if record.document["Attributes"].get("DeduplicationScope") == "messageGroup" else dedup
        earlier = tx.run("dedup_find", queue=arn, dedup=scope, since=now - DEDUP_SECONDS)
        if earlier:
            return answer | {"MessageId": earlier[0][0], "SequenceNumber": earlier[0][1]}
        answer["SequenceNumber"] = str(10**19 + int(now * 1e6) * 1000 + secrets.randbelow(1000))
        tx.run("dedup_put", queue=arn, dedup=scope, message_id=answer["MessageId"], sequence=answer["SequenceNumber"], at=now)
    delay = entry.get("DelaySeconds")
    delay = int(record.document["Attributes"]["DelaySeconds"]) if delay is None or is_fifo(record) else delay
    kept = {
        "attributes": {n: _kept(a) for n, a in attributes.items()},
        "system": {n: a.get("StringValue", "") for n, a in system.items()},
        "sender": ctx.caller.user_id,
        "sequence": answer.get("SequenceNumber", ""),
        "dedup": dedup,
    }
    message = {"message_id": answer["MessageId"], "body": body, "document": json.dumps(kept), "sent": now}
    tx.run("message_put", queue=arn, visible=now + delay, grp=group, dedup=dedup, **message)
    record.document["_sent"] = _counted(record.document.get("_sent"), size_of(entry))
    tx.records.save(record)  # wakes long polls of this queue
    return answer


def _counted(sent: list[int] | None, size: int) -> list[int]:
    """What was sent since it was last told to CloudWatch, with one message more: how many, their bytes, the least, the most."""
    if sent is None:
        return [1, size, size, size]
    return [sent[0] + 1, sent[1] + size, min(sent[2], size), max(sent[3], size)]


def _kept(attribute: dict[str, Any]) -> dict[str, Any]:
    kept = {"DataType": attribute["DataType"]}
    if "BinaryValue" in attribute:
        return kept | {"BinaryHex": attribute["BinaryValue"].hex()}
    return kept | {"StringValue": attribute.get("StringValue", "")}


def _dedup_id(record: Record, entry: dict[str, Any]) -> str:
    if entry.get("MessageDeduplicationId"):
        return str(entry["MessageDeduplicationId"])
    if is_true(record.document["Attributes"].get("ContentBasedDeduplication")):
        return hashlib.sha256(entry["MessageBody"].encode()).hexdigest()
    raise invalid("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")


@operation("sqs", "SendMessage")
def send_message(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        return send(tx, ctx, queue_of(tx, ctx, req["QueueUrl"]), req)


# ---------------------------------------------------------------- batches


def check_batch(entries: list[dict[str, Any]], word: str) -> list[dict[str, Any]]:
    """The entries of a batch request, unless there are none, too many, or their ids are bad. `word` is AWS's name of an entry."""
    if not entries:
        raise AwsError("EmptyBatchRequest", f"There should be at least one {word} in the request.", status=400)
    if len(entries) > 10:
        raise AwsError("TooManyEntriesInBatchRequest", f"Maximum number of entries per request are 10. You have sent {len(entries)}.", status=400)
    ids = [entry["Id"] for entry in entries]
    if not all(_BATCH_ID.fullmatch(name) for name in ids):
        message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
        raise AwsError("InvalidBatchEntryId", message, status=400)
    twice = next((name for place, name in enumerate(ids) if name in ids[:place]), None)
    if twice is not None:
        raise AwsError("BatchEntryIdsNotDistinct", f"Id {twice} repeated.", status=400)
    return entries


def failed(entry: dict[str, Any], error: AwsError) -> dict[str, Any]:
    """A batch's entry that was refused."""
    return {"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message}


@operation("sqs", "SendMessageBatch")
def send_message_batch(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"Successful": [], "Failed": []}
    with ctx.ports.store.transaction() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        entries = check_batch(req["Entries"], "SendMessageBatchRequestEntry")
        size = sum(map(size_of, entries))
        if size > BATCH_BYTES:
            message = f"Batch requests cannot be longer than {BATCH_BYTES} bytes. You have sent {size} bytes."
            raise AwsError("BatchRequestTooLong", message, status=400)
        for entry in entries if is_fifo(record) else ():
            if not entry.get("MessageGroupId"):
                raise invalid("The request must contain the parameter MessageGroupId.")
            _dedup_id(record, entry)
        for entry in entries:
            try:
                answer["Successful"].append({"Id": entry["Id"]} | send(tx, ctx, record, entry, BATCH_BYTES))
            except AwsError as error:
                answer["Failed"].append(failed(entry, error))
    return {name: items for name, items in answer.items() if items}
