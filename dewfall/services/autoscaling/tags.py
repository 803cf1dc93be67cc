"""Tags of scalable targets: a map in this service, where others have lists."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.errors import AwsError
from dewfall.services.autoscaling.places import SERVICE
from dewfall.services.common import get_tags, put_tags, remove_tags
from dewfall.services.registry import operation


@operation("application-autoscaling", "TagResource")
def tag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _check(ctx, tx, req["ResourceARN"])
        put_tags(tx, ctx, req["ResourceARN"], [{"Key": name, "Value": value} for name, value in req["Tags"].items()])
    return {}


@operation("application-autoscaling", "UntagResource")
def untag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _check(ctx, tx, req["ResourceARN"])
        remove_tags(tx, ctx, req["ResourceARN"], req["TagKeys"])
    return {}


@operation("application-autoscaling", "ListTagsForResource")
def list_tags_for_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        _check(ctx, tx, req["ResourceARN"])
        return {"Tags": {tag["Key"]: tag["Value"] for tag in get_tags(tx, ctx, req["ResourceARN"])}}


def _check(ctx: Ctx, tx: Tx, arn: str) -> None:
    targets = tx.records.list(ctx.account, ctx.region, SERVICE, "target")
    if arn not in [record.document["ScalableTargetARN"] for record in targets]:
        raise AwsError("ResourceNotFoundException", f"The specified resource doesn't exist: {arn}", status=400, ResourceName=arn)
