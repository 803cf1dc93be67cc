"""The tick of scaling: fires schedules, reads alarms and their metrics, lets the rules decide, and sets variants' instance counts.

due schedules → bounds      alarms in a state with a policy among its actions → wishes → one decision per target → sagemaker
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Conflict, Record
from dewfall.errors import AwsError
from dewfall.rules import scaling as rules
from dewfall.services.autoscaling import activities, schedules
from dewfall.services.autoscaling.capacity import Capacity, noun, set_capacity
from dewfall.services.autoscaling.capacity import look as capacity_of
from dewfall.services.autoscaling.places import SERVICE, key
from dewfall.services.autoscaling.policies import ACTIONS, CONFIGURATIONS, DEFAULT_COOLDOWN, STEP, TRACKING, all_alarms
from dewfall.services.cloudwatch.evaluation import recent_values

log = logging.getLogger(__name__)

AGAIN = timedelta(seconds=60)  # an alarm that stays in its state triggers its policies every minute
OUT, IN = "_Out", "_In"  # of a policy: its last scaling of that direction


def tick(ctx: Ctx) -> list[str]:
    """Look at every target; what was done."""
    with ctx.ports.store.reading() as tx:
        targets = list(tx.records.scan(SERVICE, "target"))
        actions = list(tx.records.scan(SERVICE, "schedule")) if targets else []
    decisions: list[str] = []
    for target in targets:
        mine = replace(ctx, account=target.key.account, region=target.key.region)
        due = [
            action
            for action in actions
            if action.parent == target.key.name and action.key.account == mine.account and action.key.region == mine.region
        ]
        try:
            decisions += [text for text in _look(mine, target, due) if text]
        except Conflict:
            continue  # somebody changed it meanwhile: the next tick sees it anew
        except AwsError as error:
            log.warning("target not scaled target=%s problem=%s", target.key.name, error)
    return decisions


def _look(ctx: Ctx, target: Record, actions: list[Record]) -> Iterator[str]:
    for action in actions:
        at = schedules.due_at(action.document)
        if at is not None and at <= ctx.now():
            yield schedules.fire(ctx, action, target)
            return  # the bounds are new: the next tick looks at the count
    with ctx.ports.store.reading() as tx:
        activity = activities.running(tx, target)
        policies = tx.records.list(ctx.account, ctx.region, SERVICE, "policy", parent=target.key.name)
    firing = _firing(ctx, policies) if policies else []
    due = _is_due(target, [alarm for alarm, _ in firing], ctx.now())
    if not (activity or due or target.document.get("_Bounds")):
        return
    found = capacity_of(ctx, target.document)
    if found is None:
        return
    if activity:
        yield _finish(ctx, activity, found)
        return
    if not found.in_service:
        return
    current = found.desired
    if target.document.get("_Bounds"):
        yield _keep_bounds(ctx, target, current)
    elif due:
        yield _act(ctx, target, policies, firing, current)


def _firing(ctx: Ctx, policies: list[Record]) -> list[tuple[dict[str, Any], Record]]:
    """Alarms in a state whose actions name a policy, with the policy."""
    arns = {policy.document["PolicyARN"]: policy for policy in policies}
    alarms = [alarm for alarm in all_alarms(ctx) if alarm["ActionsEnabled"]]
    return [(alarm, arns[arn]) for alarm in alarms for arn in alarm[ACTIONS[alarm["StateValue"]]] if arn in arns]


def _is_due(target: Record, alarms: Iterable[dict[str, Any]], now: datetime) -> bool:
    last = target.document.get("_Evaluated")
    newest = max((alarm["StateTransitionedTimestamp"] for alarm in alarms), default=None)
    return newest is not None and (last is None or newest > last or now >= last + AGAIN)


def _finish(ctx: Ctx, activity: Record, found: Capacity) -> str:
    """The resource has settled: the activity is over, and the policy's cooldown counts from now."""
    wanted = activity.document["_Capacity"]
    status, problem = "Successful", ""
    if found.desired != wanted:
        problem = found.problem
        status = "Failed" if problem else "Overridden"
    elif found.current != wanted:
        status, problem = "Failed", found.problem or "The endpoint could not be updated."
    with ctx.ports.store.transaction() as tx:
        activities.finish(ctx, tx, activity, status, problem)
        name = activity.document.get("_Policy")
        policy = tx.records.get(key(ctx, "policy", name)) if name else None
        if policy is not None:
            policy.document[activity.document["_Side"]]["At"] = ctx.now()
            tx.records.save(policy)
    return f"{activity.parent}: {activity.document['StatusMessage']}"


def _keep_bounds(ctx: Ctx, target: Record, current: int) -> str:
    """New bounds: the count is brought between them, without regard to cooldowns."""
    low, high = target.document["MinCapacity"], target.document["MaxCapacity"]
    capacity = rules.clamp(current, low, high)
    target.document.pop("_Bounds")
    cause = f"minimum capacity was set to {low}" if capacity > current else f"maximum capacity was set to {high}"
    if capacity == current:
        with ctx.ports.store.transaction() as tx:
            tx.records.save(target)
        return ""
    return _set(ctx, target, capacity, cause)


