"""Events on their way: matched against the rules of their bus and brought to each target; schedules that have come due.

Runs behind the outbox, so that an event leaves only with the change it tells of, and arrives at least once.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Message, Record
from dewfall.errors import AwsError
from dewfall.rules import cron
from dewfall.rules.patterns import matches
from dewfall.services.events.archives import keep
from dewfall.services.events.buses import DEFAULT, event_of
from dewfall.services.events.http_targets import invoke
from dewfall.services.events.rules import is_delivered

log = logging.getLogger(__name__)
ABSENT = ("ResourceNotFoundException", "NotFound", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_PLACE = re.compile(r"<([A-Za-z0-9_.-]+)>")


def deliver(ctx: Ctx, message: Message) -> None:
    """An event of the outbox → the targets of every rule that it fits; a replayed one only to the rules that its replay names, if any."""
    event = dict(message.body)
    bus, only = event.pop("event-bus-name", DEFAULT), event.pop("rule-arns", None)
    with ctx.ports.store.reading() as tx:
        rules = tx.records.list(ctx.account, ctx.region, "events", "rule", parent=bus, status="ENABLED")
    for rule in rules:
        pattern = rule.document.get("EventPattern")
        if not pattern or (only and rule.document["Arn"] not in only) or not matches(json.loads(pattern), event):
            continue
        if "_archive" in rule.document:
            keep(ctx, rule.document["_archive"], event)
        else:
            _to_targets(ctx, rule, event)


def _to_targets(ctx: Ctx, rule: Record, event: dict[str, Any]) -> None:
    for target in rule.document["Targets"]:
        try:
            _send(ctx, rule, target, event)
        except AwsError as error:
            log.warning("event not delivered rule=%s target=%s problem=%s", rule.key.name, target["Arn"], error)
            _count_failure(ctx, rule)
            _to_dead_letters(ctx, rule, target, event, error)


def _count_failure(ctx: Ctx, rule: Record) -> None:
    dimensions = {"RuleName": rule.document["Name"]}
    ctx.ports.series.append_metric(ctx.account, ctx.region, "AWS/Events", "FailedInvocations", dimensions, 1.0, ctx.now(), "Count")


def _to_dead_letters(ctx: Ctx, rule: Record, target: dict[str, Any], event: dict[str, Any], error: AwsError) -> None:
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    if queue:
        facts = {
            "RULE_ARN": rule.document["Arn"],
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": "NO_RESOURCE" if error.code in ABSENT else "SDK_CLIENT_ERROR",
            "ERROR_MESSAGE": error.message,
        }
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in facts.items()}
        try:
            ctx.call("sqs", "SendMessage", {"QueueUrl": queue, "MessageBody": _json(event), "MessageAttributes": attributes})
        except AwsError as problem:  # the event must not be delivered again to all the other targets
            log.warning("dead letter not delivered rule=%s queue=%s problem=%s", rule.key.name, queue, problem)


def _send(ctx: Ctx, rule: Record, target: dict[str, Any], event: dict[str, Any]) -> None:
    text = message_of(rule.document["Arn"], rule.document["Name"], target, event)
    service = target["Arn"].split(":")[2]
    if not is_delivered(target["Arn"]):  # AWS takes targets that are not there, too, and finds out here
        raise AwsError("ResourceNotFoundException", f"Dewfall has no {service} resource {target['Arn']}.", status=400)
    if service == "sqs":
        request: dict[str, Any] = {"QueueUrl": target["Arn"], "MessageBody": text}
        if target["Arn"].endswith(".fifo"):
            group = (target.get("SqsParameters") or {}).get("MessageGroupId") or rule.document["Name"]
            request["MessageGroupId"] = group  # no deduplication id: EventBridge counts on the queue's own, by content
        ctx.call("sqs", "SendMessage", request)
    elif service == "sns":
        ctx.call("sns", "Publish", {"TopicArn": target["Arn"], "Message": text})
    elif service == "logs":
        group = target["Arn"].partition(":log-group:")[2].removesuffix(":*")
        if not group:
            raise AwsError("ResourceNotFoundException", f"{target['Arn']} is no log group.", status=400)
        moment = int(ctx.now().timestamp() * 1000)
        ctx.ports.series.append_logs(ctx.account, ctx.region, group, f"{event['id'][:8]}_{rule.document['Name']}", [(moment, text)])
    elif ":api-destination/" in target["Arn"]:
        invoke(ctx, target, text)
    else:
        bus = target["Arn"].rsplit("/", 1)[-1]
        with ctx.ports.store.transaction() as tx:
            tx.outbox.put("aws.events", ctx.account, ctx.region, event | {"event-bus-name": bus})


def message_of(rule_arn: str, rule_name: str, target: dict[str, Any], event: dict[str, Any]) -> str:
    """What a target receives: the event, a constant, a part of the event, or a text made of its parts."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return _json(pick(event, target["InputPath"]))
    if "InputTransformer" in target:
        transformer = target["InputTransformer"]
        values = {name: pick(event, path, missing="") for name, path in (transformer.get("InputPathsMap") or {}).items()}
        values |= {"aws.events.rule-arn": rule_arn, "aws.events.rule-name": rule_name, "aws.events.event.ingestion-time": event["time"]}
        values |= {"aws.events.event": {k: v for k, v in event.items() if k != "detail"}, "aws.events.event.json": event}
        return filled(transformer["InputTemplate"], values)
    return _json(event)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def pick(event: Any, path: str, missing: Any = None) -> Any:
    """EventBridge's JSON paths: `$.detail.items[0].name`; `missing` where there is nothing."""
    found = event
    for name, index in re.findall(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]", path):
        try:
            found = found[int(index)] if index else found[name]
        except (KeyError, IndexError, TypeError):
            return missing
    return found


def filled(template: str, values: dict[str, Any]) -> str:
    """A template with its `<names>` replaced: outside quotes as JSON, inside as text, where JSON loses its own quotes.

    >>> filled('{"id": <id>, "told": "<item> by <nobody>"}', {"id": 7, "item": {"a": ["b"]}, "nobody": ""})
    '{"id": 7, "told": "{a:[b]} by "}'
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            return found[0]
        known = values[found[1]]
        quoted = template.count('"', 0, found.start()) % 2 == 1
        if quoted:
            return known if isinstance(known, str) else _json(known).replace('"', "")
        return _json(known) if template.lstrip().startswith(("{", "[")) or not isinstance(known, str) else known

    return _PLACE.sub(value, template)


# ---------------------------------------------------------------- schedules


def tick(ctx: Ctx) -> None:
    """Fire every enabled rule whose schedule has come due since it last fired."""
    with ctx.ports.store.reading() as tx:
        rules = [r for r in tx.records.scan("events", "rule", status="ENABLED") if "ScheduleExpression" in r.document]
    for rule in rules:
        due = cron.next_time(rule.document["ScheduleExpression"], rule.document["_since"], rule.document["_since"])
        if due is not None and due <= ctx.now():
            _fire(replace(ctx, account=rule.key.account, region=rule.key.region), rule, due)


def _fire(ctx: Ctx, rule: Record, due: datetime) -> None:
    with ctx.ports.store.transaction() as tx:
        current = tx.records.get(rule.key)
        if current is None or current.version != rule.version:
            return
        current.document["_since"] = max(due, ctx.now()) if (ctx.now() - due).total_seconds() > 60 else due
        tx.records.save(current)
    _to_targets(ctx, rule, event_of(ctx, "aws.events", "Scheduled Event", {}, [rule.document["Arn"]], due))
