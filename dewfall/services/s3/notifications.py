"""Notifications: a bucket's configuration, the test message, and the delivery of what commits have announced.

The engine puts an `s3.event` message into the outbox with each change that a configuration wants; `deliver` sends it on.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

from dewfall.context import Ctx, new_id
from dewfall.engine.notices import KINDS
from dewfall.engine.ports import Message
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, canonical_id, invalid_argument, open_bucket

log = logging.getLogger(__name__)
EVENTS = frozenset(
    [
        "ReducedRedundancyLostObject",
        "ObjectCreated:*",
        "ObjectCreated:Put",
        "ObjectCreated:Post",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
        "ObjectRemoved:*",
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "ObjectRestore:*",
        "ObjectRestore:Post",
        "ObjectRestore:Completed",
        "ObjectRestore:Delete",
        "Replication:*",
        "Replication:OperationFailedReplication",
        "Replication:OperationNotTracked",
        "Replication:OperationMissedThreshold",
        "Replication:OperationReplicatedAfterThreshold",
        "LifecycleTransition",
        "IntelligentTiering",
        "ObjectAcl:Put",
        "LifecycleExpiration:*",
        "LifecycleExpiration:Delete",
        "LifecycleExpiration:DeleteMarkerCreated",
        "ObjectTagging:*",
        "ObjectTagging:Put",
        "ObjectTagging:Delete",
    ]
)
SERVICES = {"TopicConfigurations": "sns", "QueueConfigurations": "sqs", "LambdaFunctionConfigurations": "lambda"}
# event type → (detail-type, what else the EventBridge detail says)
BRIDGED: dict[str, tuple[str, dict[str, str]]] = {
    "ObjectCreated:Put": ("Object Created", {"reason": "PutObject"}),
    "ObjectCreated:Post": ("Object Created", {"reason": "POST Object"}),
    "ObjectCreated:Copy": ("Object Created", {"reason": "CopyObject"}),
    "ObjectCreated:CompleteMultipartUpload": ("Object Created", {"reason": "CompleteMultipartUpload"}),
    "ObjectRemoved:Delete": ("Object Deleted", {"reason": "DeleteObject", "deletion-type": "Permanently Deleted"}),
    "ObjectRemoved:DeleteMarkerCreated": ("Object Deleted", {"reason": "DeleteObject", "deletion-type": "Delete Marker Created"}),
    "LifecycleExpiration:Delete": ("Object Deleted", {"reason": "Lifecycle Expiration", "deletion-type": "Permanently Deleted"}),
    "LifecycleExpiration:DeleteMarkerCreated": ("Object Deleted", {"reason": "Lifecycle Expiration", "deletion-type": "Delete Marker Created"}),
    "ObjectTagging:Put": ("Object Tags Added", {}),
    "ObjectTagging:Delete": ("Object Tags Deleted", {}),
    "ObjectAcl:Put": ("Object ACL Updated", {}),
    "ObjectRestore:Post": ("Object Restore Initiated", {}),
    "ObjectRestore:Completed": ("Object Restore Completed", {}),
}


@operation("s3", "PutBucketNotificationConfiguration")
def put_bucket_notification_configuration(ctx: Ctx, req: dict[str, Any]) -> None:
    """Destinations are tried with an s3:TestEvent before the configuration is kept, as AWS tries them."""
    configuration = {name: value for name, value in (req.get("NotificationConfiguration") or {}).items() if value is not None and value != []}
    region = open_bucket(ctx, req)["Region"]
    for kind, member in KINDS.items():
        for entry in configuration.get(kind, ()):
            _check_entry(entry, member, SERVICES[kind], region)
    if not req.get("SkipDestinationValidation"):
        for kind, member in KINDS.items():
            for entry in configuration.get(kind, ()):
                _try(ctx, req["Bucket"], entry[member])
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        record.document["Settings"].pop("Notification", None)
        if configuration:
            record.document["Settings"]["Notification"] = configuration
        tx.records.save(record)


@operation("s3", "GetBucketNotificationConfiguration")
def get_bucket_notification_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        kept: dict[str, Any] = bucket_record(ctx, tx, req).document["Settings"].get("Notification", {})
    return kept


def deliver(ctx: Ctx, message: Message) -> None:
    """Send an announced change to the destinations that it matched; those of one message fail apart from each other."""
    body = message.body
    problem: Exception | None = None
    for target in body["Targets"]:
        try:
            send(ctx, target["Arn"], json.dumps({"Records": [record_of(message, target["Id"])]}, separators=(",", ":")))
        except AwsError as error:
            if error.code in ("NotImplemented", "QueueDoesNotExist", "NotFound", "NotFoundException", "ResourceNotFoundException"):
                log.warning("notification dropped bucket=%s target=%s problem=%s", body["Bucket"], target["Arn"], error)
            else:
                problem = error
    if body["EventBridge"] and body["Event"] in BRIDGED:
        with ctx.ports.store.transaction() as tx:
            tx.outbox.put("aws.events", message.account, message.region, bridge_event(message))
    if problem is not None:
        raise problem


def send(ctx: Ctx, arn: str, text: str) -> None:
    """Give a text to a queue, a topic or a function."""
    service, region, account, name = arn.split(":", 5)[2:6]
    there = replace(ctx, account=account, region=region)
    if service == "sqs":
        url = there.call("sqs", "GetQueueUrl", {"QueueName": name})["QueueUrl"]
        there.call("sqs", "SendMessage", {"QueueUrl": url, "MessageBody": text})
    elif service == "sns":
        there.call("sns", "Publish", {"TopicArn": arn, "Message": text, "Subject": "Amazon S3 Notification"})
    else:
        there.call("lambda", "Invoke", {"FunctionName": arn, "InvocationType": "Event", "Payload": text.encode()})


def record_of(message: Message, configuration: str) -> dict[str, Any]:
    """One entry of a notification's Records."""
    body = message.body
    thing: dict[str, Any] = {"key": quote_plus(body["Key"], safe="/")}
    if not body["Event"].endswith(":Delete"):
        thing |= {"size": body["Size"], "eTag": body["ETag"]} if "DeleteMarker" not in body["Event"] else {"eTag": "d41d8cd98f00b204e9800998ecf8427e"}
    if body["VersionId"]:
        thing["versionId"] = body["VersionId"]
    thing["sequencer"] = body["Sequencer"]
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": message.region,
        "eventTime": _milliseconds(body["Time"]),
        "eventName": body["Event"],
        "userIdentity": {"principalId": body["Principal"]},
        "requestParameters": {"sourceIPAddress": body["Ip"]},
        "responseElements": {"x-amz-request-id": body["RequestId"], "x-amz-id-2": body["RequestId"] * 4},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration,
            "bucket": {
                "name": body["Bucket"],
                "ownerIdentity": {"principalId": canonical_id(body["Owner"])[:14].upper()},
                "arn": f"arn:aws:s3:::{body['Bucket']}",
            },
            "object": thing,
        },
    }


