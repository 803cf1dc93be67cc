"""SQS messages on their way out: receive, delete, change visibility; dead letters.

A receipt handle carries its message's id and the moment of receipt, so an earlier handle of the same message stays good, as on AWS.
A long poll waits in the asynchronous layer (server.py), never here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record, Tx
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.sqs.attributes import invalid
from dewfall.services.sqs.messages import DEDUP_SECONDS, check_batch, failed, md5_of_attributes
from dewfall.services.sqs.queues import is_fifo, queue_of, redrive_of

SCAN = 2000
HIDDEN_LIMIT = 43200
WAIT_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt handle says."""

    handle: str
    message_id: str
    received: float


def _new_handle(arn: str, message_id: str, now: float) -> str:
    return base64.b64encode(f"{secrets.token_hex(8)} {arn} {message_id} {now:.6f}".encode()).decode()


def _receipt(record: Record, handle: str) -> Receipt:
    try:
        _, arn, message_id, received = base64.b64decode(handle, validate=True).decode().split(" ")
        receipt = Receipt(handle, message_id, float(received))
    except (binascii.Error, ValueError):
        raise AwsError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.', status=400) from None
    if arn != record.document["Arn"]:
        raise AwsError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.", status=400)
    return receipt


# ---------------------------------------------------------------- receive


