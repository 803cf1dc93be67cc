"""IAM groups and who is in them."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record
from dewfall.errors import AwsError
from dewfall.services.iam.entities import create, entity_key, find, listing
from dewfall.services.iam.users import conflict
from dewfall.services.registry import operation


@operation("iam", "CreateGroup")
def create_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        return {"Group": create(tx, ctx, "group", req, {})}


@operation("iam", "GetGroup")
def get_group(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        group = find(tx, ctx, "group", req["GroupName"]).document
        users = [r.document for r in tx.records.list(ctx.account, "", "iam", "user") if req["GroupName"] in r.document["_groups"]]
    return {"Group": group} | listing(users, req, "Users", "UserName")


@operation("iam", "ListGroups")
def list_groups(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return listing([r.document for r in tx.records.list(ctx.account, "", "iam", "group")], req, "Groups", "GroupName")


@operation("iam", "ListGroupsForUser")
def list_groups_for_user(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        names = find(tx, ctx, "user", req["UserName"]).document["_groups"]
        return listing([find(tx, ctx, "group", name).document for name in names], req, "Groups", "GroupName")


@operation("iam", "AddUserToGroup")
def add_user_to_group(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        find(tx, ctx, "group", req["GroupName"])
        user = find(tx, ctx, "user", req["UserName"])
        if req["GroupName"] not in user.document["_groups"]:
            user.document["_groups"].append(req["GroupName"])
            tx.records.save(user)


@operation("iam", "RemoveUserFromGroup")
def remove_user_from_group(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        find(tx, ctx, "group", req["GroupName"])
        user = find(tx, ctx, "user", req["UserName"])
        if req["GroupName"] in user.document["_groups"]:
            user.document["_groups"].remove(req["GroupName"])
            tx.records.save(user)


@operation("iam", "UpdateGroup")
def update_group(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, "group", req["GroupName"])
        name, path = req.get("NewGroupName") or req["GroupName"], req.get("NewPath") or record.document["Path"]
        document = record.document | {"GroupName": name, "Path": path, "Arn": f"arn:{ctx.partition}:iam::{ctx.account}:group{path}{name}"}
        if name != req["GroupName"] and tx.records.get(entity_key(ctx, "group", name)):
            raise AwsError("EntityAlreadyExists", f"Group with name {name} already exists.", status=409)
        tx.records.delete(record.key)
        tx.records.create(Record(entity_key(ctx, "group", name), document))
        for user in tx.records.list(ctx.account, "", "iam", "user"):
            if req["GroupName"] in user.document["_groups"]:
                user.document["_groups"] = [name if g == req["GroupName"] else g for g in user.document["_groups"]]
                tx.records.save(user)


@operation("iam", "DeleteGroup")
def delete_group(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, "group", req["GroupName"])
        if record.document["_attached"]:
            raise conflict("must detach all policies first.")
        if record.document["_inline"]:
            raise conflict("must delete policies first.")
        if any(req["GroupName"] in r.document["_groups"] for r in tx.records.list(ctx.account, "", "iam", "user")):
            raise conflict("must remove users from group first.")
        tx.records.delete(record.key)
