"""IAM roles: trust policies, boundaries, tags. The SageMaker SDKs read a role before they do anything."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import boundary, check_modifiable, check_trust_document, create, default_role, encoded, find, listing, save
from dewfall.services.iam.users import conflict, set_boundary, tag, tags_of, untag
from dewfall.services.registry import operation
from dewfall.settings import DEFAULT_ROLE


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """A role as AWS answers it: the trust policy URL-encoded."""
    return document | {"AssumeRolePolicyDocument": encoded(document["AssumeRolePolicyDocument"])}


@operation("iam", "CreateRole")
def create_role(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_trust_document(req["AssumeRolePolicyDocument"])
    more: dict[str, Any] = {
        "AssumeRolePolicyDocument": req["AssumeRolePolicyDocument"],
        "MaxSessionDuration": req.get("MaxSessionDuration", 3600),
    }
    if req.get("Description"):
        more["Description"] = req["Description"]
    if req.get("Path", "").startswith("/aws-service-role/"):
        message = "Path name cannot start with '/aws-service-role/'. It is reserved for service-linked roles."
        raise AwsError("InvalidInput", message, status=400)
    with ctx.ports.store.transaction() as tx:
        made = create(tx, ctx, "role", req, more | boundary(tx, ctx, req.get("PermissionsBoundary")))
    return {"Role": shown({k: v for k, v in made.items() if k not in ("Description", "MaxSessionDuration")})}  # which GetRole tells


@operation("iam", "GetRole")
def get_role(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"Role": shown({"RoleLastUsed": {}} | find(tx, ctx, "role", req["RoleName"]).document)}


@operation("iam", "ListRoles")
def list_roles(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        roles = [r.document for r in tx.records.list(ctx.account, "", "iam", "role")]
    if DEFAULT_ROLE not in (role["RoleName"] for role in roles):
        roles.append(default_role(ctx).document)
    hidden = ("Tags", "PermissionsBoundary", "RoleLastUsed")
    return listing([shown({k: v for k, v in role.items() if k not in hidden}) for role in roles], req, "Roles", "RoleName")


@operation("iam", "UpdateRole")
def update_role(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, "role", req["RoleName"])
        record.document |= {k: req[k] for k in ("Description", "MaxSessionDuration") if k in req}
        save(tx, record)
    return {}


@operation("iam", "UpdateRoleDescription")
def update_role_description(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    update_role(ctx, req)
    role: dict[str, Any] = get_role(ctx, req)["Role"]
    return {"Role": {k: v for k, v in role.items() if k not in ("RoleLastUsed", "MaxSessionDuration")}}


@operation("iam", "UpdateAssumeRolePolicy")
def update_assume_role_policy(ctx: Ctx, req: dict[str, Any]) -> None:
    check_trust_document(req["PolicyDocument"])
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, "role", req["RoleName"])
        check_modifiable(record.document)
        record.document["AssumeRolePolicyDocument"] = req["PolicyDocument"]
        save(tx, record)


@operation("iam", "DeleteRole")
def delete_role(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, "role", req["RoleName"])
        check_modifiable(record.document)
        if record.document["_attached"]:
            raise conflict("must detach all policies first.")
        if record.document["_inline"]:
            raise conflict("must delete policies first.")
        profiles = tx.records.list(ctx.account, "", "iam", "instance-profile")
        if any(req["RoleName"] in profile.document["_roles"] for profile in profiles):
            raise conflict("must remove roles from instance profile first.")
        tx.records.delete(record.key)


@operation("iam", "PutRolePermissionsBoundary")
def put_role_permissions_boundary(ctx: Ctx, req: dict[str, Any]) -> None:
    set_boundary(ctx, "role", req["RoleName"], req["PermissionsBoundary"])


@operation("iam", "DeleteRolePermissionsBoundary")
def delete_role_permissions_boundary(ctx: Ctx, req: dict[str, Any]) -> None:
    set_boundary(ctx, "role", req["RoleName"], "")


@operation("iam", "TagRole")
def tag_role(ctx: Ctx, req: dict[str, Any]) -> None:
    tag(ctx, "role", req["RoleName"], req["Tags"])


@operation("iam", "UntagRole")
def untag_role(ctx: Ctx, req: dict[str, Any]) -> None:
    untag(ctx, "role", req["RoleName"], req["TagKeys"])


@operation("iam", "ListRoleTags")
def list_role_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return tags_of(ctx, "role", req["RoleName"], req)
