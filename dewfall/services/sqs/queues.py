"""SQS queues: create, find, set, tag, purge, delete."""

from __future__ import annotations

import json
import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.common import TAG_LIMIT, drop_tags, get_tags, page, put_tags, remove_tags, with_token
from dewfall.services.registry import operation
from dewfall.services.sqs.attributes import (
    DEFAULTS,
    FIFO_DEFAULTS,
    SETTABLE,
    check_attributes,
    invalid,
    is_true,
    settled_encryption,
)

NAME = re.compile(r"^[A-Za-z0-9_-]{1,80}$")
PURGE_SECONDS = 60
LIST_LIMIT = 1000


def queue_key(ctx: Ctx, name: str) -> Key:
    """A queue by name, in the caller's account and region."""
    return Key(ctx.account, ctx.region, "sqs", "queue", name)


def queue_url(ctx: Ctx, name: str, account: str = "") -> str:
    """The address that clients send to, on this server."""
    return f"{ctx.ports.settings.endpoint}/{account or ctx.account}/{name}"


def queue_of(tx: Tx, ctx: Ctx, url: str) -> Record:
    """The queue of a URL (or ARN); of a URL only its last two segments matter, because a proxy may have changed the host."""
    if url.startswith("arn:"):
        parts = url.split(":")
        key = Key(parts[4], parts[3], "sqs", "queue", parts[5]) if len(parts) == 6 else queue_key(ctx, url)
    else:
        segments = url.rstrip("/").split("/")
        account = segments[-2] if len(segments) > 1 and segments[-2].isdigit() else ctx.account
        key = Key(account, ctx.region, "sqs", "queue", segments[-1])
    record = tx.records.get(key)
    if record is None:
        raise no_queue()
    return record


def no_queue() -> AwsError:
    """QueueDoesNotExist in SQS's words."""
    return AwsError("QueueDoesNotExist", "The specified queue does not exist.", status=400)


def is_fifo(record: Record) -> bool:
    """Whether a queue keeps order."""
    return record.key.name.endswith(".fifo")


def _check_name(name: str, attributes: dict[str, str]) -> bool:
    fifo = is_true(attributes.get("FifoQueue"))
    if fifo and not name.endswith(".fifo"):
        rule = "can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length."
        raise invalid(f"The name of a FIFO queue {rule}")
    if not NAME.match(name.removesuffix(".fifo") if fifo else name) or len(name) > 80:
        raise invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
    return fifo


