"""Archives: the events of a bus that fit a pattern, kept for replays until their retention ends.

CreateArchive → a managed rule Events-Archive-NAME on the bus → delivery.py → keep() → one record per event
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.rules.patterns import InvalidPattern, check_pattern
from dewfall.services.common import page, with_token
from dewfall.services.events.buses import bus_name, check_bus
from dewfall.services.events.rules import rule_arn, rule_key
from dewfall.services.registry import operation

MANAGER = "prod.vhs.events.aws.internal"
LISTED = ("ArchiveName", "EventSourceArn", "State", "StateReason", "RetentionDays", "SizeBytes", "EventCount", "CreationTime")
TEMPLATE = '{"archive-arn": "%s", "event": <aws.events.event.json>, "ingestion-time": <aws.events.event.ingestion-time>}'  # what AWS's own rule says


def archive_key(ctx: Ctx, name: str) -> Key:
    """An archive's record."""
    return Key(ctx.account, ctx.region, "events", "archive", name)


def archive_of(tx: Tx, ctx: Ctx, name: str) -> Record:
    """The archive, or ResourceNotFoundException."""
    record = tx.records.get(archive_key(ctx, name))
    if record is None:
        raise AwsError("ResourceNotFoundException", f"Archive {name} does not exist.", status=400)
    return record


