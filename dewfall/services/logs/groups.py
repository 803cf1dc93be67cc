"""Log groups: made, listed, deleted."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import LogGroup
from dewfall.errors import AwsError
from dewfall.services.common import drop_tags, get_tags, with_token
from dewfall.services.logs.group_tags import set_tags
from dewfall.services.logs.places import NAME, find_group, group_arn, invalid, name_in, page_of
from dewfall.services.registry import operation


@operation("logs", "CreateLogGroup")
def create_log_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["logGroupName"]
    check_name("logGroupName", name)
    document = {"logGroupClass": req.get("logGroupClass", "STANDARD"), "deletionProtectionEnabled": req.get("deletionProtectionEnabled", False)}
    if req.get("kmsKeyId"):
        document["kmsKeyId"] = req["kmsKeyId"]
    with ctx.ports.store.transaction() as tx:
        if not ctx.ports.series.create_log_group(ctx.account, ctx.region, name, document):
            raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists", status=400)
        set_tags(ctx, tx, group_arn(ctx, name), req.get("tags", {}))
    return {}


@operation("logs", "DeleteLogGroup")
def delete_log_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        group = find_group(ctx, name_in(req["logGroupName"]))
        if group.document.get("deletionProtectionEnabled"):
            raise AwsError("ValidationException", "The log group cannot be deleted because it has deletion protection enabled.", status=400)
        ctx.ports.series.delete_log_group(group)
        drop_tags(tx, ctx, group_arn(ctx, group.name))
    return {}


@operation("logs", "DescribeLogGroups")
def describe_log_groups(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    prefix, pattern = req.get("logGroupNamePrefix"), req.get("logGroupNamePattern")
    if prefix and pattern:
        raise invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    groups = ctx.ports.series.log_groups(ctx.account, ctx.region, prefix or "")
    if pattern:
        groups = [group for group in groups if pattern in group.name]
    if req.get("logGroupIdentifiers"):
        wanted = {name_in(identifier) for identifier in req["logGroupIdentifiers"]}
        groups = [group for group in groups if group.name in wanted]
    if req.get("logGroupClass"):
        groups = [group for group in groups if _class(group) == req["logGroupClass"]]
    shown, token = page_of(groups, req, lambda group: group.name)
    return with_token({"logGroups": [_description(ctx, group) for group in shown]}, token, "nextToken")


@operation("logs", "ListLogGroups")
def list_log_groups(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    groups = ctx.ports.series.log_groups(ctx.account, ctx.region)
    pattern = req.get("logGroupNamePattern", "")
    names = [part for part in pattern.replace("^", "\n^").split("|") if part] if pattern else [""]
    kept = [group for group in groups if any(_name_matches(group.name, part.strip()) for part in names)]
    if req.get("logGroupClass"):
        kept = [group for group in kept if _class(group) == req["logGroupClass"]]
    if req.get("logGroupTags"):
        kept = [group for group in kept if _has_tags(ctx, group, req["logGroupTags"])]
    shown, token = page_of(kept, req, lambda group: group.name)
    summaries = [{"logGroupName": g.name, "logGroupArn": group_arn(ctx, g.name), "logGroupClass": _class(g)} for g in shown]
    return with_token({"logGroups": summaries}, token, "nextToken")


@operation("logs", "PutLogGroupDeletionProtection")
def put_log_group_deletion_protection(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction():
        group = find_group(ctx, name_in(req["logGroupIdentifier"]))
        group.document["deletionProtectionEnabled"] = req["deletionProtectionEnabled"]
        ctx.ports.series.save_log_group(group)
    return {}


@operation("logs", "AssociateKmsKey")
def associate_kms_key(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """The key is told again and encrypts nothing, as one named when the group is made."""
    return _set_key(ctx, req, req["kmsKeyId"])


@operation("logs", "DisassociateKmsKey")
def disassociate_kms_key(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _set_key(ctx, req, "")


def _set_key(ctx: Ctx, req: dict[str, Any], key: str) -> dict[str, Any]:
    if bool(req.get("logGroupName")) == bool(req.get("resourceIdentifier")):
        raise invalid("Either logGroupName or resourceIdentifier must be specified, but not both.")
    with ctx.ports.store.transaction():
        group = find_group(ctx, name_in(req.get("logGroupName") or req["resourceIdentifier"].split(":*")[0]))
        group.document["kmsKeyId"] = key
        ctx.ports.series.save_log_group(group)
    return {}


def check_name(member: str, name: str) -> None:
    """What AWS says of a group's name that is none."""
    if not NAME.fullmatch(name):
        pattern = "[\\.\\-_/#A-Za-z0-9]+"
        raise invalid(
            f"1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {pattern}"
        )
    if name.lower().startswith("aws/"):
        raise invalid("Log groups starting with AWS/ are reserved for AWS.")


def _description(ctx: Ctx, group: LogGroup) -> dict[str, Any]:
    arn = group_arn(ctx, group.name)
    document: dict[str, Any] = {
        "logGroupName": group.name,
        "creationTime": group.created,
        "metricFilterCount": len(group.document.get("metricFilters", {})),
        "arn": arn + ":*",
        "logGroupArn": arn,
        "storedBytes": group.size,
        "logGroupClass": _class(group),
        "deletionProtectionEnabled": group.document.get("deletionProtectionEnabled", False),
    }
    if group.retention:
        document["retentionInDays"] = group.retention
    if group.document.get("kmsKeyId"):
        document["kmsKeyId"] = group.document["kmsKeyId"]
    return document


def _class(group: LogGroup) -> str:
    return str(group.document.get("logGroupClass", "STANDARD"))


def _name_matches(name: str, part: str) -> bool:
    return name.startswith(part[1:]) if part.startswith("^") else part in name


def _has_tags(ctx: Ctx, group: LogGroup, wanted: list[dict[str, Any]]) -> bool:
    with ctx.ports.store.reading() as tx:
        tags = {tag["Key"]: tag["Value"] for tag in get_tags(tx, ctx, group_arn(ctx, group.name))}
    return all(item["key"] in tags and (not item.get("values") or tags[item["key"]] in item["values"]) for item in wanted)
