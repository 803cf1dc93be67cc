"""What a queue may be set to: names, ranges, the redrive policy, and the two kinds of encryption that exclude each other.

A queue's record holds its attributes as AWS keeps them, text by name.
"""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Tx
from dewfall.errors import AwsError

DEFAULTS = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}
FIFO_DEFAULTS = {
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
RANGES = {
    "VisibilityTimeout": (0, 43200),
    "MaximumMessageSize": (1024, 1048576),
    "MessageRetentionPeriod": (60, 1209600),
    "DelaySeconds": (0, 900),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "KmsDataKeyReusePeriodSeconds": (60, 86400),
}
CHOICES = {
    "FifoQueue": ("true", "false"),
    "ContentBasedDeduplication": ("true", "false"),
    "SqsManagedSseEnabled": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
JSON_ATTRIBUTES = ("Policy", "RedriveAllowPolicy")
SETTABLE = {*DEFAULTS, *FIFO_DEFAULTS, *JSON_ATTRIBUTES, "RedrivePolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"}
RECEIVES = (1, 1000)


def is_true(value: str | None) -> bool:
    """SQS takes True and true."""
    return (value or "").lower() == "true"


def invalid(message: str) -> AwsError:
    """InvalidParameterValue, SQS's commonest refusal."""
    return AwsError("InvalidParameterValue", message, status=400)


def check_attributes(tx: Tx, ctx: Ctx, attributes: dict[str, str], *, fifo: bool) -> dict[str, str]:
    """Attributes as they are kept; refused are unknown names, values out of range and policies that are none."""
    kept = {}
    for name, value in attributes.items():
        if name not in SETTABLE or (name in FIFO_DEFAULTS and not fifo and name != "FifoQueue"):
            raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.", status=400)
        if name == "RedrivePolicy" and value:
            value = _checked_redrive(tx, ctx, value, fifo)
        elif value and not _is_allowed(name, value):
            raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.", status=400)
        kept[name] = value.lower() if CHOICES.get(name) == ("true", "false") else value
    return kept


def _is_allowed(name: str, value: str) -> bool:
    if name in RANGES:
        low, high = RANGES[name]
        return value.isdigit() and low <= int(value) <= high
    if name in CHOICES:
        return value in CHOICES[name] or value.lower() in CHOICES[name]
    return name not in JSON_ATTRIBUTES or isinstance(_parsed(value), dict)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _checked_redrive(tx: Tx, ctx: Ctx, text: str, fifo: bool) -> str:
    policy = _parsed(text)
    start = f"Value {text} for parameter RedrivePolicy is invalid. Reason: "
    if policy == {}:
        return ""
    if not isinstance(policy, dict):
        raise invalid(start + "Redrive policy is not a valid JSON map.")
    for name in ("maxReceiveCount", "deadLetterTargetArn"):
        if name not in policy:
            raise invalid(f"{start}Redrive policy does not contain mandatory attribute: {name}.")
    count, arn = str(policy["maxReceiveCount"]), str(policy["deadLetterTargetArn"])
    if not count.isdigit() or not RECEIVES[0] <= int(count) <= RECEIVES[1]:
        raise invalid(f"{start}Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive.")
    parts = arn.split(":")
    if len(parts) != 6 or parts[:3] != ["arn", ctx.partition, "sqs"]:
        raise invalid(start + "Invalid value for deadLetterTargetArn.")
    if tx.records.get(Key(parts[4], parts[3], "sqs", "queue", parts[5])) is None:
        raise invalid(start + "Dead letter target does not exist.")
    if arn.endswith(".fifo") != fifo:
        raise invalid(start + "Dead-letter queue must be same type of queue as the source.")
    return text if isinstance(policy["maxReceiveCount"], int) else json.dumps(policy | {"maxReceiveCount": int(count)})


def settled_encryption(before: dict[str, str], change: dict[str, str]) -> dict[str, str]:
    """Attributes after a change: a KMS key takes SQS's own encryption away, both at once are refused."""
    after = {name: value for name, value in (before | change).items() if value != ""}
    if "KmsMasterKeyId" in after and is_true(change.get("SqsManagedSseEnabled")):
        message = "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
        raise AwsError("InvalidAttributeName", message, status=400)
    return after | ({"SqsManagedSseEnabled": "false"} if "KmsMasterKeyId" in after else {})
