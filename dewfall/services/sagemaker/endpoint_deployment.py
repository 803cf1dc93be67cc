"""A deployment under way: what its record remembers, what the rules make of it, and how DescribeEndpoint tells of it.

    _Deployment   Config, Step (traffic steps taken), Since, Begun, Stage; going back: Back (steps), Rest, Gone, Reason

Why in the endpoint's document: the step that moves it on may run in another server than the call that began it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import validation
from dewfall.rules import deployment as rules
from dewfall.rules.deployment import Move, Plan, Portion, Position
from dewfall.services.sagemaker.endpoint_replicas import Member
from dewfall.services.sagemaker.endpoint_status import every_variant

CREATING, ACTIVATING, BAKING, DELETING = "Creating", "ActivatingTraffic", "Baking", "Deleting"
Counts = dict[str, int]
CAPACITIES = {rules.CANARY: "canary", rules.LINEAR: "linear step", rules.ROLLING: "batch"}


def check_deployment(config: dict[str, Any] | None, fleet: dict[str, Any]) -> None:
    """Refuse a DeploymentConfig that does not fit the fleet."""
    fault = rules.find_fault(config, {variant["VariantName"]: int(variant["Count"]) for variant in fleet["Variants"]}) if config else None
    if fault:
        raise validation(fault)


def check_alarms(ctx: Ctx, config: dict[str, Any] | None) -> None:
    """Refuse a DeploymentConfig whose alarms are not there: nobody would watch the deployment."""
    names = alarm_names(config)
    missing = set(names) - {alarm["AlarmName"] for alarm in _alarms(ctx, names)}
    if missing:
        raise validation(f"Could not find the CloudWatch alarm(s) in AutoRollbackConfiguration: {', '.join(sorted(missing))}.")


def begin(ctx: Ctx, config: dict[str, Any] | None) -> dict[str, Any]:
    """What is remembered of a deployment that begins now."""
    now = ctx.now().timestamp()
    return {"Config": config, "Step": 0, "Since": now, "Begun": now, "Stage": CREATING}


def alarm_names(config: dict[str, Any] | None) -> list[str]:
    """The alarms that send a deployment back."""
    return [alarm["AlarmName"] for alarm in ((config or {}).get("AutoRollbackConfiguration") or {}).get("Alarms", ())]


def counts_of(fleet: dict[str, Any]) -> Counts:
    """Instances that a fleet's variants are to have in the end."""
    return {variant["VariantName"]: int(variant["Count"]) for variant in every_variant(fleet)}


def ready_of(fleet: dict[str, Any], members: Sequence[Member]) -> Counts:
    """Replicas of a fleet's variants that answer. Instances for inference components are there at once."""
    found = {variant["VariantName"]: 0 if "Container" in variant else int(variant["Count"]) for variant in every_variant(fleet)}
    for member in members:
        if member.fleet == fleet["Id"] and member.is_ready and member.variant in found:
            found[member.variant] += 1
    return found


def wanted(document: dict[str, Any], now: float) -> dict[str, Counts]:
    """How many replicas there should be just now, by fleet and variant."""
    fleet, incoming = document.get("_Fleet"), document.get("_Incoming")
    if fleet is None or incoming is None:
        return {only["Id"]: counts_of(only) for only in (fleet, incoming) if only is not None}
    new, old = counts_of(incoming), counts_of(fleet)
    plan, at, state = _plan(document), _position(document), _state(document)
    if not _goes_back(document):
        return {incoming["Id"]: rules.launched(plan, new, at, now), fleet["Id"]: rules.kept(plan, new, old, at, now)}
    left = {name: portion.instances for name, portion in portions(document).items()}
    restored = rules.restored(plan, old, state["Rest"], state["Back"] + 1)
    return {incoming["Id"]: dict.fromkeys(new, 0) if state.get("Gone") else left, fleet["Id"]: restored}


def portions(document: dict[str, Any]) -> dict[str, Portion]:
    """What the incoming fleet's variants have of the traffic just now."""
    new, state, plan = counts_of(document["_Incoming"]), _state(document), _plan(document)
    if not _goes_back(document):
        return {name: rules.portion_at(plan, count, state["Step"]) for name, count in new.items()}
    old = counts_of(document["_Fleet"])
    share = 1 - rules.share_of(rules.restored(plan, old, state["Rest"], state["Back"]), old)
    return {name: Portion(math.ceil(round(count * share, 9)), share) for name, count in new.items()}


def next_move(ctx: Ctx, document: dict[str, Any], members: Sequence[Member]) -> Move:
    """What the deployment, or its way back, should do now."""
    state, plan = _state(document), _plan(document)
    if _goes_back(document):
        fleet = document["_Fleet"]
        return rules.decide_back(plan, counts_of(fleet), state["Rest"], state["Back"], ready_of(fleet, members))
    incoming = document["_Incoming"]
    alarms = [alarm["AlarmName"] for alarm in _alarms(ctx, alarm_names(state["Config"])) if alarm["StateValue"] == "ALARM"]
    return rules.decide(plan, counts_of(incoming), _position(document), ready_of(incoming, members), alarms, ctx.now().timestamp())