@operation("events", "CreateArchive")
def create_archive(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, bus, now = req["ArchiveName"], bus_name(req["EventSourceArn"]), ctx.now()
    pattern = _managed_pattern(req.get("EventPattern"))
    document = {
        "ArchiveName": name,
        "ArchiveArn": ctx.arn("events", f"archive/{name}"),
        "EventSourceArn": req["EventSourceArn"],
        "State": "ENABLED",
        "RetentionDays": req.get("RetentionDays") or 0,
        "SizeBytes": 0,
        "EventCount": 0,
        "CreationTime": now,
    }
    document |= {member: req[member] for member in ("Description", "EventPattern", "KmsKeyIdentifier") if req.get(member)}
    try:
        with ctx.ports.store.transaction() as tx:
            check_bus(tx, ctx, bus)
            tx.records.create(Record(archive_key(ctx, name), document, status="ENABLED"))
            tx.records.create(_managed_rule(ctx, document, bus, pattern))
    except AlreadyExists:
        raise AwsError("ResourceAlreadyExistsException", f"Archive {name} already exists.", status=400) from None
    return _answer(document)


def _managed_rule(ctx: Ctx, archive: dict[str, Any], bus: str, pattern: str) -> Record:
    """The rule by which EventBridge itself feeds an archive; ListRules shows it as AWS's."""
    name = _rule_name(archive["ArchiveName"])
    transformer = {"InputPathsMap": {}, "InputTemplate": TEMPLATE % archive["ArchiveArn"]}
    document = {
        "Name": name,
        "Arn": rule_arn(ctx, bus, name),
        "State": "ENABLED",
        "EventBusName": bus,
        "EventPattern": pattern,
        "ManagedBy": MANAGER,
        "Targets": [{"Id": name, "Arn": f"arn:{ctx.partition}:events:{ctx.region}:::", "InputTransformer": transformer}],
        "_archive": archive["ArchiveName"],
    }
    return Record(rule_key(ctx, bus, name), document, status="ENABLED", parent=bus)


def _rule_name(archive: str) -> str:
    return f"Events-Archive-{archive}"


def _managed_pattern(text: str | None) -> str:
    """An archive's pattern, and no replayed events."""
    try:
        pattern = check_pattern(text) if text else {}
    except InvalidPattern as problem:
        raise AwsError("InvalidEventPatternException", f"Event pattern is not valid. Reason: {problem}", status=400) from None
    return json.dumps(pattern | {"replay-name": [{"exists": False}]})


def _answer(document: dict[str, Any]) -> dict[str, Any]:
    return {member: document[member] for member in ("ArchiveArn", "State", "CreationTime")}


@operation("events", "DescribeArchive")
def describe_archive(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return archive_of(tx, ctx, req["ArchiveName"]).document


@operation("events", "ListArchives")
def list_archives(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return listed(ctx, req, "archive", LISTED)


def listed(ctx: Ctx, req: dict[str, Any], kind: str, members: Sequence[str]) -> dict[str, Any]:
    """A page of archives, or of replays, by the one filter that a List request may have."""
    word = kind.capitalize()
    if sum(bool(req.get(member)) for member in ("NamePrefix", "EventSourceArn", "State")) > 1:
        message = f"At most one filter is allowed for List{word}s. Use either : State, EventSourceArn, or NamePrefix."
        raise AwsError("ValidationException", message, status=400)
    with ctx.ports.store.reading() as tx:
        documents = [record.document for record in tx.records.list(ctx.account, ctx.region, "events", kind)]
    found = [d for d in documents if d[f"{word}Name"].startswith(req.get("NamePrefix") or "")]
    wanted = [d for d in found if all(req.get(member) in (None, d[member]) for member in ("EventSourceArn", "State"))]
    taken, token = page(wanted, req, key=lambda d: str(d[f"{word}Name"]), limit_member="Limit")
    return with_token({f"{word}s": [{m: d[m] for m in members if m in d} for d in taken]}, token)


@operation("events", "UpdateArchive")
def update_archive(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    pattern = _managed_pattern(req["EventPattern"]) if req.get("EventPattern") else None
    with ctx.ports.store.transaction() as tx:
        record = archive_of(tx, ctx, req["ArchiveName"])
        record.document |= {m: req[m] for m in ("Description", "EventPattern", "RetentionDays", "KmsKeyIdentifier") if m in req}
        tx.records.save(record)
        rule = tx.records.get(rule_key(ctx, bus_name(record.document["EventSourceArn"]), _rule_name(req["ArchiveName"])))
        if rule is not None and pattern is not None:
            rule.document["EventPattern"] = pattern
            tx.records.save(rule)
    return _answer(record.document)


@operation("events", "DeleteArchive")
def delete_archive(ctx: Ctx, req: dict[str, Any]) -> None:
    name = req["ArchiveName"]
    with ctx.ports.store.transaction() as tx:
        record = archive_of(tx, ctx, name)
        for event in tx.records.list(ctx.account, ctx.region, "events", "archived-event", parent=name):
            tx.records.delete(event.key)
        tx.records.delete(rule_key(ctx, bus_name(record.document["EventSourceArn"]), _rule_name(name)))
        tx.records.delete(record.key)


# ---------------------------------------------------------------- the events


def keep(ctx: Ctx, name: str, event: dict[str, Any]) -> None:
    """Put an event into an archive; one that is there already (a second delivery) is left as it is."""
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(archive_key(ctx, name))
        key = Key(ctx.account, ctx.region, "events", "archived-event", f"{name}/{event['id']}")
        if record is None or tx.records.get(key) is not None:
            return
        tx.records.create(Record(key, {"Event": event}, parent=name))
        record.document["EventCount"] += 1
        record.document["SizeBytes"] += _size(event)
        tx.records.save(record)


def archived(ctx: Ctx, name: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """An archive's events of a span of time, the oldest first."""
    with ctx.ports.store.reading() as tx:
        events = [r.document["Event"] for r in tx.records.list(ctx.account, ctx.region, "events", "archived-event", parent=name)]
    return sorted((e for e in events if start <= datetime.fromisoformat(e["time"]) < end), key=lambda e: str(e["time"]))


def _size(event: dict[str, Any]) -> int:
    return len(json.dumps(event).encode())


def tick(ctx: Ctx) -> None:
    """Drop the events whose archive's retention has ended."""
    with ctx.ports.store.reading() as tx:
        archives = [r for r in tx.records.scan("events", "archive") if r.document["RetentionDays"]]
    for archive in archives:
        oldest = ctx.now() - timedelta(days=archive.document["RetentionDays"])
        with ctx.ports.store.transaction() as tx:
            record = tx.records.get(archive.key)
            kept = tx.records.list(archive.key.account, archive.key.region, "events", "archived-event", parent=archive.key.name)
            old = [r for r in kept if r.created is not None and r.created < oldest]
            if record is None or not old:
                continue
            for event in old:
                tx.records.delete(event.key)
            record.document["EventCount"] -= len(old)
            record.document["SizeBytes"] -= sum(_size(event.document["Event"]) for event in old)
            tx.records.save(record)
