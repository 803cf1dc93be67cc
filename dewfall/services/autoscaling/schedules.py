"""Scheduled actions: at(…), rate(…) and cron(…) in a time zone, which set a target's bounds when they are due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Record
from dewfall.errors import AwsError, validation
from dewfall.rules import cron
from dewfall.services.autoscaling import activities
from dewfall.services.autoscaling.places import check_place, key, listed, load_target, missing, place
from dewfall.services.autoscaling.targets import set_bounds
from dewfall.services.common import page, with_token
from dewfall.services.registry import operation

SETTINGS = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")
IDENTITY = ("ScheduledActionName", "ServiceNamespace", "ResourceId", "ScalableDimension")
SECOND = timedelta(seconds=1)


@operation("application-autoscaling", "PutScheduledAction")
def put_scheduled_action(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_place(req)
    _check(req)
    name = f"{place(req)}|{req['ScheduledActionName']}"
    with ctx.ports.store.transaction() as tx:
        load_target(ctx, tx, req)
        record = tx.records.get(key(ctx, "schedule", name))
        document = dict(record.document) if record else {member: req[member] for member in IDENTITY}
        document |= {member: req[member] for member in SETTINGS if req.get(member) is not None}
        if "Schedule" not in document or "ScalableTargetAction" not in document:
            raise validation("A schedule and a scalable target action must be specified when a new scheduled action is created")
        document["_Since"] = max(ctx.now(), document["StartTime"] - SECOND) if "StartTime" in document else ctx.now()
        if record is None:
            resource = f"scheduledAction:{new_uuid()}:resource/sagemaker/{req['ResourceId']}:scheduledActionName/{req['ScheduledActionName']}"
            document |= {"ScheduledActionARN": ctx.arn("autoscaling", resource), "CreationTime": ctx.now()}
            tx.records.create(Record(key(ctx, "schedule", name), document, parent=place(req)))
        else:
            record.document = document
            tx.records.save(record)
    return {}


@operation("application-autoscaling", "DescribeScheduledActions")
def describe_scheduled_actions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    names = req.get("ScheduledActionNames")
    records = [record for record in listed(ctx, "schedule", req) if not names or record.document["ScheduledActionName"] in names]
    shown, token = page(records, req, key=lambda record: record.key.name, default=50)
    return with_token({"ScheduledActions": [record.document for record in shown]}, token)


@operation("application-autoscaling", "DeleteScheduledAction")
def delete_scheduled_action(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_place(req)
    with ctx.ports.store.transaction() as tx:
        if not tx.records.delete(key(ctx, "schedule", f"{place(req)}|{req['ScheduledActionName']}")):
            raise missing("No scheduled action found for", req, f", scheduled action name: {req['ScheduledActionName']}")
    return {}


def due_at(action: dict[str, Any]) -> datetime | None:
    """When an action is due next: its schedule is read as the clock on the wall of its time zone shows."""
    zone = ZoneInfo(action.get("Timezone", "UTC"))
    since = action["_Since"].astimezone(zone).replace(tzinfo=UTC)
    anchor = action.get("StartTime", action["CreationTime"]).astimezone(zone).replace(tzinfo=UTC)
    wall = cron.next_time(action["Schedule"], since, anchor)
    moment = wall.replace(tzinfo=zone).astimezone(UTC) if wall else None
    return None if moment is None or moment > action.get("EndTime", moment) else moment


def fire(ctx: Ctx, action: Record, target: Record) -> str:
    """Set the bounds; the count follows."""
    with ctx.ports.store.transaction() as tx:
        action.document["_Since"] = ctx.now()
        tx.records.save(action)
        if target.document["SuspendedState"]["ScheduledScalingSuspended"]:
            return ""
        bounds, cause = action.document["ScalableTargetAction"], f"scheduled action name {action.document['ScheduledActionName']} was triggered"
        names = {"MinCapacity": "min capacity", "MaxCapacity": "max capacity"}
        text = " and ".join(f"{words} to {bounds[member]}" for member, words in names.items() if bounds.get(member) is not None)
        changed = replace(target, document=dict(target.document))
        try:
            set_bounds(changed, bounds)
        except AwsError as error:
            activities.told(ctx, tx, target, text, cause, error.message)
            return f"{target.key.name}: {cause}, refused: {error.message}"
        activities.told(ctx, tx, target, text, cause)
        tx.records.save(changed)
    return f"{target.key.name}: {cause}, {text}"


def _check(req: dict[str, Any]) -> None:
    if req.get("Schedule"):
        try:
            cron.parse(req["Schedule"])
        except ValueError as error:
            raise validation(f"Schedule expression {req['Schedule']} is not valid: {error}") from None
    if req.get("Timezone"):
        try:
            ZoneInfo(req["Timezone"])
        except (KeyError, ValueError, OSError):
            raise validation(f"Timezone {req['Timezone']} is not valid") from None
    action = req.get("ScalableTargetAction")
    if action is not None and action.get("MinCapacity") is None and action.get("MaxCapacity") is None:
        raise validation("At least one of MinCapacity and MaxCapacity must be specified in ScalableTargetAction")
    if action and (action.get("MinCapacity") or 0) > action.get("MaxCapacity", float("inf")):
        raise validation("Maximum capacity cannot be less than minimum capacity")
    if req.get("StartTime") and req.get("EndTime") and req["StartTime"] >= req["EndTime"]:
        raise validation("EndTime must be after StartTime")
