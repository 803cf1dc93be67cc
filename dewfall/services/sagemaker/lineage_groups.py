"""Lineage groups: an account has one by default, from its first lineage entity on, and all its entities belong to it.

Why it has no record: it can be neither made nor changed, and what it says follows from the entities.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.errors import AwsError
from dewfall.services.common import page, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker import lineage
from dewfall.services.sagemaker.experiments import COMPONENT

KINDS = (*(f"lineage-{kind}" for kind in lineage.WORDS), COMPONENT)


@operation("sagemaker", "ListLineageGroups")
def list_lineage_groups(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        found = default_group(ctx, tx)
    after, before = req.get("CreatedAfter"), req.get("CreatedBefore")
    held = [] if found is None else [found]
    held = [one for one in held if (after is None or one["CreationTime"] >= after) and (before is None or one["CreationTime"] <= before)]
    shown, token = page(held, req, key=lambda one: str(one["LineageGroupName"]), default=10)
    return with_token({"LineageGroupSummaries": shown}, token)


@operation("sagemaker", "DescribeLineageGroup")
def describe_lineage_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return need(ctx, tx, req["LineageGroupName"])


@operation("sagemaker", "GetLineageGroupPolicy")
def get_lineage_group_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Policies come about by sharing the group through AWS RAM, which is not here, so there is never one."""
    with ctx.ports.store.reading() as tx:
        group = need(ctx, tx, req["LineageGroupName"])
    raise AwsError("ResourceNotFound", f"Resource policy for lineage group '{group['LineageGroupName']}' does not exist.")


def need(ctx: Ctx, tx: Tx, name_or_arn: str) -> dict[str, Any]:
    """The group of a name or ARN; AWS's error when there is none."""
    found = default_group(ctx, tx)
    if found is None or name_or_arn not in (found["LineageGroupName"], found["LineageGroupArn"]):
        raise AwsError("ResourceNotFound", f"Lineage group '{lineage.name_in(name_or_arn)}' does not exist.")
    return found


def default_group(ctx: Ctx, tx: Tx) -> dict[str, Any] | None:
    """The account's group as it was made with the first entity; None before that."""
    times = [
        record.document["CreationTime"]
        for kind in KINDS
        for record in tx.records.list(ctx.account, ctx.region, "sagemaker", kind)
        if "CreationTime" in record.document
    ]
    if not times:
        return None
    made = min(times)
    group = {"LineageGroupName": lineage.GROUP, "LineageGroupArn": lineage.group_arn(ctx), "DisplayName": lineage.GROUP}
    return group | {"CreationTime": made, "CreatedBy": {}, "LastModifiedTime": made, "LastModifiedBy": {}}
