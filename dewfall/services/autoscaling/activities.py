"""Scaling activities: what was done to a target or not done, and why, in AWS's sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Record, Tx
from dewfall.rules.scaling import AT_MAX, AT_MIN
from dewfall.services.autoscaling.capacity import noun
from dewfall.services.autoscaling.places import SERVICE, key, listed
from dewfall.services.common import page, with_token
from dewfall.services.registry import operation

KEPT = timedelta(days=42)
PLACE = ("ServiceNamespace", "ResourceId", "ScalableDimension")


@operation("application-autoscaling", "DescribeScalingActivities")
def describe_scaling_activities(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """The newest first, of the past six weeks."""
    oldest, everything = ctx.now() - KEPT, req.get("IncludeNotScaledActivities")
    records = [r for r in listed(ctx, "activity", req) if r.document["StartTime"] > oldest and (everything or "NotScaledReasons" not in r.document)]
    records.sort(key=lambda record: (record.document["StartTime"], record.document["_Place"]), reverse=True)
    shown, token = page(records, req, key=lambda record: record.key.name, default=50)
    return with_token({"ScalingActivities": [record.document for record in shown]}, token)


def alarm_cause(alarm: str, state: str, policy: str) -> str:
    """Why a policy acted."""
    return f"monitor alarm {alarm} in state {state} triggered policy {policy}"


def begin(ctx: Ctx, tx: Tx, target: Record, capacity: int, cause: str, **ours: Any) -> Record:
    """An activity that sets the count; it waits for the endpoint."""
    what = noun(target.document["ScalableDimension"])
    message = f"Successfully set desired {what} to {capacity}. Waiting for change to be fulfilled by sagemaker."
    members = {"Description": f"Setting desired {what} to {capacity}.", "Cause": cause, "StatusCode": "InProgress", "StatusMessage": message}
    return _write(ctx, tx, target, members | {"_Capacity": capacity, **ours})


def finish(ctx: Ctx, tx: Tx, activity: Record, status: str, problem: str = "") -> None:
    """The endpoint has the count, or never will."""
    capacity, what = activity.document["_Capacity"], noun(activity.document["ScalableDimension"])
    message = f"Successfully set desired {what} to {capacity}. Change successfully fulfilled by sagemaker."
    if status == "Failed":
        message = f"Failed to set desired {what} to {capacity}. Reason: {problem}"
    elif status == "Overridden":
        message = f"Successfully set desired {what} to {capacity}. Change was overridden by another change of the desired {what}."
    activity.document |= {"StatusCode": status, "StatusMessage": message, "EndTime": ctx.now()}
    activity.status = status
    tx.records.save(activity)


def told(ctx: Ctx, tx: Tx, target: Record, text: str, cause: str, problem: str = "") -> None:
    """A scheduled action has changed the bounds, or could not."""
    message = f"Failed to set {text}. Reason: {problem}" if problem else f"Successfully set {text}"
    members = {"Description": f"Setting {text}", "Cause": cause, "StatusCode": "Failed" if problem else "Successful", "StatusMessage": message}
    _write(ctx, tx, target, members | {"EndTime": ctx.now()})


def skip(ctx: Ctx, tx: Tx, target: Record, current: int, reason: str, cause: str) -> None:
    """A policy was triggered and nothing was done."""
    given: dict[str, Any] = {"Code": reason}
    if reason == AT_MAX:
        given["MaxCapacity"] = target.document["MaxCapacity"]
    elif reason == AT_MIN:
        given["MinCapacity"] = target.document["MinCapacity"]
    else:
        given["CurrentCapacity"] = current
    members = {"Description": "Attempting to scale due to alarm triggered", "Cause": cause, "StatusCode": "Failed", "NotScaledReasons": [given]}
    _write(ctx, tx, target, members | {"EndTime": ctx.now()})


def running(tx: Tx, target: Record) -> Record | None:
    """A target's activity that waits for the endpoint."""
    key = target.key
    return next(iter(tx.records.list(key.account, key.region, SERVICE, "activity", parent=key.name, status="InProgress")), None)


def _write(ctx: Ctx, tx: Tx, target: Record, members: dict[str, Any]) -> Record:
    mine = tx.records.list(ctx.account, ctx.region, SERVICE, "activity", parent=target.key.name)
    for old in mine:
        if old.document["StartTime"] < ctx.now() - KEPT:
            tx.records.delete(old.key)
    place = max((old.document["_Place"] for old in mine), default=0) + 1
    document = {"ActivityId": new_uuid(), "StartTime": ctx.now(), "_Place": place, **{member: target.document[member] for member in PLACE}, **members}
    record = Record(key(ctx, "activity", document["ActivityId"]), document, status=members["StatusCode"], parent=target.key.name)
    return tx.records.create(record)
