"""ECR, to the extent that SageMaker flows ask for it: an authorization token, and repositories as records.

There are no layers to pull here: images are catalog entries. What pushes or pulls image content is not built.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.rules.policy import Access, Policy, trusts
from dewfall.services.common import drop_tags, get_tags, page, put_tags, remove_tags, with_token
from dewfall.services.registry import operation


@operation("ecr", "GetAuthorizationToken")
def get_authorization_token(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    accounts = req.get("registryIds") or [ctx.account]
    token = base64.b64encode(f"AWS:{secrets.token_urlsafe(48)}".encode()).decode()
    expires = ctx.now() + timedelta(hours=12)
    hosts = [f"https://{account}.dkr.ecr.{ctx.region}.amazonaws.com" for account in accounts]
    return {"authorizationData": [{"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": host} for host in hosts]}


def _key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, ctx.region, "ecr", "repository", name)


def _find(tx: Tx, ctx: Ctx, name: str) -> Record:
    record = tx.records.get(_key(ctx, name))
    if record is None:
        message = f"The repository with name '{name}' does not exist in the registry with id '{ctx.account}'"
        raise AwsError("RepositoryNotFoundException", message, status=400)
    return record


def _registry(ctx: Ctx, req: dict[str, Any]) -> Ctx:
    """The surroundings of the registry that a request names: its own account's, or another's."""
    return replace(ctx, account=req["registryId"]) if req.get("registryId") else ctx


def check_registry(ctx: Ctx, operation_name: str, req: dict[str, Any]) -> None:
    """AccessDeniedException for another account's registry, unless the policy of each repository asked for lets the caller in."""
    other = _registry(ctx, req)
    if other.account == ctx.account:
        return
    action = f"ecr:{operation_name}"
    for name in req.get("repositoryNames") or [req.get("repositoryName", "*")]:
        access = Access(action, other.arn("ecr", f"repository/{name}"), ctx.caller.arn, ctx.account)
        record = ctx.ports.store.peek(_key(other, name))
        if record is None or "_policy" not in record.document or not trusts(record.document["_policy"], access):
            message = f"User: {ctx.caller.arn} is not authorized to perform: {action} on resource: {access.resource} "
            raise AwsError("AccessDeniedException", message + f"because no resource-based policy allows the {action} action", status=400)


def _name(arn: str) -> str:
    return arn.partition("repository/")[2]


