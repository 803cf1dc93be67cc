"""Tags of log groups, by name as they were once asked for, and by ARN."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.errors import AwsError
from dewfall.services.common import TAG_LIMIT, get_tags, put_tags, remove_tags
from dewfall.services.logs.places import find_group, group_arn, invalid, name_in
from dewfall.services.registry import operation


@operation("logs", "TagResource")
def tag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _tag(ctx, name_in(req["resourceArn"]), req["tags"])


@operation("logs", "TagLogGroup")
def tag_log_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _tag(ctx, req["logGroupName"], req["tags"])


@operation("logs", "ListTagsForResource")
def list_tags_for_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _list(ctx, name_in(req["resourceArn"]))


@operation("logs", "ListTagsLogGroup")
def list_tags_log_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _list(ctx, req["logGroupName"])


@operation("logs", "UntagResource")
def untag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _untag(ctx, name_in(req["resourceArn"]), req["tagKeys"])


@operation("logs", "UntagLogGroup")
def untag_log_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _untag(ctx, req["logGroupName"], req["tags"])


def _tag(ctx: Ctx, name: str, tags: dict[str, str]) -> dict[str, Any]:
    arn = group_arn(ctx, find_group(ctx, name).name)
    with ctx.ports.store.transaction() as tx:
        keys = {tag["Key"] for tag in get_tags(tx, ctx, arn)} | set(tags)
        if len(keys) > TAG_LIMIT:
            raise AwsError("TooManyTagsException", f"A resource can have at most {TAG_LIMIT} tags.", status=400, resourceName=arn)
        set_tags(ctx, tx, arn, tags)
    return {}


def set_tags(ctx: Ctx, tx: Tx, arn: str, tags: dict[str, str]) -> None:
    """Add tags; Logs says InvalidParameterException of those that nobody may have."""
    try:
        put_tags(tx, ctx, arn, [{"Key": key, "Value": value} for key, value in tags.items()])
    except AwsError as error:
        raise invalid(error.message) from None


def _list(ctx: Ctx, name: str) -> dict[str, Any]:
    arn = group_arn(ctx, find_group(ctx, name).name)
    with ctx.ports.store.reading() as tx:
        return {"tags": {tag["Key"]: tag["Value"] for tag in get_tags(tx, ctx, arn)}}


def _untag(ctx: Ctx, name: str, keys: list[str]) -> dict[str, Any]:
    arn = group_arn(ctx, find_group(ctx, name).name)
    with ctx.ports.store.transaction() as tx:
        remove_tags(tx, ctx, arn, keys)
    return {}