@operation("sqs", "CreateQueue")
def create_queue(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, given = req["QueueName"], dict(req.get("Attributes") or {})
    fifo = _check_name(name, given)
    with ctx.ports.store.transaction() as tx:
        attributes = check_attributes(tx, ctx, given, fifo=fifo)
        if not fifo:
            attributes.pop("FifoQueue", None)
        known = tx.records.get(queue_key(ctx, name))
        if known is not None:
            for member, value in attributes.items():
                if known.document["Attributes"].get(member, "") != value:
                    message = f"A queue already exists with the same name and a different value for attribute {member}"
                    raise AwsError("QueueNameExists", message, status=400)
            return {"QueueUrl": queue_url(ctx, name)}
        arn = ctx.arn("sqs", name)
        now = str(int(ctx.now().timestamp()))
        kept = settled_encryption(DEFAULTS | (FIFO_DEFAULTS if fifo else {}), attributes)
        times = {"CreatedTimestamp": now, "LastModifiedTimestamp": now}
        tx.records.create(Record(queue_key(ctx, name), {"Arn": arn, "Attributes": kept, "Times": times}))
        _put_tags(tx, ctx, name, arn, req.get("tags") or {})
    return {"QueueUrl": queue_url(ctx, name)}


@operation("sqs", "GetQueueUrl")
def get_queue_url(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    owner = req.get("QueueOwnerAWSAccountId") or ctx.account
    with ctx.ports.store.reading() as tx:
        if tx.records.get(Key(owner, ctx.region, "sqs", "queue", req["QueueName"])) is None:
            raise no_queue()
    return {"QueueUrl": queue_url(ctx, req["QueueName"], owner)}


@operation("sqs", "ListQueues")
def list_queues(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_page(req, LIST_LIMIT)
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sqs", "queue", prefix=req.get("QueueNamePrefix") or "")
    taken, token = page(records, req, key=lambda r: r.key.name, default=LIST_LIMIT)
    if not taken:
        return {}
    return with_token({"QueueUrls": [queue_url(ctx, r.key.name) for r in taken]}, token if req.get("MaxResults") else None)


def check_page(req: dict[str, Any], limit: int) -> None:
    """MaxResults out of bounds."""
    wanted = req.get("MaxResults")
    if wanted is not None and not 1 <= wanted <= limit:
        raise invalid(f"Value {wanted} for parameter MaxResults is invalid. Reason: Must be between 1 and {limit}.")


@operation("sqs", "GetQueueAttributes")
def get_queue_attributes(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    wanted = req.get("AttributeNames") or []
    with ctx.ports.store.reading() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        now = ctx.now().timestamp()
        expired = now - int(record.document["Attributes"]["MessageRetentionPeriod"])
        counts = tx.run("message_counts", queue=record.document["Arn"], now=now, expired=expired)[0]
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
    attributes = {"QueueArn": record.document["Arn"]} | dict(zip(names, map(str, counts), strict=True))
    attributes |= record.document["Attributes"] | record.document["Times"]
    if "All" not in wanted:
        for name in wanted:
            if name not in attributes and name not in SETTABLE:
                raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.", status=400)
        attributes = {name: value for name, value in attributes.items() if name in wanted}
    return {"Attributes": attributes} if attributes else {}


@operation("sqs", "SetQueueAttributes")
def set_queue_attributes(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        change, fifo = dict(req["Attributes"]), is_fifo(record)
        if "FifoQueue" in change:
            if not fifo:
                raise AwsError("InvalidAttributeName", "Unknown Attribute FifoQueue.", status=400)
            if not is_true(change["FifoQueue"]):
                message = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
                raise AwsError("InvalidAttributeValue", message, status=400)
        change = check_attributes(tx, ctx, change, fifo=fifo)
        record.document["Attributes"] = settled_encryption(record.document["Attributes"], change)
        record.document["Times"]["LastModifiedTimestamp"] = str(int(ctx.now().timestamp()))
        tx.records.save(record)


@operation("sqs", "DeleteQueue")
def delete_queue(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        arn = record.document["Arn"]
        tx.run("message_purge", queue=arn)
        tx.run("dedup_purge", queue=arn)
        for task in tx.records.list(record.key.account, record.key.region, "sqs", "move-task", parent=arn):
            tx.records.delete(task.key)
        drop_tags(tx, ctx, arn)
        tx.records.delete(record.key)


@operation("sqs", "PurgeQueue")
def purge_queue(ctx: Ctx, req: dict[str, Any]) -> None:
    now = ctx.now().timestamp()
    with ctx.ports.store.transaction() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        if now - record.document.get("_purged", 0.0) < PURGE_SECONDS:
            message = f"Only one PurgeQueue operation on {record.key.name} is allowed every {PURGE_SECONDS} seconds."
            raise AwsError("PurgeQueueInProgress", message, status=403)
        tx.run("message_purge", queue=record.document["Arn"])
        record.document["_purged"] = now
        tx.records.save(record)


@operation("sqs", "ListDeadLetterSourceQueues")
def list_dead_letter_source_queues(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_page(req, LIST_LIMIT)
    with ctx.ports.store.reading() as tx:
        sources = sources_of(tx, queue_of(tx, ctx, req["QueueUrl"]))
    taken, token = page(sources, req, key=lambda r: r.key.name, default=LIST_LIMIT)
    return with_token({"queueUrls": [queue_url(ctx, r.key.name, r.key.account) for r in taken]}, token if req.get("MaxResults") else None)


def sources_of(tx: Tx, target: Record) -> list[Record]:
    """The queues whose dead letters go to this one."""
    records = tx.records.list(target.key.account, target.key.region, "sqs", "queue")
    return [r for r in records if redrive_of(r)[0] == target.document["Arn"]]


def redrive_of(record: Record) -> tuple[str, int]:
    """(ARN of the dead-letter queue, receives before a message goes there); ("", 0) without one."""
    text = record.document["Attributes"].get("RedrivePolicy")
    if not text:
        return "", 0
    policy = json.loads(text)
    return policy.get("deadLetterTargetArn", ""), int(policy.get("maxReceiveCount", 0))


# ---------------------------------------------------------------- tags


def _put_tags(tx: Tx, ctx: Ctx, name: str, arn: str, tags: dict[str, str]) -> None:
    known = {tag["Key"] for tag in get_tags(tx, ctx, arn)}
    if len(known | set(tags)) > TAG_LIMIT:
        raise invalid(f"Too many tags added for queue {name}.")
    put_tags(tx, ctx, arn, [{"Key": k, "Value": v} for k, v in tags.items()])


@operation("sqs", "TagQueue")
def tag_queue(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        if not req["Tags"]:
            raise AwsError("MissingParameter", "The request must contain the parameter Tags.", status=400)
        _put_tags(tx, ctx, record.key.name, record.document["Arn"], req["Tags"])


@operation("sqs", "UntagQueue")
def untag_queue(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        arn = queue_of(tx, ctx, req["QueueUrl"]).document["Arn"]
        if not req["TagKeys"]:
            raise invalid("Tag keys must be between 1 and 128 characters in length.")
        remove_tags(tx, ctx, arn, req["TagKeys"])


@operation("sqs", "ListQueueTags")
def list_queue_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        tags = {t["Key"]: t["Value"] for t in get_tags(tx, ctx, queue_of(tx, ctx, req["QueueUrl"]).document["Arn"])}
    return {"Tags": tags} if tags else {}
