"""Tags by ARN: of a bucket, which are the same that PutBucketTagging puts, and of an access point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.buckets import need_bucket
from dewfall.engine.ports import Record, Tx
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import check_owner
from dewfall.services.s3.tagging import BUCKET_LIMIT, read_set, tag_set
from dewfall.services.s3control.access_points import need_point

Tags = dict[str, str]


@operation("s3control", "ListTagsForResource")
def list_tags_for_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"Tags": tag_set(_holder(ctx, tx, req)[1].get("Tags", {}))}


@operation("s3control", "TagResource")
def tag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    added = read_set(req.get("Tags"), BUCKET_LIMIT)
    return _change(ctx, req, lambda tags: read_set(tag_set(tags | added), BUCKET_LIMIT))


@operation("s3control", "UntagResource")
def untag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _change(ctx, req, lambda tags: {name: value for name, value in tags.items() if name not in req["TagKeys"]})


def _change(ctx: Ctx, req: dict[str, Any], change: Callable[[Tags], Tags]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record, holder = _holder(ctx, tx, req)
        holder["Tags"] = change(holder.get("Tags", {}))
        tx.records.save(record)
    return {"_status": 204}


def _holder(ctx: Ctx, tx: Tx, req: dict[str, Any]) -> tuple[Record, dict[str, Any]]:
    """The record that an ARN means, and where in it its tags are."""
    name = req["ResourceArn"].split(":", 5)[-1]
    if name.startswith("accesspoint/"):
        record = need_point(ctx, tx, {"AccountId": req["AccountId"], "Name": name})
        return record, record.document
    if "/" in name or not name or not req["ResourceArn"].startswith("arn:"):
        raise AwsError("InvalidRequest", "The resource ARN is not valid.", status=400)
    record = need_bucket(tx, name)
    check_owner(record.document, req["AccountId"])
    return record, record.document["Settings"]
