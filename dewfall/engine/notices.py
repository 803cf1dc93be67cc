"""Which notification an object's change calls for, put into the outbox by the transaction that makes the change.

Why at commit: the configuration that counts is the one of that moment, and nothing is announced that did not happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dewfall.engine.ports import Record, Tx
from dewfall.engine.versions import Version

TOPIC = "s3.event"
# member of NotificationConfiguration → member with the destination's ARN
KINDS = {"TopicConfigurations": "TopicArn", "QueueConfigurations": "QueueArn", "LambdaFunctionConfigurations": "LambdaFunctionArn"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made a change, as a notification says it."""

    principal: str = "AWS:dewfall"
    ip: str = "127.0.0.1"
    request_id: str = ""


def announce(tx: Tx, bucket: Record, version: Version, event: str, origin: Origin) -> None:
    """Put the `s3.event` message of a change, e.g. "ObjectCreated:Put", if the bucket's configuration wants it."""
    configuration = bucket.document["Settings"].get("Notification")
    if not configuration:
        return
    targets = matches(configuration, event, version.key)
    bridge = "EventBridgeConfiguration" in configuration
    if not targets and not bridge:
        return
    document = bucket.document
    body = {
        "Event": event,
        "Bucket": document["Name"],
        "Owner": document["Account"],
        "Key": version.key,
        "Size": version.size,
        "ETag": version.etag,
        "VersionId": version.version_id if document["Versioning"] else "",
        "Sequencer": f"{version.generation:016X}",
        "Time": tx_time(tx) or version.modified.isoformat(),
        "Principal": origin.principal,
        "Ip": origin.ip,
        "RequestId": origin.request_id,
        "Targets": targets,
        "EventBridge": bridge,
    }
    tx.outbox.put(TOPIC, document["Account"], document["Region"], body)


def tx_time(tx: Tx) -> str:
    """The store's now, as text."""
    clock = getattr(tx, "clock", None)
    return clock.now().isoformat() if clock is not None else ""


def matches(configuration: dict[str, Any], event: str, key: str) -> list[dict[str, str]]:
    """Destinations whose event types and key filter fit: [{"Id", "Arn"}]."""
    return [
        {"Id": entry.get("Id", ""), "Arn": entry[member]}
        for kind, member in KINDS.items()
        for entry in configuration.get(kind, ())
        if any(fits_event(wanted, event) for wanted in entry["Events"]) and fits_filter(entry.get("Filter", {}), key)
    ]


def fits_event(wanted: str, event: str) -> bool:
    """`s3:ObjectCreated:*` fits ObjectCreated:Put."""
    kind = wanted.removeprefix("s3:")
    return kind == event or (kind.endswith(":*") and event.startswith(kind[:-1])) or (kind.endswith("*") and event.startswith(kind[:-1]))


def fits_filter(setting: dict[str, Any], key: str) -> bool:
    """Prefix and suffix rules, all of which must hold."""
    for rule in setting.get("Key", {}).get("FilterRules", ()):
        name, value = rule["Name"].lower(), rule.get("Value", "")
        if (name == "prefix" and not key.startswith(value)) or (name == "suffix" and not key.endswith(value)):
            return False
    return True
