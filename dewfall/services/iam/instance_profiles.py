"""Instance profiles: a role's wrapping for EC2, which tools create along with roles."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record, Tx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import create, find, listing
from dewfall.services.iam.roles import shown as shown_role
from dewfall.services.iam.users import conflict, tag, tags_of, untag
from dewfall.services.registry import operation


def shown(tx: Tx, ctx: Ctx, document: dict[str, Any]) -> dict[str, Any]:
    """An instance profile with its roles."""
    roles = [find(tx, ctx, "role", name).document for name in document["_roles"]]
    return document | {"Roles": [shown_role({k: v for k, v in role.items() if k not in ("MaxSessionDuration", "Tags")}) for role in roles]}


def _find(tx: Tx, ctx: Ctx, req: dict[str, Any]) -> Record:
    return find(tx, ctx, "instance-profile", req["InstanceProfileName"])


@operation("iam", "CreateInstanceProfile")
def create_instance_profile(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        return {"InstanceProfile": shown(tx, ctx, create(tx, ctx, "instance-profile", req, {"_roles": []}))}


@operation("iam", "GetInstanceProfile")
def get_instance_profile(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"InstanceProfile": {"Tags": []} | shown(tx, ctx, _find(tx, ctx, req).document)}


@operation("iam", "ListInstanceProfiles")
def list_instance_profiles(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        found = [shown(tx, ctx, _untagged(r.document)) for r in tx.records.list(ctx.account, "", "iam", "instance-profile")]
    return listing(found, req, "InstanceProfiles", "InstanceProfileName")


def _untagged(document: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in document.items() if k != "Tags"}


@operation("iam", "ListInstanceProfilesForRole")
def list_instance_profiles_for_role(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        find(tx, ctx, "role", req["RoleName"])
        records = tx.records.list(ctx.account, "", "iam", "instance-profile")
        found = [shown(tx, ctx, _untagged(r.document)) for r in records if req["RoleName"] in r.document["_roles"]]
    return listing(found, req, "InstanceProfiles", "InstanceProfileName")


@operation("iam", "AddRoleToInstanceProfile")
def add_role_to_instance_profile(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, req)
        find(tx, ctx, "role", req["RoleName"])
        if record.document["_roles"]:
            raise AwsError("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1", status=409)
        record.document["_roles"].append(req["RoleName"])
        tx.records.save(record)


@operation("iam", "RemoveRoleFromInstanceProfile")
def remove_role_from_instance_profile(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, req)
        if req["RoleName"] not in record.document["_roles"]:
            raise AwsError("NoSuchEntity", f"The role with name {req['RoleName']} cannot be found.", status=404)
        record.document["_roles"].remove(req["RoleName"])
        tx.records.save(record)


@operation("iam", "DeleteInstanceProfile")
def delete_instance_profile(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, req)
        if record.document["_roles"]:
            raise conflict("must remove roles from instance profile first.")
        tx.records.delete(record.key)


@operation("iam", "TagInstanceProfile")
def tag_instance_profile(ctx: Ctx, req: dict[str, Any]) -> None:
    tag(ctx, "instance-profile", req["InstanceProfileName"], req["Tags"])


@operation("iam", "UntagInstanceProfile")
def untag_instance_profile(ctx: Ctx, req: dict[str, Any]) -> None:
    untag(ctx, "instance-profile", req["InstanceProfileName"], req["TagKeys"])


@operation("iam", "ListInstanceProfileTags")
def list_instance_profile_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return tags_of(ctx, "instance-profile", req["InstanceProfileName"], req)
