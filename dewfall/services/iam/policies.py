"""Managed policies with their versions: the customer's own, and those that AWS manages (managed.json)."""

from __future__ import annotations

import functools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dewfall.context import Ctx, new_id
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import check_identity_document, encoded, join_tags, listing, size_of, tags_page
from dewfall.services.registry import operation

VERSIONS_LIMIT = 5
POLICY_BYTES = 6144
AWS_PREFIX = "arn:aws:iam::aws:policy"
KINDS = ("user", "group", "role")


@functools.cache
def managed() -> dict[str, dict[str, Any]]:
    """The AWS-managed policies that Dewfall knows, by ARN."""
    found = json.loads((Path(__file__).parent / "managed.json").read_text())
    return {f"{AWS_PREFIX}{p.get('Path', '/')}{name}": _aws_policy(name, p) for name, p in found.items()}


def _aws_policy(name: str, policy: dict[str, Any]) -> dict[str, Any]:
    since, path = datetime(2015, 2, 6, tzinfo=UTC), policy.get("Path", "/")
    return {
        "PolicyName": name,
        "PolicyId": "ANPA" + name.upper().replace("-", "")[:17],
        "Arn": f"{AWS_PREFIX}{path}{name}",
        "Path": path,
        "DefaultVersionId": "v1",
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "Description": policy["Description"],
        "CreateDate": since,
        "UpdateDate": since,
        "_versions": {"v1": {"Document": json.dumps(policy["Document"]), "CreateDate": since}},
    }


def find_policy(tx: Tx, ctx: Ctx, arn: str) -> dict[str, Any]:
    """A policy's document, with how often it is attached."""
    found = managed().get(arn)
    if found is None:
        record = tx.records.get(Key(ctx.account, "", "iam", "policy", arn))
        if record is None:
            raise AwsError("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", status=404)
        found = record.document
    return found | {"AttachmentCount": len(holders(tx, ctx, arn)), "PermissionsBoundaryUsageCount": _bounded(tx, ctx, arn)}


def policy_name(arn: str) -> str:
    """The name in a managed policy's ARN."""
    return arn.rsplit("/", 1)[-1]


def policy_path(arn: str) -> str:
    """The path in a managed policy's ARN.

    >>> policy_path("arn:aws:iam::aws:policy/service-role/Name"), policy_path("arn:aws:iam::aws:policy/Name")
    ('/service-role/', '/')
    """
    return arn.partition(":policy")[2].rpartition("/")[0] + "/"


def is_policy(tx: Tx, ctx: Ctx, arn: str) -> bool:
    """Whether there is such a policy."""
    return arn in managed() or tx.records.get(Key(ctx.account, "", "iam", "policy", arn)) is not None


def _bounded(tx: Tx, ctx: Ctx, arn: str) -> int:
    """How many users and roles have a policy as their boundary."""
    found = [r.document.get("PermissionsBoundary", {}) for kind in ("user", "role") for r in tx.records.list(ctx.account, "", "iam", kind)]
    return sum(boundary.get("PermissionsBoundaryArn") == arn for boundary in found)


def holders(tx: Tx, ctx: Ctx, arn: str) -> list[Record]:
    """Users, groups and roles that a policy is attached to."""
    return [r for kind in KINDS for r in tx.records.list(ctx.account, "", "iam", kind) if arn in r.document["_attached"]]


def default_document(policy: dict[str, Any]) -> str:
    """The text of a policy's default version."""
    text: str = policy["_versions"][policy["DefaultVersionId"]]["Document"]
    return text


def _check(text: str) -> None:
    check_identity_document(text)
    if size_of(text) > POLICY_BYTES:
        raise AwsError("LimitExceeded", f"Cannot exceed quota for PolicySize: {POLICY_BYTES}", status=409)


@operation("iam", "CreatePolicy")
def create_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    _check(req["PolicyDocument"])
    now, path, name = ctx.now().replace(microsecond=0), req.get("Path") or "/", req["PolicyName"]
    document = {
        "PolicyName": name,
        "PolicyId": "ANPA" + new_id(17),
        "Arn": f"arn:{ctx.partition}:iam::{ctx.account}:policy{path}{name}",
        "Path": path,
        "DefaultVersionId": "v1",
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "CreateDate": now,
        "UpdateDate": now,
        "_next": 2,
        "_versions": {"v1": {"Document": req["PolicyDocument"], "CreateDate": now}},
    }
    document |= {"Description": req["Description"]} if req.get("Description") else {}
    document |= {"Tags": _merged([], req["Tags"])} if req.get("Tags") else {}
    with ctx.ports.store.transaction() as tx:
        try:
            tx.records.create(Record(Key(ctx.account, "", "iam", "policy", document["Arn"]), document))
        except AlreadyExists:
            message = f"A policy called {name} already exists. Duplicate names are not allowed."
            raise AwsError("EntityAlreadyExists", message, status=409) from None
    told = {name: value for name, value in document.items() if name != "Description"}  # which GetPolicy alone tells
    return {"Policy": told | {"AttachmentCount": 0}}


@operation("iam", "GetPolicy")
def get_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"Policy": {"Tags": []} | find_policy(tx, ctx, req["PolicyArn"])}


