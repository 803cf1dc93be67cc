"""Event buses, and putting events on them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.rules.patterns import InvalidPattern, check_pattern, matches
from dewfall.services.common import drop_tags, page, put_tags, settle, with_token
from dewfall.services.registry import operation

DEFAULT = "default"
ENTRIES_LIMIT = 262144


def bus_name(text: str | None) -> str:
    """A bus given by name or ARN."""
    return (text or DEFAULT).rsplit("/", 1)[-1]


def bus_key(ctx: Ctx, name: str) -> Key:
    """A bus's record."""
    return Key(ctx.account, ctx.region, "events", "bus", name)


def check_bus(tx: Tx, ctx: Ctx, name: str) -> None:
    """ResourceNotFoundException for a bus that is not there; the default one always is."""
    if name != DEFAULT and tx.records.get(bus_key(ctx, name)) is None:
        raise AwsError("ResourceNotFoundException", f"Event bus {name} does not exist.", status=400)


def _shown(ctx: Ctx, name: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"Name": name, "Arn": ctx.arn("events", f"event-bus/{name}")} | (document or {})


@operation("events", "CreateEventBus")
def create_event_bus(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["Name"]
    if name.startswith("aws.partner/"):
        raise AwsError("ResourceNotFoundException", f"Event source {req.get('EventSourceName') or name} does not exist.", status=400)
    if "/" in name:
        raise AwsError("ValidationException", "Event bus name must not contain '/'.", status=400)
    document: dict[str, Any] = {"CreationTime": ctx.now(), "LastModifiedTime": ctx.now()}
    document |= {member: req[member] for member in ("Description", "KmsKeyIdentifier", "DeadLetterConfig") if req.get(member)}
    with ctx.ports.store.transaction() as tx:
        try:
            if name == DEFAULT:
                raise AlreadyExists
            tx.records.create(Record(bus_key(ctx, name), document))
        except AlreadyExists:
            raise AwsError("ResourceAlreadyExistsException", f"Event bus {name} already exists.", status=400) from None
        put_tags(tx, ctx, ctx.arn("events", f"event-bus/{name}"), req.get("Tags") or [])
    return {"EventBusArn": ctx.arn("events", f"event-bus/{name}")} | ({"Description": req["Description"]} if req.get("Description") else {})


@operation("events", "DescribeEventBus")
def describe_event_bus(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = bus_name(req.get("Name"))
    with ctx.ports.store.reading() as tx:
        check_bus(tx, ctx, name)
        record = tx.records.get(bus_key(ctx, name))
    return _shown(ctx, name, record.document if record else None)


@operation("events", "ListEventBuses")
def list_event_buses(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        known: dict[str, dict[str, Any]] = {DEFAULT: {}}
        known |= {r.key.name: r.document for r in tx.records.list(ctx.account, ctx.region, "events", "bus")}
        buses = [_shown(ctx, name, document) for name, document in known.items()]
    wanted = sorted((b for b in buses if b["Name"].startswith(req.get("NamePrefix") or "")), key=lambda b: str(b["Name"]))
    taken, token = page(wanted, req, key=lambda b: str(b["Name"]), limit_member="Limit")
    return with_token({"EventBuses": taken}, token)


@operation("events", "UpdateEventBus")
def update_event_bus(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = bus_name(req.get("Name"))
    members = {member: req[member] for member in ("Description", "KmsKeyIdentifier", "DeadLetterConfig") if member in req}
    with ctx.ports.store.transaction() as tx:
        record = _record(tx, ctx, name)
        record.document |= members | {"LastModifiedTime": ctx.now()}
        _save(tx, record)
    return _shown(ctx, name, record.document)


def _record(tx: Tx, ctx: Ctx, name: str) -> Record:
    """A bus's record; the default one comes into being with its first change."""
    check_bus(tx, ctx, name)
    return tx.records.get(bus_key(ctx, name)) or Record(bus_key(ctx, name), {})


def _save(tx: Tx, record: Record) -> None:
    if record.version:
        tx.records.save(record)
    else:
        tx.records.create(record)


@operation("events", "DeleteEventBus")
def delete_event_bus(ctx: Ctx, req: dict[str, Any]) -> None:
    name = bus_name(req["Name"])
    if name == DEFAULT:
        raise AwsError("ValidationException", "Cannot delete event bus default.", status=400)
    with ctx.ports.store.transaction() as tx:
        if tx.records.list(ctx.account, ctx.region, "events", "rule", parent=name):
            raise AwsError("ValidationException", "Event bus can't be deleted since it has rules.", status=400)
        drop_tags(tx, ctx, ctx.arn("events", f"event-bus/{name}"))
        tx.records.delete(bus_key(ctx, name))


# ---------------------------------------------------------------- a bus's policy


@operation("events", "PutPermission")
def put_permission(ctx: Ctx, req: dict[str, Any]) -> None:
    name = bus_name(req.get("EventBusName"))
    with ctx.ports.store.transaction() as tx:
        record = _record(tx, ctx, name)
        if req.get("Policy"):
            try:
                json.loads(req["Policy"])
            except ValueError:
                raise AwsError("ValidationException", "This policy contains invalid Json", status=400) from None
            record.document["Policy"] = req["Policy"]
        else:
            policy = json.loads(record.document.get("Policy") or '{"Version": "2012-10-17", "Statement": []}')
            left = [statement for statement in policy["Statement"] if statement.get("Sid") != req.get("StatementId")]
            record.document["Policy"] = json.dumps(policy | {"Statement": [*left, _permission(ctx, name, req)]})
        _save(tx, record)


def _permission(ctx: Ctx, bus: str, req: dict[str, Any]) -> dict[str, Any]:
    for member in ("Action", "Principal", "StatementId"):
        if not req.get(member):
            raise AwsError("ValidationException", f"Parameter {member} must be specified.", status=400)
    if req["Action"] != "events:PutEvents":
        raise AwsError("ValidationException", "Provided value in parameter 'action' is not supported.", status=400)
    condition = req.get("Condition")
    statement = {
        "Sid": req["StatementId"],
        "Effect": "Allow",
        "Principal": "*" if req["Principal"] == "*" else {"AWS": f"arn:{ctx.partition}:iam::{req['Principal']}:root"},
        "Action": req["Action"],
        "Resource": ctx.arn("events", f"event-bus/{bus}"),
    }
    return statement | ({"Condition": {condition["Type"]: {condition["Key"]: condition["Value"]}}} if condition else {})


@operation("events", "RemovePermission")
def remove_permission(ctx: Ctx, req: dict[str, Any]) -> None:
    name = bus_name(req.get("EventBusName"))
    with ctx.ports.store.transaction() as tx:
        record = _record(tx, ctx, name)
        if req.get("RemoveAllPermissions"):
            record.document.pop("Policy", None)
        else:
            if "Policy" not in record.document:
                raise AwsError("ResourceNotFoundException", "EventBus does not have a policy.", status=400)
            policy = json.loads(record.document["Policy"])
            left = [statement for statement in policy["Statement"] if statement.get("Sid") != req.get("StatementId")]
            if len(left) == len(policy["Statement"]):
                message = "Statement with the provided id does not exist."
                raise AwsError("ResourceNotFoundException", message, status=400)
            record.document["Policy"] = json.dumps(policy | {"Statement": left})
            if not left:
                del record.document["Policy"]
        _save(tx, record)


# ---------------------------------------------------------------- events


@operation("events", "PutEvents")
def put_events(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    answers: list[dict[str, Any]] = []
    sent: list[int] = []
    if sum(map(_size, req["Entries"])) > ENTRIES_LIMIT:
        raise AwsError("ValidationException", "Total size of the entries in the request is over the limit.", status=400)
    with ctx.ports.store.transaction() as tx:
        for entry in req["Entries"]:
            problem = _problem(entry)
            if problem:
                answers.append({"ErrorCode": problem[0], "ErrorMessage": problem[1]})
                continue
            event = event_of(ctx, entry["Source"], entry["DetailType"], json.loads(entry["Detail"]), entry.get("Resources") or [], entry.get("Time"))
            body = event | {"event-bus-name": bus_name(entry.get("EventBusName"))}
            sent.append(tx.outbox.put("aws.events", ctx.account, ctx.region, body))
            answers.append({"EventId": event["id"]})
    settle(ctx, sent)
    return {"FailedEntryCount": sum("ErrorCode" in a for a in answers), "Entries": answers}


def _size(entry: dict[str, Any]) -> int:
    """What an entry counts for, by EventBridge's own formula."""
    texts = [entry.get("Source", ""), entry.get("DetailType", ""), entry.get("Detail", ""), *(entry.get("Resources") or [])]
    return (14 if entry.get("Time") else 0) + sum(len(text.encode()) for text in texts)


def _problem(entry: dict[str, Any]) -> tuple[str, str] | None:
    for member in ("Source", "DetailType", "Detail"):
        if not entry.get(member):
            return "InvalidArgument", f"Parameter {member} is not valid. Reason: {member} is a required argument."
    if entry["Source"].startswith("aws."):
        return "NotAuthorizedForSourceException", "Not authorized for the source."
    try:
        if not isinstance(json.loads(entry["Detail"]), dict):
            return "MalformedDetail", "Detail is malformed."
    except ValueError:
        return "MalformedDetail", "Detail is malformed."
    return None


def event_of(ctx: Ctx, source: str, kind: str, detail: dict[str, Any], resources: list[str], time: datetime | None = None) -> dict[str, Any]:
    """An event as EventBridge delivers it."""
    moment = (time or ctx.now()).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "version": "0",
        "id": new_uuid(),
        "detail-type": kind,
        "source": source,
        "account": ctx.account,
        "time": moment,
        "region": ctx.region,
        "resources": resources,
        "detail": detail,
    }


@operation("events", "TestEventPattern")
def test_event_pattern(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    try:
        pattern = check_pattern(req["EventPattern"])
    except InvalidPattern as problem:
        raise AwsError("InvalidEventPatternException", f"Event pattern is not valid. Reason: {problem}", status=400) from None
    try:
        event = json.loads(req["Event"])
    except ValueError:
        raise AwsError("ValidationException", "Parameter Event is not valid.", status=400) from None
    return {"Result": matches(pattern, event)}
