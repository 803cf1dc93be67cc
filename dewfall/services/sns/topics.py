"""SNS topics: create, attributes, list, tags, delete."""

from __future__ import annotations

import json
import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.common import TAG_LIMIT, drop_tags, get_tags, page, put_tags, remove_tags, with_token
from dewfall.services.registry import operation
from dewfall.services.sns.filters import invalid

NAME = re.compile(r"^[A-Za-z0-9_-]{1,256}$")
ACTIONS = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
)
RETRIES = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
DELIVERY = {
    "defaultHealthyRetryPolicy": RETRIES,
    "disableSubscriptionOverrides": False,
    "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8"},
}
FEEDBACK = ("SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate", "FailureFeedbackRoleArn")
SETTABLE = {
    "ArchivePolicy",
    "ContentBasedDeduplication",
    "DeliveryPolicy",
    "DisplayName",
    "FifoThroughputScope",
    "FifoTopic",
    "KmsMasterKeyId",
    "Policy",
    "SignatureVersion",
    "TracingConfig",
    *(f"{endpoint}{name}" for endpoint in ("Application", "Firehose", "HTTP", "Lambda", "SQS") for name in FEEDBACK),
}


def topic_key(arn: str) -> Key:
    """A topic's record, by its ARN."""
    parts = arn.split(":")
    if len(parts) < 6:
        raise invalid(f"TopicArn Reason: An ARN must have at least 6 elements, not {len(parts)}")
    if len(parts) != 6 or parts[2] != "sns":
        raise invalid("TopicArn")
    return Key(parts[4], parts[3], "sns", "topic", parts[5])


def topic_of(tx: Tx, arn: str, region: str = "") -> Record:
    """The topic, or NotFound; SNS knows the topics of the request's region only."""
    key = topic_key(arn)
    if region and key.region != region:
        raise invalid("TopicArn")
    record = tx.records.get(key)
    if record is None:
        raise AwsError("NotFound", "Topic does not exist", status=404)
    return record


def default_policy(account: str, arn: str) -> str:
    """The policy that SNS gives a new topic."""
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{action}" for action in ACTIONS],
        "Resource": arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": account}},
    }
    return json.dumps({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})


@operation("sns", "CreateTopic")
def create_topic(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, attributes = req["Name"], dict(req.get("Attributes") or {})
    fifo = attributes.get("FifoTopic", "false").lower() == "true"
    if not NAME.match(name.removesuffix(".fifo")) or fifo != name.endswith(".fifo"):
        rule = "must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256"
        raise invalid(f"Fifo Topic names must end with .fifo and {rule} characters long." if fifo else "Topic Name")
    _check(attributes, "Attributes Reason: ")
    tags = req.get("Tags") or []
    if len({tag["Key"] for tag in tags}) < len(tags):
        raise invalid("Duplicated keys are not allowed.")
    if fifo:
        attributes = {"ContentBasedDeduplication": "false"} | attributes | {"FifoTopic": "true"}
    else:
        attributes.pop("FifoTopic", None)  # a standard topic has none
    arn = ctx.arn("sns", name)
    with ctx.ports.store.transaction() as tx:
        known = tx.records.get(topic_key(arn))
        if known is None:
            tx.records.create(Record(topic_key(arn), {"TopicArn": arn, "Attributes": attributes}))
        elif any(known.document["Attributes"].get(k) != v for k, v in attributes.items()):
            raise invalid("Attributes Reason: Topic already exists with different attributes")
        elif tags and sorted(map(_pair, tags)) != sorted(map(_pair, get_tags(tx, ctx, arn))):
            raise invalid("Tags Reason: Topic already exists with different tags")
        put_tags(tx, ctx, arn, tags)
    return {"TopicArn": arn}


def _pair(tag: dict[str, str]) -> tuple[str, str]:
    return tag["Key"], tag["Value"]


def _check(attributes: dict[str, str], prefix: str = "") -> None:
    for name, value in attributes.items():
        if name not in SETTABLE:
            raise invalid(f"{prefix}{name}" if prefix else "AttributeName")
        if name in ("FifoTopic", "ContentBasedDeduplication") and value.lower() not in ("true", "false"):
            raise invalid(f"{prefix}{name}: Invalid value [{value}]. Must be true or false.")
        if name == "SignatureVersion" and value not in ("1", "2"):
            raise invalid(f"{prefix}{name}")
        if name in ("Policy", "DeliveryPolicy") and value:
            try:
                json.loads(value)
            except ValueError:
                raise invalid(f"{prefix}{name}: failed to parse JSON.") from None


@operation("sns", "DeleteTopic")
def delete_topic(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        key = topic_key(req["TopicArn"])
        for subscription in tx.records.list(key.account, key.region, "sns", "subscription", parent=req["TopicArn"]):
            tx.records.delete(subscription.key)
        drop_tags(tx, ctx, req["TopicArn"])
        tx.records.delete(key)


@operation("sns", "ListTopics")
def list_topics(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        arns = [r.document["TopicArn"] for r in tx.records.list(ctx.account, ctx.region, "sns", "topic")]
    taken, token = page(arns, req, key=str)
    return with_token({"Topics": [{"TopicArn": arn} for arn in taken]}, token)


@operation("sns", "GetTopicAttributes")
def get_topic_attributes(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    arn = req["TopicArn"]
    with ctx.ports.store.reading() as tx:
        record = topic_of(tx, arn, ctx.region)
        subscriptions = tx.records.list(record.key.account, record.key.region, "sns", "subscription", parent=arn)
    pending = sum(s.document.get("Pending", False) for s in subscriptions)
    attributes = {
        "TopicArn": arn,
        "Owner": record.key.account,
        "DisplayName": "",
        "Policy": default_policy(record.key.account, arn),
        "SubscriptionsConfirmed": str(len(subscriptions) - pending),
        "SubscriptionsPending": str(pending),
        "SubscriptionsDeleted": "0",
        "EffectiveDeliveryPolicy": json.dumps({"http": DELIVERY}),
    }
    return {"Attributes": attributes | record.document["Attributes"]}


@operation("sns", "SetTopicAttributes")
def set_topic_attributes(ctx: Ctx, req: dict[str, Any]) -> None:
    change = {req["AttributeName"]: req.get("AttributeValue", "")}
    _check(change)
    if "FifoTopic" in change:
        raise invalid("AttributeName")
    with ctx.ports.store.transaction() as tx:
        record = topic_of(tx, req["TopicArn"], ctx.region)
        record.document["Attributes"] |= change
        tx.records.save(record)


def _resource(tx: Tx, arn: str) -> None:
    if tx.records.get(topic_key(arn)) is None:
        raise AwsError("ResourceNotFound", "Resource does not exist", status=404)


@operation("sns", "TagResource")
def tag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _resource(tx, req["ResourceArn"])
        if len({tag["Key"] for tag in req["Tags"]}) < len(req["Tags"]):
            raise invalid("Duplicated keys are not allowed.")
        if len({tag["Key"] for tag in [*get_tags(tx, ctx, req["ResourceArn"]), *req["Tags"]]}) > TAG_LIMIT:
            raise AwsError("TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded", status=400)
        put_tags(tx, ctx, req["ResourceArn"], req["Tags"])
    return {}


@operation("sns", "UntagResource")
def untag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _resource(tx, req["ResourceArn"])
        remove_tags(tx, ctx, req["ResourceArn"], req["TagKeys"])
    return {}


@operation("sns", "ListTagsForResource")
def list_tags_for_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        _resource(tx, req["ResourceArn"])
        return {"Tags": get_tags(tx, ctx, req["ResourceArn"])}