@operation("iam", "ListPolicies")
def list_policies(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    scope = req.get("Scope", "All")
    with ctx.ports.store.reading() as tx:
        arns = [r.key.name for r in tx.records.list(ctx.account, "", "iam", "policy")] if scope in ("All", "Local") else []
        arns += list(managed()) if scope in ("All", "AWS") else []
        found = [find_policy(tx, ctx, arn) for arn in arns]
    if req.get("OnlyAttached"):
        found = [policy for policy in found if policy["AttachmentCount"]]
    return listing([{k: v for k, v in p.items() if k not in ("Tags", "Description")} for p in found], req, "Policies", "Arn")


@operation("iam", "DeletePolicy")
def delete_policy(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _own(tx, ctx, req["PolicyArn"])
        if holders(tx, ctx, req["PolicyArn"]):
            raise AwsError("DeleteConflict", "Cannot delete a policy attached to entities.", status=409)
        if len(record.document["_versions"]) > 1:
            message = "This policy has more than one version. Before you delete a policy, you must delete the policy's versions."
            raise AwsError("DeleteConflict", f"{message} The default version is deleted with the policy.", status=409)
        tx.records.delete(record.key)


def _own(tx: Tx, ctx: Ctx, arn: str) -> Record:
    record = tx.records.get(Key(ctx.account, "", "iam", "policy", arn))
    if record is None:
        raise AwsError("NoSuchEntity", f"Policy {arn} was not found.", status=404)
    return record


@operation("iam", "ListEntitiesForPolicy")
def list_entities_for_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"PolicyUsers": [], "PolicyGroups": [], "PolicyRoles": [], "IsTruncated": False}
    wanted = req.get("EntityFilter")
    with ctx.ports.store.reading() as tx:
        find_policy(tx, ctx, req["PolicyArn"])
        for holder in holders(tx, ctx, req["PolicyArn"]):
            word = holder.key.kind.capitalize()
            if wanted in (None, word):
                item = {f"{word}Name": holder.document[f"{word}Name"], f"{word}Id": holder.document[f"{word}Id"]}
                answer[f"Policy{word}s"].append(item)
    return answer


# ---------------------------------------------------------------- versions


def _version(policy: dict[str, Any], name: str, *, with_document: bool) -> dict[str, Any]:
    kept = policy["_versions"].get(name)
    if kept is None:
        raise AwsError("NoSuchEntity", f"Policy {policy['Arn']} version {name} does not exist or is not attachable.", status=404)
    shown = {"VersionId": name, "IsDefaultVersion": name == policy["DefaultVersionId"], "CreateDate": kept["CreateDate"]}
    return shown | ({"Document": encoded(kept["Document"])} if with_document else {})


@operation("iam", "CreatePolicyVersion")
def create_policy_version(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    _check(req["PolicyDocument"])
    with ctx.ports.store.transaction() as tx:
        record = _own(tx, ctx, req["PolicyArn"])
        policy = record.document
        if len(policy["_versions"]) >= VERSIONS_LIMIT:
            message = "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."
            raise AwsError("LimitExceeded", message, status=409)
        name = f"v{policy['_next']}"
        now = ctx.now().replace(microsecond=0)
        policy["_next"] += 1
        policy["_versions"][name] = {"Document": req["PolicyDocument"], "CreateDate": now}
        policy["UpdateDate"] = now
        if req.get("SetAsDefault"):
            policy["DefaultVersionId"] = name
        tx.records.save(record)
        return {"PolicyVersion": _version(policy, name, with_document=False)}


@operation("iam", "GetPolicyVersion")
def get_policy_version(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"PolicyVersion": _version(find_policy(tx, ctx, req["PolicyArn"]), req["VersionId"], with_document=True)}


@operation("iam", "ListPolicyVersions")
def list_policy_versions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        policy = find_policy(tx, ctx, req["PolicyArn"])
    versions = sorted(policy["_versions"], key=lambda name: -int(name[1:]))
    return {"Versions": [_version(policy, name, with_document=False) for name in versions], "IsTruncated": False}


@operation("iam", "SetDefaultPolicyVersion")
def set_default_policy_version(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _own(tx, ctx, req["PolicyArn"])
        _version(record.document, req["VersionId"], with_document=False)
        record.document["DefaultVersionId"] = req["VersionId"]
        tx.records.save(record)


@operation("iam", "DeletePolicyVersion")
def delete_policy_version(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _own(tx, ctx, req["PolicyArn"])
        _version(record.document, req["VersionId"], with_document=False)
        if record.document["DefaultVersionId"] == req["VersionId"]:
            raise AwsError("DeleteConflict", "Cannot delete the default version of a policy.", status=409)
        del record.document["_versions"][req["VersionId"]]
        tx.records.save(record)


# ---------------------------------------------------------------- tags


def _merged(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """Managed policies alone tell tag keys apart by case."""
    if len({tag["Key"] for tag in new}) < len(new):
        raise AwsError("InvalidInput", "Duplicate tag keys found.", status=400)
    return join_tags(old, new, str)


@operation("iam", "TagPolicy")
def tag_policy(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _own(tx, ctx, req["PolicyArn"])
        record.document["Tags"] = _merged(record.document.get("Tags", []), req["Tags"])
        tx.records.save(record)


@operation("iam", "UntagPolicy")
def untag_policy(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _own(tx, ctx, req["PolicyArn"])
        record.document["Tags"] = [t for t in record.document.get("Tags", []) if t["Key"] not in req["TagKeys"]]
        tx.records.save(record)


@operation("iam", "ListPolicyTags")
def list_policy_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        tags = find_policy(tx, ctx, req["PolicyArn"]).get("Tags", [])
    return tags_page(sorted(tags, key=lambda tag: str(tag["Key"])), req)
