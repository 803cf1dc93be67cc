"""IAM users and their login profiles' place: create, get, list, update, delete, tag."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import boundary, create, entity_key, find, listing, merge_tags, save, tags_page, without_tags
from dewfall.services.registry import operation

# What may hang on a user, in records of its own, and must go before it.
HANGING = {
    "access-key": "delete access keys",
    "login-profile": "delete login profile",
    "mfa-device": "deactivate MFA device",
    "signing-certificate": "delete signing certificates",
    "service-credential": "remove referenced objects",
    "ssh-key": "remove referenced objects",
}


@operation("iam", "CreateUser")
def create_user(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        return {"User": create(tx, ctx, "user", req, {"_groups": []} | boundary(tx, ctx, req.get("PermissionsBoundary")))}


def user_name(ctx: Ctx, req: dict[str, Any]) -> str:
    """The user meant: named, else the caller."""
    if req.get("UserName"):
        return str(req["UserName"])
    if ctx.caller.kind != "user":
        raise AwsError("ValidationError", "Must specify userName when calling with non-User credentials", status=400)
    return ctx.caller.arn.rsplit("/", 1)[-1]


@operation("iam", "GetUser")
def get_user(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"User": find(tx, ctx, "user", user_name(ctx, req)).document}


@operation("iam", "ListUsers")
def list_users(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        users = [r.document for r in tx.records.list(ctx.account, "", "iam", "user")]
    return listing([{k: v for k, v in u.items() if k not in ("Tags", "PermissionsBoundary")} for u in users], req, "Users", "UserName")


@operation("iam", "UpdateUser")
def update_user(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, "user", req["UserName"])
        document = dict(record.document)
        name, path = req.get("NewUserName") or req["UserName"], req.get("NewPath") or document["Path"]
        document |= {"UserName": name, "Path": path, "Arn": f"arn:{ctx.partition}:iam::{ctx.account}:user{path}{name}"}
        if name != req["UserName"]:
            if tx.records.get(entity_key(ctx, "user", name)):
                raise AwsError("EntityAlreadyExists", f"User with name {name} already exists.", status=409)
            _rename_keys(tx, ctx, req["UserName"], name)
            tx.records.delete(record.key)
            record.key, record.version = entity_key(ctx, "user", name), 0
            record.document = document
            tx.records.create(record)
        else:
            record.document = document
            tx.records.save(record)


def _rename_keys(tx: Tx, ctx: Ctx, old: str, new: str) -> None:
    """What hangs on a user follows it to its new name."""
    for kind in HANGING:
        for record in tx.records.list(ctx.account, "", "iam", kind, parent=old):
            document = record.document | {"UserName": new}
            name = new if record.key.name == old else record.key.name
            tx.records.delete(record.key)
            tx.records.create(Record(Key(ctx.account, "", "iam", kind, name), document, parent=new))


@operation("iam", "DeleteUser")
def delete_user(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, "user", req["UserName"])
        if record.document["_attached"]:
            raise conflict("must detach all policies first.")
        if record.document["_inline"]:
            raise conflict("must delete policies first.")
        if record.document["_groups"]:
            raise conflict("must remove users from group first.")
        for kind, what in HANGING.items():
            if tx.records.list(ctx.account, "", "iam", kind, parent=req["UserName"]):
                raise conflict(f"must {what} first.")
        tx.records.delete(record.key)


def conflict(what: str) -> AwsError:
    """DeleteConflict: something still hangs on the entity."""
    return AwsError("DeleteConflict", f"Cannot delete entity, {what}", status=409)


@operation("iam", "PutUserPermissionsBoundary")
def put_user_permissions_boundary(ctx: Ctx, req: dict[str, Any]) -> None:
    set_boundary(ctx, "user", req["UserName"], req["PermissionsBoundary"])


@operation("iam", "DeleteUserPermissionsBoundary")
def delete_user_permissions_boundary(ctx: Ctx, req: dict[str, Any]) -> None:
    set_boundary(ctx, "user", req["UserName"], "")


def set_boundary(ctx: Ctx, kind: str, name: str, arn: str) -> None:
    """Give a user or role a permissions boundary, or take it away."""
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, kind, name)
        if not arn and "PermissionsBoundary" not in record.document:
            message = f"{kind.capitalize()} {name} does not have a permissions boundary."
            raise AwsError("NoSuchEntity", message, status=404)
        record.document.pop("PermissionsBoundary", None)
        record.document |= boundary(tx, ctx, arn)
        save(tx, record)


# ---------------------------------------------------------------- tags of users and roles


def tag(ctx: Ctx, kind: str, name: str, tags: list[dict[str, str]]) -> None:
    """Add tags to an entity."""
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, kind, name)
        record.document["Tags"] = merge_tags(record.document.get("Tags", []), tags)
        save(tx, record)


def untag(ctx: Ctx, kind: str, name: str, keys: list[str]) -> None:
    """Remove tags from an entity."""
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, kind, name)
        record.document["Tags"] = without_tags(record.document.get("Tags", []), keys)
        save(tx, record)


def tags_of(ctx: Ctx, kind: str, name: str, req: dict[str, Any]) -> dict[str, Any]:
    """A page of an entity's tags, in the order of their setting."""
    with ctx.ports.store.reading() as tx:
        return tags_page(find(tx, ctx, kind, name).document.get("Tags", []), req)


@operation("iam", "TagUser")
def tag_user(ctx: Ctx, req: dict[str, Any]) -> None:
    tag(ctx, "user", req["UserName"], req["Tags"])


@operation("iam", "UntagUser")
def untag_user(ctx: Ctx, req: dict[str, Any]) -> None:
    untag(ctx, "user", req["UserName"], req["TagKeys"])


@operation("iam", "ListUserTags")
def list_user_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return tags_of(ctx, "user", req["UserName"], req)
