"""Model package groups: the versions of one model under a name. Create, describe, list, delete, and their resource policies as records."""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import drop_tags, name_of, order, page, put_tags, select, with_token
from dewfall.services.registry import operation

KIND, PACKAGE = "model-package-group", "model-package"
SUMMARY = (
    "ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription", "CreationTime", "ModelPackageGroupStatus",
    "ManagedConfiguration",
)  # fmt: skip


@operation("sagemaker", "CreateModelPackageGroup")
def create_model_package_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, arn = req["ModelPackageGroupName"], group_arn(ctx, req["ModelPackageGroupName"])
    document = {member: req[member] for member in SUMMARY if req.get(member) is not None}
    document |= {"ModelPackageGroupArn": arn, "ModelPackageGroupStatus": "Completed", "CreationTime": ctx.now(), "CreatedBy": {}, "_Versions": 0}
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(Record(group_key(ctx, name), document, "Completed"))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
    except AlreadyExists:
        raise validation(f"Model Package Group already exists: {arn}") from None
    return {"ModelPackageGroupArn": arn}


@operation("sagemaker", "DescribeModelPackageGroup")
def describe_model_package_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load_group(ctx, tx, req["ModelPackageGroupName"]).document


@operation("sagemaker", "ListModelPackageGroups")
def list_model_package_groups(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Groups of other accounts are not shared here: CrossAccount finds none."""
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    if req.get("CrossAccountFilterOption") == "CrossAccount":
        records = []
    shown, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    found = [{member: record.document[member] for member in SUMMARY if member in record.document} for record in shown]
    return with_token({"ModelPackageGroupSummaryList": found}, token)


@operation("sagemaker", "DeleteModelPackageGroup")
def delete_model_package_group(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load_group(ctx, tx, req["ModelPackageGroupName"])
        if tx.records.list(ctx.account, ctx.region, "sagemaker", PACKAGE, parent=record.key.name, limit=1):
            raise AwsError("ConflictException", "Model Package Group cannot be deleted because it still contains Model Packages.")
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document["ModelPackageGroupArn"])


@operation("sagemaker", "PutModelPackageGroupPolicy", records=True)
def put_model_package_group_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """The policy is kept; other accounts are not let in by it."""
    try:
        if "Statement" not in json.loads(req["ResourcePolicy"]):
            raise ValueError("there is no Statement")
    except (ValueError, TypeError) as error:
        raise validation(f"Invalid resource policy: {error}") from None
    with ctx.ports.store.transaction() as tx:
        record = load_group(ctx, tx, req["ModelPackageGroupName"])
        record.document["_Policy"] = req["ResourcePolicy"]
        tx.records.save(record)
        return {"ModelPackageGroupArn": record.document["ModelPackageGroupArn"]}


@operation("sagemaker", "GetModelPackageGroupPolicy", records=True)
def get_model_package_group_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"ResourcePolicy": _with_policy(load_group(ctx, tx, req["ModelPackageGroupName"])).document["_Policy"]}


@operation("sagemaker", "DeleteModelPackageGroupPolicy", records=True)
def delete_model_package_group_policy(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _with_policy(load_group(ctx, tx, req["ModelPackageGroupName"]))
        del record.document["_Policy"]
        tx.records.save(record)


def load_group(ctx: Ctx, tx: Tx, name_or_arn: str) -> Record:
    """A group's record; AWS's error when there is none."""
    name = name_of(name_or_arn)
    record = tx.records.get(group_key(ctx, name))
    if record is None:
        raise validation(f"ModelPackageGroup {group_arn(ctx, name)} does not exist.")
    return record


def group_key(ctx: Ctx, name: str) -> Key:
    """Where a group is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def group_arn(ctx: Ctx, name: str) -> str:
    """A group's ARN."""
    return ctx.arn("sagemaker", f"model-package-group/{name}")


def _with_policy(record: Record) -> Record:
    if "_Policy" not in record.document:
        raise validation(f"Cannot find resource policy for : {record.document['ModelPackageGroupArn']}")
    return record
