"""EventBridge rules and their targets.

A rule's record is named `<bus>/<rule>`, its parent is the bus; its targets are in the same document, in the order they were put.
"""

from __future__ import annotations

import logging
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.rules import cron
from dewfall.rules.patterns import InvalidPattern, check_pattern
from dewfall.services.common import drop_tags, get_tags, page, put_tags, remove_tags, with_token
from dewfall.services.events.buses import DEFAULT, bus_name, check_bus
from dewfall.services.registry import operation

DELIVERED = ("sqs", "sns", "logs", "events")
TARGETS_LIMIT = 5

log = logging.getLogger(__name__)


def rule_key(ctx: Ctx, bus: str, name: str) -> Key:
    """A rule's record."""
    return Key(ctx.account, ctx.region, "events", "rule", f"{bus}/{name}")


def rule_of(tx: Tx, ctx: Ctx, req: dict[str, Any], member: str = "Name") -> Record:
    """The rule, or ResourceNotFoundException."""
    bus = bus_name(req.get("EventBusName"))
    check_bus(tx, ctx, bus)
    record = tx.records.get(rule_key(ctx, bus, req[member]))
    if record is None:
        raise AwsError("ResourceNotFoundException", f"Rule {req[member]} does not exist on EventBus {bus}.", status=400)
    return record


def _own_rule(tx: Tx, ctx: Ctx, req: dict[str, Any], member: str = "Name") -> Record:
    """A rule that the account may change."""
    return _check_own(rule_of(tx, ctx, req, member), req, member)


def _check_own(record: Record, req: dict[str, Any], member: str = "Name") -> Record:
    """The rule; ManagedRuleException where it is one of AWS's own, which needs Force."""
    if "ManagedBy" in record.document and not req.get("Force"):
        message = f"Rule {req[member]} is managed by {record.document['ManagedBy']} and can't be changed."
        raise AwsError("ManagedRuleException", message, status=400)
    return record


def rule_arn(ctx: Ctx, bus: str, name: str) -> str:
    """What a rule is called by; those of the default bus leave it out."""
    return ctx.arn("events", f"rule/{name}" if bus == DEFAULT else f"rule/{bus}/{name}")


