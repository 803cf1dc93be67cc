"""Tags of alarms and dashboards, by ARN."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Tx
from dewfall.errors import AwsError
from dewfall.services.common import get_tags, put_tags, remove_tags
from dewfall.services.registry import operation


@operation("cloudwatch", "TagResource")
def tag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _check(ctx, tx, req["ResourceARN"])
        put_tags(tx, ctx, req["ResourceARN"], req["Tags"])
    return {}


@operation("cloudwatch", "UntagResource")
def untag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _check(ctx, tx, req["ResourceARN"])
        remove_tags(tx, ctx, req["ResourceARN"], req["TagKeys"])
    return {}


@operation("cloudwatch", "ListTagsForResource")
def list_tags_for_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        _check(ctx, tx, req["ResourceARN"])
        return {"Tags": get_tags(tx, ctx, req["ResourceARN"])}


def _check(ctx: Ctx, tx: Tx, arn: str) -> None:
    """The resource must be there."""
    kind, _, name = arn.split(":", 5)[-1].partition(":")
    if kind.startswith("dashboard/"):
        kind, name = "dashboard", kind.removeprefix("dashboard/")
    if tx.records.get(Key(ctx.account, "" if kind == "dashboard" else ctx.region, "cloudwatch", kind, name)) is None:
        raise AwsError("ResourceNotFoundException", "Unknown", status=404, ResourceType=kind, ResourceId=name)
