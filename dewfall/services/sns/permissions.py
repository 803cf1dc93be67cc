"""SNS permissions: statements of a topic's policy by label, added and taken away."""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.sns.filters import invalid
from dewfall.services.sns.topics import ACTIONS, default_policy, topic_of


@operation("sns", "AddPermission")
def add_permission(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = topic_of(tx, req["TopicArn"], ctx.region)
        attributes = record.document["Attributes"]
        policy = json.loads(attributes.get("Policy") or default_policy(record.key.account, req["TopicArn"]))
        if any(statement.get("Sid") == req["Label"] for statement in policy["Statement"]):
            raise invalid("Statement already exists")
        if any(action not in ACTIONS for action in req["ActionName"]):
            raise invalid("Policy statement action out of service scope!")
        principals = [f"arn:{ctx.partition}:iam::{account}:root" for account in req["AWSAccountId"]]
        statement = {
            "Sid": req["Label"],
            "Effect": "Allow",
            "Principal": {"AWS": _single(principals)},
            "Action": _single([f"SNS:{action}" for action in req["ActionName"]]),
            "Resource": req["TopicArn"],
        }
        policy["Statement"].append(statement)
        attributes["Policy"] = json.dumps(policy)
        tx.records.save(record)


def _single(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


@operation("sns", "RemovePermission")
def remove_permission(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = topic_of(tx, req["TopicArn"], ctx.region)
        attributes = record.document["Attributes"]
        policy = json.loads(attributes.get("Policy") or default_policy(record.key.account, req["TopicArn"]))
        left = [statement for statement in policy["Statement"] if statement.get("Sid") != req["Label"]]
        if len(left) == len(policy["Statement"]):
            raise AwsError("NotFound", "Label does not exist", status=404)
        attributes["Policy"] = json.dumps(policy | {"Statement": left})
        tx.records.save(record)