def _act(ctx: Ctx, target: Record, policies: list[Record], firing: list[tuple[dict[str, Any], Record]], current: int) -> str:
    suspended = target.document["SuspendedState"]
    wishes = [wish for policy in policies for wish in _wishes(ctx, policy, [alarm for alarm, its in firing if its is policy], current)]
    bounds = target.document["MinCapacity"], target.document["MaxCapacity"]
    off = {"no_out": suspended["DynamicScalingOutSuspended"], "no_in": suspended["DynamicScalingInSuspended"]}
    decision = rules.decide(current, *bounds, wishes, **off)
    target.document["_Evaluated"] = ctx.now()
    state = next((alarm["StateValue"] for alarm, _ in firing if decision.wish and alarm["AlarmName"] == decision.wish.alarm), "ALARM")
    policy = next((policy for policy in policies if decision.wish and policy.key.name == decision.wish.policy), None)
    if decision.wish is None or policy is None:
        with ctx.ports.store.transaction() as tx:
            tx.records.save(target)
        return ""
    cause = activities.alarm_cause(decision.wish.alarm, state, policy.document["PolicyName"])
    if decision.capacity != current:
        target.document.pop("_Skipped", None)
        return _set(ctx, target, decision.capacity, cause, policy, current)
    with ctx.ports.store.transaction() as tx:
        if decision.reason and target.document.get("_Skipped") != [cause, decision.reason]:
            target.document["_Skipped"] = [cause, decision.reason]
            activities.skip(ctx, tx, target, current, decision.reason, cause)
        tx.records.save(target)
    return ""


def _wishes(ctx: Ctx, policy: Record, alarms: list[dict[str, Any]], current: int) -> Iterator[rules.Wish]:
    """What a policy wants, from those of its alarms that fire."""
    document = policy.document
    if document["PolicyType"] == STEP:
        for alarm in alarms:
            yield from _step_wish(ctx, policy, alarm, current)
        return
    configuration = document[CONFIGURATIONS[TRACKING]]
    idle = rules.Wish(policy.key.name, current, tracking=not configuration.get("DisableScaleIn"))
    values = recent_values(ctx, alarms[0]) if alarms else []
    if not values:
        yield idle
        return
    alarm, high = alarms[0], alarms[0]["ComparisonOperator"] == "GreaterThanThreshold"
    out_cooldown, in_cooldown = (configuration.get(f"Scale{side}Cooldown", DEFAULT_COOLDOWN) for side in ("Out", "In"))
    base = _base(document, current, out_cooldown, ctx.now()) if high else current
    capacity = rules.track(base, values[-1] if high else max(values), configuration["TargetValue"], high=high)
    if high:
        capacity = max(capacity, current)
    elif _is_cooling(document, IN, in_cooldown, ctx.now()) or _is_cooling(document, OUT, out_cooldown, ctx.now()):
        yield idle
        return
    refusal = rules.FLAPPING if not high and capacity == current else ""
    yield rules.Wish(policy.key.name, capacity, alarm["AlarmName"], True, refusal)


def _step_wish(ctx: Ctx, policy: Record, alarm: dict[str, Any], current: int) -> Iterator[rules.Wish]:
    """A step policy's wish; none where the alarm has no data or no step covers it."""
    configuration, now = policy.document[CONFIGURATIONS[STEP]], ctx.now()
    values = recent_values(ctx, alarm)
    if not values:
        return
    value = rules.aggregate(values, configuration.get("MetricAggregationType", "Average"))
    adjustment = rules.find_step(configuration["StepAdjustments"], value - alarm["Threshold"])
    if adjustment is None:
        return
    cooldown = configuration.get("Cooldown", DEFAULT_COOLDOWN)
    settings = configuration["AdjustmentType"], adjustment, configuration.get("MinAdjustmentMagnitude", 0)
    capacity = rules.adjust(current, *settings)
    if capacity > current:
        capacity = max(current, rules.adjust(_base(policy.document, current, cooldown, now), *settings))
    elif capacity < current and _is_cooling(policy.document, IN, cooldown, now):
        return
    refusal = rules.AT_DESIRED if configuration["AdjustmentType"] == "ExactCapacity" and capacity == current else ""
    yield rules.Wish(policy.key.name, capacity, alarm["AlarmName"], False, refusal)


def _base(policy: dict[str, Any], current: int, cooldown: int, now: datetime) -> int:
    """During a scale-out cooldown, what it added already counts: a further adjustment starts from the capacity before it."""
    return min(current, policy[OUT]["Base"]) if _is_cooling(policy, OUT, cooldown, now) else current


def _is_cooling(policy: dict[str, Any], side: str, cooldown: int, now: datetime) -> bool:
    return rules.is_cooling(policy.get(side, {}).get("At"), cooldown, now)


def _set(ctx: Ctx, target: Record, capacity: int, cause: str, policy: Record | None = None, current: int = 0) -> str:
    """Note the activity, then ask SageMaker for the count: in this order, nothing is set that nobody can explain."""
    with ctx.ports.store.transaction() as tx:
        ours: dict[str, Any] = {}
        if policy is not None:
            side = OUT if capacity > current else IN
            ours = {"_Policy": policy.key.name, "_Side": side}
            policy.document[side] = {"At": ctx.now(), "Base": current}
            if side == OUT:
                policy.document.pop(IN, None)
            tx.records.save(policy)
        activity = activities.begin(ctx, tx, target, capacity, cause, **ours)
        tx.records.save(target)
    try:
        set_capacity(ctx, target.document, capacity)
    except AwsError as error:
        with ctx.ports.store.transaction() as tx:
            activities.finish(ctx, tx, activity, "Failed", error.message)
        return f"{target.key.name}: {cause}: refused: {error.message}"
    return f"{target.key.name}: {cause}: setting desired {noun(target.document['ScalableDimension'])} to {capacity}"
