"""SQS permissions: statements of a queue's policy by label, added and taken away."""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.sqs.attributes import invalid
from dewfall.services.sqs.queues import queue_of

SHARED = {
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
}
OWNERS = {"AddPermission", "CreateQueue", "DeleteQueue", "ListQueues", "RemovePermission", "SetQueueAttributes", "TagQueue", "UntagQueue"}
ACTIONS_LIMIT = 7


def _check(req: dict[str, Any]) -> None:
    actions, accounts = req["Actions"], req["AWSAccountIds"]
    if not actions:
        raise AwsError("MissingParameter", "The request must contain the parameter Actions.", status=400)
    if not accounts or not all(a.isdigit() and len(a) == 12 for a in accounts):
        raise invalid(f"Value {json.dumps(accounts)} for parameter PrincipalId is invalid. Reason: Unable to verify.")
    if len(actions) > ACTIONS_LIMIT:
        raise AwsError("OverLimit", f"{len(actions)} Actions were found, maximum allowed is {ACTIONS_LIMIT}.", status=403)
    for action in actions:
        if action in OWNERS:
            reason = "Only the queue owner is allowed to invoke this action."
            raise invalid(f"Value SQS:{action} for parameter ActionName is invalid. Reason: {reason}")
        if action not in SHARED:
            known = "Please refer to the appropriate WSDL for a list of valid actions. "
            raise invalid(f"Value SQS:{action} for parameter ActionName is invalid. Reason: {known}")


@operation("sqs", "AddPermission")
def add_permission(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        _check(req)
        arn, attributes = record.document["Arn"], record.document["Attributes"]
        fresh: dict[str, Any] = {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy", "Statement": []}
        policy: dict[str, Any] = json.loads(attributes["Policy"]) if attributes.get("Policy") else fresh
        if any(statement.get("Sid") == req["Label"] for statement in policy["Statement"]):
            raise invalid(f"Value {req['Label']} for parameter Label is invalid. Reason: Already exists.")
        statement = {
            "Sid": req["Label"],
            "Effect": "Allow",
            "Principal": {"AWS": _single([f"arn:{ctx.partition}:iam::{account}:root" for account in req["AWSAccountIds"]])},
            "Action": _single([f"SQS:{action}" for action in req["Actions"]]),
            "Resource": arn,
        }
        policy["Statement"].append(statement)
        attributes["Policy"] = json.dumps(policy)
        tx.records.save(record)


def _single(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


@operation("sqs", "RemovePermission")
def remove_permission(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = queue_of(tx, ctx, req["QueueUrl"])
        attributes = record.document["Attributes"]
        policy = json.loads(attributes.get("Policy") or '{"Statement": []}')
        left = [statement for statement in policy["Statement"] if statement.get("Sid") != req["Label"]]
        if len(left) == len(policy["Statement"]):
            raise invalid(f"Value {req['Label']} for parameter Label is invalid. Reason: can't find label.")
        if left:
            attributes["Policy"] = json.dumps(policy | {"Statement": left})
        else:
            del attributes["Policy"]
        tx.records.save(record)