def bridge_event(message: Message) -> dict[str, Any]:
    """The change as an EventBridge event."""
    body = message.body
    kind, more = BRIDGED[body["Event"]]
    thing = {"key": body["Key"], "size": body["Size"], "etag": body["ETag"], "version-id": body["VersionId"], "sequencer": body["Sequencer"]}
    if kind == "Object Deleted":
        thing = {name: thing[name] for name in ("key", "version-id", "sequencer")}
    return {
        "version": "0",
        "id": f"{message.id:08x}-0000-4000-8000-{body['Sequencer'][-12:].lower()}",
        "detail-type": kind,
        "source": "aws.s3",
        "account": message.account,
        "time": _milliseconds(body["Time"])[:19] + "Z",
        "region": message.region,
        "resources": [f"arn:aws:s3:::{body['Bucket']}"],
        "detail": {
            "version": "0",
            "bucket": {"name": body["Bucket"]},
            "object": {name: value for name, value in thing.items() if value != ""},
            "request-id": body["RequestId"],
            "requester": message.account,
            "source-ip-address": body["Ip"],
            **more,
        },
    }


def _milliseconds(text: str) -> str:
    """An ISO moment with three digits of seconds and a Z."""
    return f"{text[:19]}.{text[20:23] if text[19:20] == '.' else '000'}Z"


def _check_entry(entry: dict[str, Any], member: str, service: str, region: str) -> None:
    entry.setdefault("Id", new_id(48, "abcdefghijklmnopqrstuvwxyz0123456789"))
    arn = entry.get(member) or ""
    if not arn.startswith("arn:") or len(arn.split(":")) < 6:
        raise invalid_argument("The ARN could not be parsed", member.removesuffix("Arn").removesuffix("Function"), arn)
    if arn.split(":")[2] != service:
        raise invalid_argument("The ARN is not well formed", member.removesuffix("Arn").removesuffix("Function"), arn)
    if arn.split(":")[3] != region:
        message = "The notification destination service region is not valid for the bucket location constraint"
        raise invalid_argument(message, member.removesuffix("Arn").removesuffix("Function"), arn)
    events = entry.get("Events") or []
    if not events or any(event.removeprefix("s3:") not in EVENTS for event in events):
        unknown = next((event for event in events if event.removeprefix("s3:") not in EVENTS), "")
        raise invalid_argument("The event is not supported for notifications", "Event", unknown)
    for rule in ((entry.get("Filter") or {}).get("Key") or {}).get("FilterRules", ()):
        if rule.get("Name", "").lower() not in ("prefix", "suffix"):
            raise invalid_argument("filter rule name must be either prefix or suffix", "FilterRule.Name", rule.get("Name"))
        rule["Name"] = rule["Name"].capitalize()


def _try(ctx: Ctx, bucket: str, arn: str) -> None:
    """A destination gets S3's test message; one that does not take it is refused."""
    text = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": _milliseconds(ctx.now().isoformat()), "Bucket": bucket}
    text |= {"RequestId": ctx.request_id, "HostId": ctx.request_id * 4}
    try:
        if arn.split(":")[2] == "lambda":
            ctx.call("lambda", "GetFunction", {"FunctionName": arn})
        else:
            send(ctx, arn, json.dumps(text))
    except AwsError as error:
        if error.code == "NotImplemented":
            raise
        message = "Unable to validate the following destination configurations"
        raise invalid_argument(message, arn, "The destination queue does not exist" if ":sqs:" in arn else str(error.message)) from None