def shift(ctx: Ctx, document: dict[str, Any]) -> None:
    """Take the next step, forth or back."""
    state = document["_Deployment"] = _state(document)
    if _goes_back(document):
        state["Back"] += 1
    else:
        state |= {"Step": state["Step"] + 1, "Since": ctx.now().timestamp(), "Stage": ACTIVATING}


def turn_back(ctx: Ctx, document: dict[str, Any], reason: str) -> None:
    """From now on the old fleet returns."""
    incoming, fleet, now = document["_Incoming"], document["_Fleet"], ctx.now().timestamp()
    rest = rules.kept(_plan(document), counts_of(incoming), counts_of(fleet), _position(document), now)
    document["_Deployment"] = _state(document) | {"Back": 0, "Rest": rest, "Reason": reason}


def goes_back(document: dict[str, Any]) -> bool:
    """Whether the deployment is on its way back."""
    return "_Incoming" in document and _goes_back(document)


def baked_in(document: dict[str, Any], now: float) -> float:
    """Seconds until the present step has baked; 0 when it has, or on the way back."""
    if "_Incoming" not in document or _goes_back(document):
        return 0.0
    return max(0.0, rules.baked_at(_plan(document), counts_of(document["_Incoming"]), _position(document)) - now)


# ---------------------------------------------------------------- as it is told


def enter_stage(ctx: Ctx, document: dict[str, Any], stage: str) -> None:
    """The deployment is in another stage: its summary says so."""
    document["_Deployment"] = _state(document) | {"Stage": stage}
    show(ctx, document)


def show(ctx: Ctx, document: dict[str, Any]) -> None:
    """Bring PendingDeploymentSummary, and the old variants' entries, up to date."""
    given, there = portions(document), wanted(document, ctx.now().timestamp())
    pending, back = document["PendingDeploymentSummary"], _goes_back(document)
    entries = [*pending["ProductionVariants"], *pending.get("ShadowProductionVariants", ())]
    for entry, variant in zip(entries, every_variant(document["_Incoming"]), strict=True):
        portion = given[entry["VariantName"]]
        entry["CurrentInstanceCount"] = portion.instances
        entry["CurrentWeight"] = variant["Weight"] if portion.instances else 0.0
        entry["VariantStatus"] = [_status(ctx, document, int(variant["Count"]), portion, back=back)]
    kept = there.get(document.get("_Fleet", {}).get("Id"), {})
    for entry in document.get("ProductionVariants", ()):
        count = min(kept.get(entry["VariantName"], 0), entry["DesiredInstanceCount"])
        gone = entry["CurrentInstanceCount"] - count
        entry["CurrentInstanceCount"] = count
        entry.pop("VariantStatus", None)
        if gone > 0:
            entry["VariantStatus"] = [{"Status": DELETING, "StatusMessage": f"Terminating {gone} instance(s).", "StartTime": ctx.now()}]


def _status(ctx: Ctx, document: dict[str, Any], count: int, portion: Portion, *, back: bool) -> dict[str, Any]:
    """One entry of VariantStatus, its message as AWS writes it."""
    plan, state = _plan(document), _state(document)
    stage = DELETING if back else state["Stage"]
    whole = portion.share >= 1
    capacity = f"{'full' if whole else CAPACITIES.get(plan.kind, 'full')} capacity of {portion.instances} instance(s)"
    if stage == CREATING:
        first = rules.launched(plan, {"": count}, _position(document), ctx.now().timestamp())[""]
        message = f"Launching {first} instance(s)."
    elif stage == DELETING:
        message = f"Terminating {count} instance(s)."
    elif stage == ACTIVATING:
        message = f"Activating traffic on {capacity}."
    else:
        after = whole and plan.kind != rules.ROLLING
        seconds, name = (plan.termination_wait, "TerminationWaitInSeconds") if after else (plan.wait, "WaitIntervalInSeconds")
        message = f"Baking for {int(seconds)} seconds ({name}) with traffic enabled on {capacity}."
    return {"Status": stage, "StatusMessage": message, "StartTime": ctx.now()}


# ---------------------------------------------------------------- private


def _alarms(ctx: Ctx, names: list[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    found = ctx.call("cloudwatch", "DescribeAlarms", {"AlarmNames": names, "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]})
    return [*found["MetricAlarms"], *found["CompositeAlarms"]]


def _state(document: dict[str, Any]) -> dict[str, Any]:
    """What is remembered; an endpoint that is being created has nothing to remember."""
    found: dict[str, Any] = document.get("_Deployment") or {"Config": None, "Step": 0, "Since": 0.0, "Begun": 0.0, "Stage": CREATING}
    return found


def _plan(document: dict[str, Any]) -> Plan:
    return rules.read_plan(_state(document)["Config"])


def _position(document: dict[str, Any]) -> Position:
    state = _state(document)
    return Position(state["Step"], state["Since"], state["Begun"])


def _goes_back(document: dict[str, Any]) -> bool:
    return _state(document).get("Back") is not None