@operation("ecr", "CreateRepository", records=True)
def create_repository(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx, name = _registry(ctx, req), req["repositoryName"]
    document = {
        "repositoryArn": ctx.arn("ecr", f"repository/{name}"),
        "registryId": ctx.account,
        "repositoryName": name,
        "repositoryUri": f"{ctx.account}.dkr.ecr.{ctx.region}.amazonaws.com/{name}",
        "createdAt": ctx.now(),
        "imageTagMutability": req.get("imageTagMutability", "MUTABLE"),
        "imageScanningConfiguration": req.get("imageScanningConfiguration", {"scanOnPush": False}),
        "encryptionConfiguration": req.get("encryptionConfiguration", {"encryptionType": "AES256"}),
    }
    with ctx.ports.store.transaction() as tx:
        try:
            tx.records.create(Record(_key(ctx, name), document))
        except AlreadyExists:
            message = f"The repository with name '{name}' already exists in the registry with id '{ctx.account}'"
            raise AwsError("RepositoryAlreadyExistsException", message, status=400) from None
        put_tags(tx, ctx, document["repositoryArn"], req.get("tags", []))
    return {"repository": document}


@operation("ecr", "DescribeRepositories", records=True)
def describe_repositories(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx = _registry(ctx, req)
    with ctx.ports.store.reading() as tx:
        if req.get("repositoryNames"):
            return {"repositories": [_find(tx, ctx, name).document for name in req["repositoryNames"]]}
        found = [r.document for r in tx.records.list(ctx.account, ctx.region, "ecr", "repository")]
    taken, token = page(found, req, key=lambda r: str(r["repositoryName"]), limit_member="maxResults", token_member="nextToken")
    return with_token({"repositories": taken}, token, "nextToken")


@operation("ecr", "DeleteRepository", records=True)
def delete_repository(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx = _registry(ctx, req)
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, req["repositoryName"])
        drop_tags(tx, ctx, record.document["repositoryArn"])
        tx.records.delete(record.key)
    return {"repository": record.document}


@operation("ecr", "ListTagsForResource", records=True)
def list_tags_for_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        _find(tx, ctx, _name(req["resourceArn"]))
        return {"tags": get_tags(tx, ctx, req["resourceArn"])}


@operation("ecr", "TagResource", records=True)
def tag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _find(tx, ctx, _name(req["resourceArn"]))
        put_tags(tx, ctx, req["resourceArn"], req["tags"])
    return {}


@operation("ecr", "UntagResource", records=True)
def untag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        _find(tx, ctx, _name(req["resourceArn"]))
        remove_tags(tx, ctx, req["resourceArn"], req["tagKeys"])
    return {}


@operation("ecr", "ListImages", records=True)
def list_images(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx = _registry(ctx, req)
    with ctx.ports.store.reading() as tx:
        _find(tx, ctx, req["repositoryName"])
    return {"imageIds": []}


@operation("ecr", "DescribeImages", records=True)
def describe_images(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx = _registry(ctx, req)
    with ctx.ports.store.reading() as tx:
        _find(tx, ctx, req["repositoryName"])
    if req.get("imageIds"):
        shown = ", ".join(f"{name}:'{image[name]}'" for image in req["imageIds"] for name in image)
        message = f"The image with imageId {{{shown}}} does not exist within the repository with name '{req['repositoryName']}' "
        raise AwsError("ImageNotFoundException", message + f"in the registry with id '{ctx.account}'", status=400)
    return {"imageDetails": []}


# ---------------------------------------------------------------- settings and policies of repositories


def _set(ctx: Ctx, req: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Change members of a repository (None takes one away); what every answer has."""
    ctx = _registry(ctx, req)
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, req["repositoryName"])
        record.document = {name: value for name, value in (record.document | members).items() if value is not None}
        tx.records.save(record)
    return {"registryId": ctx.account, "repositoryName": req["repositoryName"]}


@operation("ecr", "PutImageTagMutability", records=True)
def put_image_tag_mutability(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    change = {"imageTagMutability": req["imageTagMutability"]}
    return _set(ctx, req, **change) | change


@operation("ecr", "PutImageScanningConfiguration", records=True)
def put_image_scanning_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    change = {"imageScanningConfiguration": req["imageScanningConfiguration"]}
    return _set(ctx, req, **change) | change


POLICIES = {
    "_policy": ("policyText", "RepositoryPolicyNotFoundException", "Repository policy"),
    "_lifecycle": ("lifecyclePolicyText", "LifecyclePolicyNotFoundException", "Lifecycle policy"),
}


def _policy(ctx: Ctx, req: dict[str, Any], kind: str) -> dict[str, Any]:
    ctx = _registry(ctx, req)
    member, code, words = POLICIES[kind]
    with ctx.ports.store.reading() as tx:
        text = _find(tx, ctx, req["repositoryName"]).document.get(kind)
    if text is None:
        where = f"the repository with name '{req['repositoryName']}' in the registry with id '{ctx.account}'"
        raise AwsError(code, f"{words} does not exist for {where}", status=400)
    return {"registryId": ctx.account, "repositoryName": req["repositoryName"], member: text}


def _put_policy(ctx: Ctx, req: dict[str, Any], kind: str) -> dict[str, Any]:
    text = req[POLICIES[kind][0]]
    try:
        Policy.parse(kind, "resource", text) if kind == "_policy" else json.loads(text)
    except ValueError:
        message = "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'"
        raise AwsError("InvalidParameterException", message, status=400) from None
    return _set(ctx, req, **{kind: text}) | {POLICIES[kind][0]: text}


def _delete_policy(ctx: Ctx, req: dict[str, Any], kind: str) -> dict[str, Any]:
    found = _policy(ctx, req, kind)
    _set(ctx, req, **{kind: None})
    return found


@operation("ecr", "SetRepositoryPolicy", records=True)
def set_repository_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _put_policy(ctx, req, "_policy")


@operation("ecr", "GetRepositoryPolicy", records=True)
def get_repository_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _policy(ctx, req, "_policy")


@operation("ecr", "DeleteRepositoryPolicy", records=True)
def delete_repository_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _delete_policy(ctx, req, "_policy")


@operation("ecr", "PutLifecyclePolicy", records=True)
def put_lifecycle_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _put_policy(ctx, req, "_lifecycle")


@operation("ecr", "GetLifecyclePolicy", records=True)
def get_lifecycle_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _policy(ctx, req, "_lifecycle")


@operation("ecr", "DeleteLifecyclePolicy", records=True)
def delete_lifecycle_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _delete_policy(ctx, req, "_lifecycle")
