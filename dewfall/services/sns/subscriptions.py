"""SNS subscriptions: to SQS queues at once, to HTTP addresses after they confirmed."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError, not_implemented
from dewfall.services.common import page, with_token
from dewfall.services.registry import operation
from dewfall.services.sns.filters import SCOPES, check_filter_policy, invalid, unparsed
from dewfall.services.sns.topics import topic_key, topic_of

DELIVERED = ("sqs", "http", "https")
PROTOCOLS = (*DELIVERED, "email", "email-json", "sms", "application", "lambda", "firehose")
SETTABLE = {"DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "SubscriptionRoleArn", "ReplayPolicy"}


def subscription_key(arn: str) -> Key:
    """A subscription's record, by its ARN (the topic's and an id)."""
    parts = arn.split(":")
    if len(parts) < 6:
        raise invalid(f"SubscriptionArn Reason: An ARN must have at least 6 elements, not {len(parts)}")
    return Key(parts[4], parts[3], "sns", "subscription", arn)


def _find(tx: Tx, arn: str) -> Record:
    record = tx.records.get(subscription_key(arn))
    if record is None:
        raise AwsError("NotFound", "Subscription does not exist", status=404)
    return record


def _check(attributes: dict[str, str], scope: str, prefix: str = "") -> None:
    """`scope`: what the subscription's filter looks at; `prefix`: how Subscribe's refusals begin."""
    for name, value in attributes.items():
        if name not in SETTABLE:
            raise invalid("AttributeName")
        if name == "RawMessageDelivery" and value.lower() not in ("true", "false"):
            raise invalid(f"{prefix}RawMessageDelivery: Invalid value [{value}]. Must be true or false.")
        if name == "FilterPolicyScope" and value not in SCOPES:
            raise invalid(f"{prefix}FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes")
        if name == "FilterPolicy" and value:
            check_filter_policy(value, scope, prefix)
        if name == "RedrivePolicy" and value:
            _check_redrive(value, prefix)


def _check_redrive(text: str, prefix: str) -> None:
    try:
        target = json.loads(text).get("deadLetterTargetArn", "")
    except json.JSONDecodeError as problem:
        raise invalid(f"{prefix}RedrivePolicy: {unparsed(problem)}") from None
    except AttributeError:
        raise invalid(f"{prefix}RedrivePolicy: failed to parse JSON.") from None
    if target.split(":")[:1] != ["arn"] or target.count(":") != 5:
        raise invalid(f"{prefix}RedrivePolicy: deadLetterTargetArn is an invalid arn")


@operation("sns", "Subscribe")
def subscribe(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    protocol, endpoint, attributes = req["Protocol"], req.get("Endpoint") or "", dict(req.get("Attributes") or {})
    if protocol not in PROTOCOLS:
        raise invalid(f"Amazon SNS does not support this protocol string: {protocol}")
    if protocol not in DELIVERED:
        raise not_implemented("sns", f"Subscribe (protocol {protocol})")
    if protocol == "sqs" and (not endpoint.startswith("arn:") or endpoint.count(":") != 5):
        raise invalid("SQS endpoint ARN")
    if protocol != "sqs" and not endpoint.startswith(f"{protocol}://"):
        raise invalid("Endpoint must match the specified protocol")
    if endpoint.endswith(".fifo") and not req["TopicArn"].endswith(".fifo"):
        raise invalid("Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
    _check(attributes, attributes.get("FilterPolicyScope", SCOPES[0]), "Attributes Reason: ")
    with ctx.ports.store.transaction() as tx:
        topic = topic_of(tx, req["TopicArn"], ctx.region)
        for known in tx.records.list(topic.key.account, topic.key.region, "sns", "subscription", parent=req["TopicArn"]):
            if (known.document["Protocol"], known.document["Endpoint"]) == (protocol, endpoint):
                if any(known.document["Attributes"].get(name) != value for name, value in attributes.items()):
                    raise invalid("Attributes Reason: Subscription already exists with different attributes")
                return {"SubscriptionArn": known.document["SubscriptionArn"]}
        arn = f"{req['TopicArn']}:{new_uuid()}"
        document = {
            "SubscriptionArn": arn,
            "Owner": ctx.account,
            "Protocol": protocol,
            "Endpoint": endpoint,
            "TopicArn": req["TopicArn"],
            "Attributes": attributes,
            "Pending": protocol != "sqs",
            "Token": secrets.token_hex(144),
            "Principal": ctx.caller.arn,
        }
        tx.records.create(Record(subscription_key(arn), document, parent=req["TopicArn"]))
        if document["Pending"]:
            tx.outbox.put("sns.confirm", topic.key.account, topic.key.region, {"SubscriptionArn": arn})
    return {"SubscriptionArn": "pending confirmation" if document["Pending"] and not req.get("ReturnSubscriptionArn") else arn}


@operation("sns", "ConfirmSubscription")
def confirm_subscription(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if not re.fullmatch(r"[0-9a-f]{288}", req["Token"]):
        raise AwsError("InvalidParameter", "Invalid token", status=400)
    with ctx.ports.store.transaction() as tx:
        topic = tx.records.get(topic_key(req["TopicArn"]))
        if topic is None:
            raise invalid("Token")
        for record in tx.records.list(topic.key.account, topic.key.region, "sns", "subscription", parent=req["TopicArn"]):
            if record.document["Token"] == req["Token"]:
                record.document["Pending"] = False
                tx.records.save(record)
                return {"SubscriptionArn": record.document["SubscriptionArn"]}
    raise invalid("Token")


@operation("sns", "Unsubscribe")
def unsubscribe(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(subscription_key(req["SubscriptionArn"]))


def _listed(records: list[Record], req: dict[str, Any]) -> dict[str, Any]:
    taken, token = page(records, req, key=lambda r: r.key.name)
    shown = []
    for record in taken:
        members = {name: record.document[name] for name in ("SubscriptionArn", "Owner", "Protocol", "Endpoint", "TopicArn")}
        shown.append(members | ({"SubscriptionArn": "PendingConfirmation"} if record.document["Pending"] else {}))
    return with_token({"Subscriptions": shown}, token)


@operation("sns", "ListSubscriptions")
def list_subscriptions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return _listed(tx.records.list(ctx.account, ctx.region, "sns", "subscription"), req)


@operation("sns", "ListSubscriptionsByTopic")
def list_subscriptions_by_topic(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        topic = topic_of(tx, req["TopicArn"], ctx.region)
        return _listed(tx.records.list(topic.key.account, topic.key.region, "sns", "subscription", parent=req["TopicArn"]), req)


@operation("sns", "GetSubscriptionAttributes")
def get_subscription_attributes(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = _find(tx, req["SubscriptionArn"]).document
    shown = {name: document[name] for name in ("SubscriptionArn", "Owner", "Protocol", "Endpoint", "TopicArn")}
    shown |= {
        "PendingConfirmation": str(document["Pending"]).lower(),
        "ConfirmationWasAuthenticated": "true",
        "RawMessageDelivery": "false",
        "SubscriptionPrincipal": document["Principal"],
    }
    attributes = dict(document["Attributes"])
    if attributes.get("FilterPolicy"):
        shown["FilterPolicyScope"] = SCOPES[0]
    else:
        attributes.pop("FilterPolicyScope", None)
    return {"Attributes": shown | attributes}


@operation("sns", "SetSubscriptionAttributes")
def set_subscription_attributes(ctx: Ctx, req: dict[str, Any]) -> None:
    change = {req["AttributeName"]: req.get("AttributeValue", "")}
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, req["SubscriptionArn"])
        _check(change, record.document["Attributes"].get("FilterPolicyScope", SCOPES[0]))
        merged = record.document["Attributes"] | change
        record.document["Attributes"] = {name: value for name, value in merged.items() if value not in ("", "{}")}
        tx.records.save(record)
