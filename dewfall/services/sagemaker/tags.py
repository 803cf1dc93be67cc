"""Tags of SageMaker resources, by ARN: AddTags, ListTags, DeleteTags.

Why one file for all: AWS keeps them by ARN too, whatever the resource is.
"""

from __future__ import annotations

import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Tx
from dewfall.errors import validation
from dewfall.services.common import TAG_LIMIT, get_tags, page, put_tags, remove_tags, with_token
from dewfall.services.registry import operation

ARN = re.compile(r"^arn:[^:]+:sagemaker:([^:]*):(\d{12}):([^/]+)/(.+)$")

# Resource types of ARNs whose records go by another name.
KINDS = {"experiment-trial": "trial", "experiment-trial-component": "trial-component"}


@operation("sagemaker", "AddTags")
def add_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _check_there(ctx, tx, req["ResourceArn"])
        tags = put_tags(tx, ctx, req["ResourceArn"], req["Tags"])
    return {"Tags": tags}


@operation("sagemaker", "ListTags")
def list_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        _check_there(ctx, tx, req["ResourceArn"])
        tags = get_tags(tx, ctx, req["ResourceArn"])
    shown, token = page(tags, req, key=lambda tag: tag["Key"], default=TAG_LIMIT)
    return with_token({"Tags": shown}, token)


@operation("sagemaker", "DeleteTags")
def delete_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _check_there(ctx, tx, req["ResourceArn"])
        remove_tags(tx, ctx, req["ResourceArn"], req["TagKeys"])
    return {}


def _check_there(ctx: Ctx, tx: Tx, arn: str) -> None:
    """Only what is there has tags; ARNs are compared as they are written."""
    match = ARN.match(arn)
    if match is None:
        raise validation(f"Invalid resource ARN: {arn}")
    region, account, resource, name = match.groups()
    kind = KINDS.get(resource, resource)
    named = tx.records.get(Key(ctx.account, ctx.region, "sagemaker", kind, name))
    found = [named] if named else tx.records.list(ctx.account, ctx.region, "sagemaker", kind)
    mine = (region, account) == (ctx.region, ctx.account)
    if not mine or not any(arn in (value for member, value in record.document.items() if member.endswith("Arn")) for record in found):
        raise validation("Resource does not exist.")
