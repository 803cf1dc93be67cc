"""Replays: the events of an archive's span of time, put on their bus again under the replay's name.

Why behind the outbox: StartReplay answers at once, and a replay that a crash interrupted goes on.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import AlreadyExists, Key, Message, Record
from dewfall.errors import AwsError
from dewfall.services.common import settle
from dewfall.services.events.archives import archive_key, archived, listed
from dewfall.services.events.buses import bus_name, check_bus
from dewfall.services.registry import operation

log = logging.getLogger(__name__)

OPEN = ("STARTING", "RUNNING")
LISTED = (
    *("ReplayName", "EventSourceArn", "State", "StateReason", "EventStartTime", "EventEndTime"),
    *("EventLastReplayedTime", "ReplayStartTime", "ReplayEndTime"),
)


def _key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, ctx.region, "events", "replay", name)


def _invalid(parameter: str, reason: str) -> AwsError:
    return AwsError("ValidationException", f"Parameter {parameter} is not valid. Reason: {reason}", status=400)


@operation("events", "StartReplay")
def start_replay(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, target = req["ReplayName"], req["Destination"]["Arn"]
    if ":event-bus/" not in target:
        raise _invalid("Destination.Arn", "Must contain an event bus ARN.")
    document: dict[str, Any] = {member: req[member] for member in ("ReplayName", "Description", "EventSourceArn", "Destination") if member in req}
    document |= {"EventStartTime": req["EventStartTime"], "EventEndTime": req["EventEndTime"], "State": "STARTING", "ReplayStartTime": ctx.now()}
    document["ReplayArn"] = ctx.arn("events", f"replay/{name}")
    archive = req["EventSourceArn"].rsplit("/", 1)[-1]
    try:
        with ctx.ports.store.transaction() as tx:
            check_bus(tx, ctx, bus_name(target))
            source = tx.records.get(archive_key(ctx, archive))
            if source is None:
                raise _invalid("EventSourceArn", f"Archive {archive} does not exist.")
            if source.document["EventSourceArn"] != target:
                raise _invalid("Destination.Arn", "Cross event bus replay is not permitted.")
            if req["EventStartTime"] >= req["EventEndTime"]:
                raise _invalid("EventEndTime", "EventStartTime must be before EventEndTime.")
            tx.records.create(Record(_key(ctx, name), document, status="STARTING"))
            started = tx.outbox.put("events.replay", ctx.account, ctx.region, {"ReplayName": name})
    except AlreadyExists:
        raise AwsError("ResourceAlreadyExistsException", f"Replay {name} already exists.", status=400) from None
    settle(ctx, [started])
    return {member: document[member] for member in ("ReplayArn", "State", "ReplayStartTime")}


@operation("events", "DescribeReplay")
def describe_replay(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(_key(ctx, req["ReplayName"]))
    if record is None:
        raise _missing(req["ReplayName"])
    return record.document


def _missing(name: str) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Replay {name} does not exist.", status=400)


@operation("events", "ListReplays")
def list_replays(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return listed(ctx, req, "replay", LISTED)


@operation("events", "CancelReplay")
def cancel_replay(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["ReplayName"]
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(_key(ctx, name))
        if record is None:
            raise _missing(name)
        if record.status not in OPEN:
            raise AwsError("IllegalStatusException", f"Replay {name} is not in a valid state for this operation.", status=400)
        record.status = record.document["State"] = "CANCELLED"
        record.document["ReplayEndTime"] = ctx.now()
        tx.records.save(record)
    return {"ReplayArn": record.document["ReplayArn"], "State": "CANCELLING"}


def run(ctx: Ctx, message: Message) -> None:
    """Put the events on the bus, one transaction each, until the replay is through or cancelled; at least once after a crash."""
    name = message.body["ReplayName"]
    try:
        _replay(ctx, name)
    except OSError as error:
        log.exception("replay failed name=%s", name)
        _advance(ctx, name, {"State": "FAILED", "StateReason": error.strerror or str(error), "ReplayEndTime": ctx.now()})


def _replay(ctx: Ctx, name: str) -> None:
    record = _advance(ctx, name, {"State": "RUNNING"})
    if record is None:
        return
    replay = record.document
    bus, rules = bus_name(replay["Destination"]["Arn"]), replay["Destination"].get("FilterArns")
    for event in archived(ctx, replay["EventSourceArn"].rsplit("/", 1)[-1], replay["EventStartTime"], replay["EventEndTime"]):
        body = event | {"id": new_uuid(), "replay-name": name, "event-bus-name": bus} | ({"rule-arns": rules} if rules else {})
        if _advance(ctx, name, {"EventLastReplayedTime": datetime.fromisoformat(event["time"])}, body) is None:
            return
    _advance(ctx, name, {"State": "COMPLETED", "ReplayEndTime": ctx.now()})


def _advance(ctx: Ctx, name: str, members: dict[str, Any], event: dict[str, Any] | None = None) -> Record | None:
    """Save how far a replay is, with the event that goes out; None where it has ended."""
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(_key(ctx, name))
        if record is None or record.status not in OPEN:
            return None
        record.document |= members
        record.status = record.document["State"]
        if event is not None:
            tx.outbox.put("aws.events", ctx.account, ctx.region, event)
        return tx.records.save(record)
