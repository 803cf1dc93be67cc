"""Resource policies: kept and shown. What writes to logs here is the server itself, so nothing asks them for leave."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record
from dewfall.errors import AwsError
from dewfall.services.common import with_token
from dewfall.services.logs.places import invalid, page_of
from dewfall.services.registry import operation

KIND = "resource-policy"
LIMIT = 10  # policies of an account in a region


@operation("logs", "PutResourcePolicy", records=True)
def put_resource_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if req.get("resourceArn"):
        raise AwsError("NotImplemented", "Dewfall has not built resource policies of single log groups yet.", status=501)
    for member in ("policyName", "policyDocument"):
        if not req.get(member):
            raise invalid(f"{member} is required.")
    document = {"policyName": req["policyName"], "policyDocument": req["policyDocument"], "policyScope": "ACCOUNT"}
    document["lastUpdatedTime"] = int(ctx.now().timestamp() * 1000)
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(_key(ctx, req["policyName"]))
        if record is not None:
            record.document = document
            tx.records.save(record)
        elif len(tx.records.list(ctx.account, ctx.region, "logs", KIND)) >= LIMIT:
            raise AwsError("LimitExceededException", "Resource limit exceeded.", status=400)
        else:
            tx.records.create(Record(_key(ctx, req["policyName"]), document))
    return {"resourcePolicy": document}


@operation("logs", "DescribeResourcePolicies", records=True)
def describe_resource_policies(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "logs", KIND)
    kept = [] if req.get("policyScope") == "RESOURCE" or req.get("resourceArn") else records
    shown, token = page_of(kept, req, lambda record: record.key.name)
    return with_token({"resourcePolicies": [record.document for record in shown]}, token, "nextToken")


@operation("logs", "DeleteResourcePolicy", records=True)
def delete_resource_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req.get("policyName", "")
    with ctx.ports.store.transaction() as tx:
        if not tx.records.delete(_key(ctx, name)):
            raise AwsError("ResourceNotFoundException", f"Policy with name [{name}] does not exist.", status=400)
    return {}


def _key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, ctx.region, "logs", KIND, name)