@operation("sqs", "ReceiveMessage")
def receive_message(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    wanted, wait, timeout = req.get("MaxNumberOfMessages", 1), req.get("WaitTimeSeconds"), req.get("VisibilityTimeout")
    if "/" not in req["QueueUrl"] and not req["QueueUrl"].startswith("arn:"):
        raise AwsError("InvalidAddress", f"The address {req['QueueUrl']} is not valid for this endpoint.", status=404)
    if not 1 <= wanted <= 10:
        raise invalid(f"Value {wanted} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.")
    if wait is not None and not 0 <= wait <= WAIT_LIMIT:
        raise invalid(f"Value {wait} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= {WAIT_LIMIT}, if provided.")
    if timeout is not None:
        _check_timeout(timeout)
    with ctx.ports.store.transaction() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        found = _again(tx, ctx, record, req) or _receive(tx, ctx, record, wanted, req)
        if found and is_fifo(record) and req.get("ReceiveRequestAttemptId"):
            ids = json.dumps([message["MessageId"] for message in found])
            attempt = {"queue": f"{record.document['Arn']}#attempt", "dedup": req["ReceiveRequestAttemptId"], "at": ctx.now().timestamp()}
            tx.run("dedup_put", message_id=ids, sequence="", **attempt)
    return {"Messages": found} if found else {}


def _check_timeout(timeout: int) -> None:
    if not 0 <= timeout <= HIDDEN_LIMIT:
        reason = f"VisibilityTimeout must be an integer between 0 and {HIDDEN_LIMIT}"
        raise invalid(f"Value {timeout} for parameter VisibilityTimeout is invalid. Reason: {reason}.")


def _again(tx: Tx, ctx: Ctx, record: Record, req: dict[str, Any]) -> list[dict[str, Any]]:
    """FIFO: the messages of an earlier receive with the same attempt id, while none of them was deleted or came up again."""
    attempt = req.get("ReceiveRequestAttemptId")
    if not attempt or not is_fifo(record):
        return []
    now, arn = ctx.now().timestamp(), record.document["Arn"]
    earlier = tx.run("dedup_find", queue=f"{arn}#attempt", dedup=attempt, since=now - DEDUP_SECONDS)
    ids = json.loads(earlier[0][0]) if earlier else []
    states = [tx.run("message_by_id", queue=arn, message_id=message_id) for message_id in ids]
    if not all(state and state[0][1] > now for state in states):
        return []
    return [_take(tx, ctx, record, tx.run("message_whole", queue=arn, message_id=message_id)[0], req) for message_id in ids]


def _receive(tx: Tx, ctx: Ctx, record: Record, wanted: int, req: dict[str, Any]) -> list[dict[str, Any]]:
    now, arn, settings = ctx.now().timestamp(), record.document["Arn"], record.document["Attributes"]
    target, most = redrive_of(record)
    busy = {row[0] for row in tx.run("message_groups_busy", queue=arn, now=now)} if is_fifo(record) else set()
    expired = now - int(settings["MessageRetentionPeriod"])
    found: list[dict[str, Any]] = []
    for row in tx.run("message_due", queue=arn, now=now, expired=expired, limit=SCAN if is_fifo(record) or target else wanted):
        if len(found) >= wanted:
            break
        number, document, received, group = row[0], row[3], row[5], row[7]
        if target and received >= most:
            kept = json.loads(document) | {"source": arn}
            tx.run("message_move", id=number, target=target, document=json.dumps(kept), now=now)
            _wake(tx, ctx, target)
        elif not group or group not in busy:
            found.append(_take(tx, ctx, record, row, req))
    return found


def _wake(tx: Tx, ctx: Ctx, arn: str) -> None:
    """Long polls of the dead-letter queue look again."""
    try:
        tx.records.save(queue_of(tx, ctx, arn))
    except AwsError:
        return


def _take(tx: Tx, ctx: Ctx, record: Record, row: tuple[Any, ...], req: dict[str, Any]) -> dict[str, Any]:
    """Hide a message from others and show it as received."""
    number, message_id, body, document, sent, _, _, group = row
    now, timeout = ctx.now().timestamp(), req.get("VisibilityTimeout")
    timeout = int(record.document["Attributes"]["VisibilityTimeout"]) if timeout is None else timeout
    handle = _new_handle(record.document["Arn"], message_id, now)
    received, first = tx.run("message_take", id=number, until=now + timeout, receipt=handle, now=now)[0]
    message = {"MessageId": message_id, "ReceiptHandle": handle, "MD5OfBody": _md5(body), "Body": body}
    kept = json.loads(document)
    counts = {"ApproximateReceiveCount": str(received), "ApproximateFirstReceiveTimestamp": str(int(first * 1000))}
    return _with_attributes(message, kept, counts | {"SentTimestamp": str(int(sent * 1000))}, group, req)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _with_attributes(message: dict[str, Any], kept: dict[str, Any], counts: dict[str, str], group: str, req: dict[str, Any]) -> dict[str, Any]:
    known = {"SenderId": kept["sender"], **counts, **kept["system"]}
    if group:
        known["MessageGroupId"] = group
    if kept["sequence"]:
        known |= {"SequenceNumber": kept["sequence"], "MessageDeduplicationId": kept["dedup"]}
    if kept.get("source"):
        known["DeadLetterQueueSourceArn"] = kept["source"]
    asked = [*(req.get("AttributeNames") or []), *(req.get("MessageSystemAttributeNames") or [])]
    system = {name: value for name, value in known.items() if "All" in asked or name in asked}
    if system:
        message["Attributes"] = system
    patterns = req.get("MessageAttributeNames") or []
    attributes = {name: _attribute(value) for name, value in kept["attributes"].items() if any(_names(p, name) for p in patterns)}
    if attributes:
        message |= {"MessageAttributes": attributes, "MD5OfMessageAttributes": md5_of_attributes(attributes)}
    return message


def _attribute(kept: dict[str, Any]) -> dict[str, Any]:
    if "BinaryHex" in kept:
        return {"DataType": kept["DataType"], "BinaryValue": bytes.fromhex(kept["BinaryHex"])}
    return kept


def _names(pattern: str, name: str) -> bool:
    if pattern in ("All", ".*"):
        return True
    return name.startswith(pattern[:-2]) if pattern.endswith(".*") else name == pattern


# ---------------------------------------------------------------- after receiving


def _delete(tx: Tx, ctx: Ctx, record: Record, handle: str) -> None:
    receipt = _receipt(record, handle)
    found = tx.run("message_by_id", queue=record.document["Arn"], message_id=receipt.message_id)
    if not found:
        return
    number, visible, current, _ = found[0]
    if is_fifo(record) and (current != handle or visible <= ctx.now().timestamp()):
        raise invalid(f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.")
    tx.run("message_remove", id=number)
    if is_fifo(record):
        tx.records.save(record)  # its group is free again


def _change(tx: Tx, ctx: Ctx, record: Record, handle: str, timeout: int) -> None:
    _check_timeout(timeout)
    receipt, now = _receipt(record, handle), ctx.now().timestamp()
    found = tx.run("message_by_id", queue=record.document["Arn"], message_id=receipt.message_id)
    if not found:
        reason = "Message does not exist or is not available for visibility timeout change."
        raise invalid(f"Value {handle} for parameter ReceiptHandle is invalid. Reason: {reason}")
    if now + timeout - receipt.received > HIDDEN_LIMIT + 1:
        reason = f"Total VisibilityTimeout for the message is beyond the limit [{HIDDEN_LIMIT} seconds]"
        raise invalid(f"Value {timeout} for parameter VisibilityTimeout is invalid. Reason: {reason}.")
    tx.run("message_hide", id=found[0][0], until=now + timeout)
    tx.records.save(record)


@operation("sqs", "DeleteMessage")
def delete_message(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        _delete(tx, ctx, queue_of(tx, ctx, req["QueueUrl"]), req["ReceiptHandle"])


@operation("sqs", "ChangeMessageVisibility")
def change_message_visibility(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        _change(tx, ctx, queue_of(tx, ctx, req["QueueUrl"]), req["ReceiptHandle"], req["VisibilityTimeout"])


@operation("sqs", "DeleteMessageBatch")
def delete_message_batch(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _each(ctx, req, "DeleteMessageBatchRequestEntry", lambda tx, record, entry: _delete(tx, ctx, record, entry["ReceiptHandle"]))


@operation("sqs", "ChangeMessageVisibilityBatch")
def change_message_visibility_batch(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    def change(tx: Tx, record: Record, entry: dict[str, Any]) -> None:
        _change(tx, ctx, record, entry["ReceiptHandle"], entry.get("VisibilityTimeout", 0))

    return _each(ctx, req, "ChangeMessageVisibilityBatchRequestEntry", change)


def _each(ctx: Ctx, req: dict[str, Any], word: str, act: Any) -> dict[str, Any]:
    """Act on each entry of a batch; refusals are told entry by entry."""
    answer: dict[str, Any] = {"Successful": [], "Failed": []}
    with ctx.ports.store.transaction() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        for entry in check_batch(req["Entries"], word):
            try:
                act(tx, record, entry)
                answer["Successful"].append({"Id": entry["Id"]})
            except AwsError as error:
                answer["Failed"].append(failed(entry, error))
    return {name: items for name, items in answer.items() if items}
