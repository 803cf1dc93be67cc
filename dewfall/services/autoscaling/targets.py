"""Scalable targets: registered with their bounds, described, deregistered with everything that belongs to them."""

from __future__ import annotations

import secrets
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record, Tx
from dewfall.errors import validation
from dewfall.services.autoscaling.capacity import check_there
from dewfall.services.autoscaling.places import SERVICE, check_place, key, listed, load_target, place
from dewfall.services.autoscaling.policies import drop_alarms
from dewfall.services.common import drop_tags, page, put_tags, transact, with_token
from dewfall.services.registry import operation

ROLE = "role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
SWITCHES = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


@operation("application-autoscaling", "RegisterScalableTarget")
def register_scalable_target(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """The count is brought within the bounds by the next tick."""
    check_place(req)
    least = check_there(ctx, req)
    return transact(ctx, lambda tx: _register(ctx, tx, req, least))


def _register(ctx: Ctx, tx: Tx, req: dict[str, Any], least: int) -> dict[str, Any]:
    record = tx.records.get(key(ctx, "target", place(req)))
    if record is None:
        for member in ("MinCapacity", "MaxCapacity"):
            if req.get(member) is None:
                raise validation(f"{member} must be specified when a new scalable target is registered")
        arn = ctx.arn("application-autoscaling", f"scalable-target/{secrets.token_hex(12)[:23]}")
        document = {member: req[member] for member in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
        document |= {"RoleARN": ctx.arn("iam", ROLE), "CreationTime": ctx.now(), "ScalableTargetARN": arn}
        document["SuspendedState"] = dict.fromkeys(SWITCHES, False)
        document["_Least"] = least
        record = Record(key(ctx, "target", place(req)), document)
        set_bounds(record, req)
        put_tags(tx, ctx, arn, [{"Key": name, "Value": value} for name, value in req.get("Tags", {}).items()])
        tx.records.create(record)
    else:
        if req.get("Tags"):
            raise validation("Tags cannot be given for a scalable target that is registered already; use TagResource.")
        set_bounds(record, req)
        tx.records.save(record)
    return {"ScalableTargetARN": record.document["ScalableTargetARN"]}


def set_bounds(record: Record, req: dict[str, Any]) -> None:
    """Change a target's bounds and switches by what the request names of them; `_Bounds` asks the tick to look at the count."""
    document = record.document
    bounds = {member: req[member] for member in ("MinCapacity", "MaxCapacity") if req.get(member) is not None}
    merged: dict[str, int] = {member: document[member] for member in ("MinCapacity", "MaxCapacity") if member in document} | bounds
    if merged["MinCapacity"] > merged["MaxCapacity"]:
        raise validation("Maximum capacity cannot be less than minimum capacity")
    if merged["MinCapacity"] < document.get("_Least", 1):
        raise validation("Minimum capacity cannot be less than 1 for sagemaker:variant:DesiredInstanceCount of a real-time endpoint")
    document |= merged
    document["SuspendedState"] = document["SuspendedState"] | (req.get("SuspendedState") or {})
    if bounds:
        document["_Bounds"] = True


@operation("application-autoscaling", "DescribeScalableTargets")
def describe_scalable_targets(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    shown, token = page(listed(ctx, "target", req), req, key=lambda record: record.key.name, default=50)
    return with_token({"ScalableTargets": [record.document for record in shown]}, token)


@operation("application-autoscaling", "DeregisterScalableTarget")
def deregister_scalable_target(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Policies with their alarms and scheduled actions go with the target; the count stays as it is."""
    check_place(req)
    with ctx.ports.store.transaction() as tx:
        record = load_target(ctx, tx, req)
        policies = tx.records.list(ctx.account, ctx.region, SERVICE, "policy", parent=record.key.name)
        schedules = tx.records.list(ctx.account, ctx.region, SERVICE, "schedule", parent=record.key.name)
        for part in (record, *policies, *schedules):
            tx.records.delete(part.key)
        drop_tags(tx, ctx, record.document["ScalableTargetARN"])
    for policy in policies:
        drop_alarms(ctx, policy.document)
    return {}
