"""ECR's repositories, their settings and policies, and the authorization token, which opens nothing."""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.rules.policy import Access, trusts
from dewfall.services.common import drop_tags, get_tags, page, put_tags, remove_tags, with_token
from dewfall.services.ecr.policies import check_lifecycle, check_policy, invalid
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


def find_repository(tx: Tx, ctx: Ctx, name: str) -> Record:
    record = tx.records.get(_key(ctx, name))
    if record is None:
        message = f"The repository with name '{name}' does not exist in the registry with id '{ctx.account}'"
        raise AwsError("RepositoryNotFoundException", message, status=400)
    return record


def registry(ctx: Ctx, req: dict[str, Any]) -> Ctx:
    """The surroundings of the registry that a request names: its own account's, or another's."""
    return replace(ctx, account=req["registryId"]) if req.get("registryId") else ctx


def check_registry(ctx: Ctx, operation_name: str, req: dict[str, Any]) -> None:
    """AccessDeniedException for another account's registry, unless the policy of each repository asked for lets the caller in."""
    other = registry(ctx, req)
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
    if not arn.startswith("arn:") or "repository/" not in arn:
        raise invalid("resourceArn", "Invalid ARN")
    return arn.partition("repository/")[2]


def _encryption(ctx: Ctx, asked: dict[str, Any] | None) -> dict[str, Any]:
    """What encrypts a repository: AES256, or KMS with the key named, else with the account's own for ECR."""
    if asked is None or asked["encryptionType"] == "AES256" or asked.get("kmsKey"):
        return asked or {"encryptionType": "AES256"}
    managed = uuid5(NAMESPACE_URL, f"{ctx.region}/{ctx.account}/alias/aws/ecr")
    return {**asked, "kmsKey": ctx.arn("kms", f"key/{managed}")}


@operation("ecr", "CreateRepository", records=True)
def create_repository(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx, name = registry(ctx, req), req["repositoryName"]
    document = {
        "repositoryArn": ctx.arn("ecr", f"repository/{name}"),
        "registryId": ctx.account,
        "repositoryName": name,
        "repositoryUri": f"{ctx.account}.dkr.ecr.{ctx.region}.amazonaws.com/{name}",
        "createdAt": ctx.now(),
        "imageTagMutability": req.get("imageTagMutability", "MUTABLE"),
        "imageScanningConfiguration": req.get("imageScanningConfiguration", {"scanOnPush": False}),
        "encryptionConfiguration": _encryption(ctx, req.get("encryptionConfiguration")),
    }
    document |= {name: req[name] for name in ("imageTagMutabilityExclusionFilters",) if req.get(name)}
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
    ctx = registry(ctx, req)
    with ctx.ports.store.reading() as tx:
        if req.get("repositoryNames"):
            return {"repositories": [find_repository(tx, ctx, name).document for name in req["repositoryNames"]]}
        found = [r.document for r in tx.records.list(ctx.account, ctx.region, "ecr", "repository")]
    taken, token = page(found, req, key=lambda r: str(r["repositoryName"]), limit_member="maxResults", token_member="nextToken")
    return with_token({"repositories": taken}, token, "nextToken")


@operation("ecr", "DeleteRepository", records=True)
def delete_repository(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx = registry(ctx, req)
    with ctx.ports.store.transaction() as tx:
        record = find_repository(tx, ctx, req["repositoryName"])
        images = tx.records.list(ctx.account, ctx.region, "ecr", "image", parent=record.document["repositoryArn"])
        if images and not req.get("force"):
            where = f"The repository with name '{req['repositoryName']}' in registry with id '{ctx.account}'"
            raise AwsError("RepositoryNotEmptyException", f"{where} cannot be deleted because it still contains images", status=400)
        for image in images:
            tx.records.delete(image.key)
        drop_tags(tx, ctx, record.document["repositoryArn"])
        tx.records.delete(record.key)
    return {"repository": record.document}


@operation("ecr", "ListTagsForResource", records=True)
def list_tags_for_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        find_repository(tx, ctx, _name(req["resourceArn"]))
        return {"tags": get_tags(tx, ctx, req["resourceArn"])}


@operation("ecr", "TagResource", records=True)
def tag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        find_repository(tx, ctx, _name(req["resourceArn"]))
        put_tags(tx, ctx, req["resourceArn"], req["tags"])
    return {}


@operation("ecr", "UntagResource", records=True)
def untag_resource(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        find_repository(tx, ctx, _name(req["resourceArn"]))
        remove_tags(tx, ctx, req["resourceArn"], req["tagKeys"])
    return {}


# ---------------------------------------------------------------- settings and policies of repositories


def _set(ctx: Ctx, req: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Change members of a repository (None takes one away); what every answer has."""
    ctx = registry(ctx, req)
    with ctx.ports.store.transaction() as tx:
        record = find_repository(tx, ctx, req["repositoryName"])
        record.document = {name: value for name, value in (record.document | members).items() if value is not None}
        tx.records.save(record)
    return {"registryId": ctx.account, "repositoryName": req["repositoryName"]}


@operation("ecr", "PutImageTagMutability", records=True)
def put_image_tag_mutability(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    change = {"imageTagMutability": req["imageTagMutability"]}
    filters = req.get("imageTagMutabilityExclusionFilters")
    answer = _set(ctx, req, **change, imageTagMutabilityExclusionFilters=filters or None) | change
    return answer | ({"imageTagMutabilityExclusionFilters": filters} if filters else {})


@operation("ecr", "PutImageScanningConfiguration", records=True)
def put_image_scanning_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    change = {"imageScanningConfiguration": req["imageScanningConfiguration"]}
    return _set(ctx, req, **change) | change


NEVER = datetime.fromtimestamp(0, UTC)  # lifecycle policies are kept, not applied
POLICIES = {
    "_policy": ("policyText", "RepositoryPolicyNotFoundException", "Repository policy"),
    "_lifecycle": ("lifecyclePolicyText", "LifecyclePolicyNotFoundException", "Lifecycle policy"),
}


def _policy(ctx: Ctx, req: dict[str, Any], kind: str) -> dict[str, Any]:
    ctx = registry(ctx, req)
    member, code, words = POLICIES[kind]
    with ctx.ports.store.reading() as tx:
        text = find_repository(tx, ctx, req["repositoryName"]).document.get(kind)
    if text is None:
        where = f"the repository with name '{req['repositoryName']}' in the registry with id '{ctx.account}'"
        raise AwsError(code, f"{words} does not exist for {where}", status=400)
    answer = {"registryId": ctx.account, "repositoryName": req["repositoryName"], member: text}
    return answer | ({"lastEvaluatedAt": NEVER} if kind == "_lifecycle" else {})


def _put_policy(ctx: Ctx, req: dict[str, Any], kind: str) -> dict[str, Any]:
    text = req[POLICIES[kind][0]]
    if kind == "_policy":
        check_policy(text, "repository")
    else:
        check_lifecycle(text)
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