@operation("events", "PutRule")
def put_rule(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    bus, name = bus_name(req.get("EventBusName")), req["Name"]
    schedule, pattern = req.get("ScheduleExpression"), req.get("EventPattern")
    if not schedule and not pattern:
        raise AwsError("ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified.", status=400)
    if pattern:
        try:
            check_pattern(pattern)
        except InvalidPattern as problem:
            raise AwsError("InvalidEventPatternException", f"Event pattern is not valid. Reason: {problem}", status=400) from None
    if schedule:
        _check_schedule(schedule, bus)
    document = {"Name": name, "Arn": rule_arn(ctx, bus, name), "State": req.get("State") or "ENABLED", "EventBusName": bus, "Targets": []}
    document |= {m: req[m] for m in ("EventPattern", "ScheduleExpression", "Description", "RoleArn") if req.get(m)}
    if schedule:
        document["_since"] = ctx.now()
    with ctx.ports.store.transaction() as tx:
        check_bus(tx, ctx, bus)
        record = tx.records.get(rule_key(ctx, bus, name))
        if record is None:
            tx.records.create(Record(rule_key(ctx, bus, name), document, status=document["State"], parent=bus))
            put_tags(tx, ctx, document["Arn"], req.get("Tags") or [])
        else:
            _check_own(record, req)
            record.document, record.status = document | {"Targets": record.document["Targets"]}, document["State"]
            tx.records.save(record)
    return {"RuleArn": document["Arn"]}


def _check_schedule(schedule: str, bus: str) -> None:
    if bus != DEFAULT:
        raise AwsError("ValidationException", "ScheduleExpression is supported only on the default event bus.", status=400)
    try:
        if schedule.startswith("at("):
            raise ValueError
        cron.parse(schedule)
    except ValueError:
        raise AwsError("ValidationException", "Parameter ScheduleExpression is not valid.", status=400) from None


def _shown(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if not name.startswith("_") and name != "Targets"}


@operation("events", "DescribeRule")
def describe_rule(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return _shown(rule_of(tx, ctx, req).document) | {"CreatedBy": ctx.account}


@operation("events", "ListRules")
def list_rules(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    bus = bus_name(req.get("EventBusName"))
    with ctx.ports.store.reading() as tx:
        check_bus(tx, ctx, bus)
        records = tx.records.list(ctx.account, ctx.region, "events", "rule", parent=bus)
    found = [_shown(r.document) for r in records if r.document["Name"].startswith(req.get("NamePrefix") or "")]
    taken, token = page(found, req, key=lambda r: str(r["Name"]), limit_member="Limit")
    return with_token({"Rules": taken}, token)


@operation("events", "ListRuleNamesByTarget")
def list_rule_names_by_target(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    bus = bus_name(req.get("EventBusName"))
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "events", "rule", parent=bus)
    names = [r.document["Name"] for r in records if any(t["Arn"] == req["TargetArn"] for t in r.document["Targets"])]
    taken, token = page(names, req, key=str, limit_member="Limit")
    return with_token({"RuleNames": taken}, token)


def _set_state(ctx: Ctx, req: dict[str, Any], state: str) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _own_rule(tx, ctx, req)
        record.document["State"] = record.status = state
        if state == "ENABLED" and "ScheduleExpression" in record.document:
            record.document["_since"] = ctx.now()
        tx.records.save(record)


@operation("events", "EnableRule")
def enable_rule(ctx: Ctx, req: dict[str, Any]) -> None:
    _set_state(ctx, req, "ENABLED")


@operation("events", "DisableRule")
def disable_rule(ctx: Ctx, req: dict[str, Any]) -> None:
    _set_state(ctx, req, "DISABLED")


@operation("events", "DeleteRule")
def delete_rule(ctx: Ctx, req: dict[str, Any]) -> None:
    bus = bus_name(req.get("EventBusName"))
    with ctx.ports.store.transaction() as tx:
        check_bus(tx, ctx, bus)
        record = tx.records.get(rule_key(ctx, bus, req["Name"]))
        if record is None:
            return
        _check_own(record, req)
        if record.document["Targets"]:
            raise AwsError("ValidationException", "Rule can't be deleted since it has targets.", status=400)
        drop_tags(tx, ctx, record.document["Arn"])
        tx.records.delete(record.key)


# ---------------------------------------------------------------- targets


@operation("events", "PutTargets")
def put_targets(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Targets are looked for when an event comes, as on AWS: one of a service that Dewfall does not have is none that is there."""
    for target in req["Targets"]:
        _check_target(target)
    with ctx.ports.store.transaction() as tx:
        record = _own_rule(tx, ctx, req, "Rule")
        targets = {t["Id"]: t for t in record.document["Targets"]}
        targets |= {target["Id"]: target for target in req["Targets"]}
        if len(targets) > TARGETS_LIMIT:
            raise AwsError("LimitExceededException", "The requested resource exceeds the maximum number allowed.", status=400)
        record.document["Targets"] = list(targets.values())
        tx.records.save(record)
    return {"FailedEntryCount": 0, "FailedEntries": []}


def is_delivered(arn: str) -> bool:
    """Whether Dewfall has what a target's ARN means; of EventBridge's own resources, buses and API destinations."""
    service = arn.split(":")[2]
    return ":event-bus/" in arn or ":api-destination/" in arn if service == "events" else service in DELIVERED


def _check_target(target: dict[str, Any]) -> None:
    if target["Arn"].count(":") < 5:
        message = f"Parameter {target['Arn']} is not valid. Reason: Provided Arn is not in correct format."
        raise AwsError("ValidationException", message, status=400)
    if target["Arn"].endswith(".fifo") and not (target.get("SqsParameters") or {}).get("MessageGroupId"):
        raise AwsError("ValidationException", f"Parameter(s) SqsParameters must be specified for target: {target['Id']}.", status=400)
    if sum(member in target for member in ("Input", "InputPath", "InputTransformer")) > 1:
        message = f"Only one of Input, InputPath, or InputTransformer must be provided for target {target['Id']}."
        raise AwsError("ValidationException", message, status=400)
    if not is_delivered(target["Arn"]):
        log.warning(
            "events to this target will not arrive, Dewfall delivers to %s (buses, API destinations) only target=%s",
            ", ".join(DELIVERED),
            target["Arn"],
        )


@operation("events", "ListTargetsByRule")
def list_targets_by_rule(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        targets = rule_of(tx, ctx, req, "Rule").document["Targets"]
    taken, token = page(targets, req, key=lambda t: str(t["Id"]), limit_member="Limit")
    return with_token({"Targets": taken}, token)


@operation("events", "RemoveTargets")
def remove_targets(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = _own_rule(tx, ctx, req, "Rule")
        record.document["Targets"] = [t for t in record.document["Targets"] if t["Id"] not in req["Ids"]]
        tx.records.save(record)
    return {"FailedEntryCount": 0, "FailedEntries": []}


# ---------------------------------------------------------------- tags


@operation("events", "TagResource")
def tag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _check_tagged(tx, ctx, req["ResourceARN"])
        put_tags(tx, ctx, req["ResourceARN"], req["Tags"])
    return {}


@operation("events", "UntagResource")
def untag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _check_tagged(tx, ctx, req["ResourceARN"])
        remove_tags(tx, ctx, req["ResourceARN"], req["TagKeys"])
    return {}


@operation("events", "ListTagsForResource")
def list_tags_for_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        _check_tagged(tx, ctx, req["ResourceARN"])
        return {"Tags": get_tags(tx, ctx, req["ResourceARN"])}


def _check_tagged(tx: Tx, ctx: Ctx, arn: str) -> None:
    """ResourceNotFoundException for the tags of a rule or bus that is not there."""
    kind, _, name = arn.split(":", 5)[-1].partition("/")
    if kind == "event-bus":
        check_bus(tx, ctx, name)
    elif kind == "rule":
        bus, _, rule = name.rpartition("/")
        rule_of(tx, ctx, {"Name": rule, "EventBusName": bus or None})
