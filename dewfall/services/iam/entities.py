"""What users, groups and roles share: their keys, look-ups, paths, ids, tags and IAM's messages about them.

A record's document holds AWS's members, and besides them what hangs on the entity: `_inline` {name: document text},
`_attached` [policy ARNs], of a user `_groups` [names].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from dewfall.context import Ctx, new_id
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.rules.policy_text import Malformed, check_identity_policy, check_trust_policy
from dewfall.services.common import page
from dewfall.services.identity import trust_policy
from dewfall.settings import DEFAULT_ROLE

PREFIXES = {"user": "AIDA", "group": "AGPA", "role": "AROA", "policy": "ANPA", "instance-profile": "AIPA"}
NAMES = {"user": "UserName", "group": "GroupName", "role": "RoleName", "instance-profile": "InstanceProfileName"}
WORDS = {"user": "user", "group": "group", "role": "role", "instance-profile": "instance profile"}
PAGE = 100
TRUST_BYTES = 2048


def entity_key(ctx: Ctx, kind: str, name: str) -> Key:
    """Names differ in case only at AWS's refusal; here they are kept as given."""
    return Key(ctx.account, "", "iam", kind, name)


def find(tx: Tx, ctx: Ctx, kind: str, name: str) -> Record:
    """The entity, or NoSuchEntity in AWS's words. The default execution role comes into being when first asked for."""
    record = tx.records.get(entity_key(ctx, kind, name))
    if record is None and kind == "role" and name == DEFAULT_ROLE:
        return default_role(ctx)
    if record is None:
        raise missing(kind, name)
    return record


def find_of_user(tx: Tx, ctx: Ctx, kind: str, name: str, user: str, message: str) -> Record:
    """What hangs on a user (a key, a device, a credential); NoSuchEntity with `message` when it is not there, or another user's."""
    find(tx, ctx, "user", user)
    record = tx.records.get(entity_key(ctx, kind, name))
    if record is None or record.parent != user:
        raise AwsError("NoSuchEntity", message, status=404)
    return record


def missing(kind: str, name: str) -> AwsError:
    """NoSuchEntity."""
    if kind == "instance-profile":
        return AwsError("NoSuchEntity", f"Instance Profile {name} cannot be found.", status=404)
    return AwsError("NoSuchEntity", f"The {WORDS[kind]} with name {name} cannot be found.", status=404)


def default_role(ctx: Ctx) -> Record:
    """The role behind the default caller: trusted by SageMaker, allowed everything."""
    document = {
        "Path": "/",
        "RoleName": DEFAULT_ROLE,
        "RoleId": "AROADEWFALLEXECUTION0",
        "Arn": f"arn:aws:iam::{ctx.account}:role/{DEFAULT_ROLE}",
        "CreateDate": ctx.now().replace(microsecond=0),
        "AssumeRolePolicyDocument": trust_policy("sagemaker.amazonaws.com"),
        "Description": "The execution role that every Dewfall account has.",
        "MaxSessionDuration": 3600,
        "_attached": ["arn:aws:iam::aws:policy/AdministratorAccess"],
        "_inline": {},
    }
    return Record(entity_key(ctx, "role", DEFAULT_ROLE), document)


def save(tx: Tx, record: Record) -> None:
    """Save, or create where it is the default role's first change."""
    if record.version:
        tx.records.save(record)
    else:
        tx.records.create(record)


def create(tx: Tx, ctx: Ctx, kind: str, req: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A new entity with its id, ARN, path and date; EntityAlreadyExists where the name is taken."""
    name, path = req[NAMES[kind]], req.get("Path") or "/"
    document = {
        "Path": path,
        NAMES[kind]: name,
        f"{NAMES[kind].removesuffix('Name')}Id": PREFIXES[kind] + new_id(17),
        "Arn": f"arn:{ctx.partition}:iam::{ctx.account}:{kind}{path}{name}",
        "CreateDate": ctx.now().replace(microsecond=0),
        "_inline": {},
        "_attached": [],
    } | more
    if req.get("Tags"):
        document["Tags"] = merge_tags([], req["Tags"])
    called = f"Instance Profile {name}" if kind == "instance-profile" else f"{kind.capitalize()} with name {name}"
    taken = AwsError("EntityAlreadyExists", f"{called} already exists.", status=409)
    known = {record.key.name.lower() for record in tx.records.list(ctx.account, "", "iam", kind)}
    if name.lower() in known or (kind == "role" and name == DEFAULT_ROLE):
        raise taken
    try:
        tx.records.create(Record(entity_key(ctx, kind, name), document))
    except AlreadyExists:
        raise taken from None
    return document


def listing(items: list[dict[str, Any]], req: dict[str, Any], member: str, key: str) -> dict[str, Any]:
    """IAM's pages: MaxItems and Marker in, IsTruncated and Marker out; PathPrefix filters."""
    check_marker(req)
    prefix = req.get("PathPrefix") or ""
    wanted = sorted((i for i in items if i.get("Path", "/").startswith(prefix)), key=lambda i: (str(i[key]).lower(), str(i[key])))
    taken, token = page(wanted, req, key=lambda i: str(i[key]), limit_member="MaxItems", token_member="Marker", default=PAGE)
    return {member: taken, "IsTruncated": token is not None} | ({"Marker": token} if token else {})


def check_marker(req: dict[str, Any]) -> None:
    """Refuse a marker that no answer has given, in IAM's words."""
    try:
        page([], req, key=str, token_member="Marker")
    except AwsError:
        raise AwsError("ValidationError", "Invalid Marker.", status=400) from None


def names_page(names: Iterable[str], req: dict[str, Any], member: str) -> dict[str, Any]:
    """The same for plain names."""
    check_marker(req)
    taken, token = page(sorted(names), req, key=str, limit_member="MaxItems", token_member="Marker", default=PAGE)
    return {member: taken, "IsTruncated": token is not None} | ({"Marker": token} if token else {})


def merge_tags(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """Tags with new values in place of old; IAM compares keys without case."""
    lowered = [tag["Key"].lower() for tag in new]
    if len(set(lowered)) != len(lowered):
        raise AwsError("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.", status=400)
    return join_tags(old, new, str.lower)


def without_tags(tags: list[dict[str, str]], keys: list[str]) -> list[dict[str, str]]:
    """Tags without those of some keys; IAM compares keys without case."""
    gone = {key.lower() for key in keys}
    return [tag for tag in tags if tag["Key"].lower() not in gone]


def join_tags(old: list[dict[str, str]], new: list[dict[str, str]], same: Callable[[str], str]) -> list[dict[str, str]]:
    """Tags with new values in their old places, new tags behind them; `same` makes alike what counts as one key."""
    known = {same(tag["Key"]): {"Key": tag["Key"], "Value": tag["Value"]} for tag in old}
    known |= {same(tag["Key"]): {"Key": tag["Key"], "Value": tag["Value"]} for tag in new}
    merged = list(known.values())
    if len(merged) > 50:
        raise AwsError("LimitExceeded", "The number of tags has reached the maximum limit.", status=409)
    return merged


def tags_page(tags: list[dict[str, str]], req: dict[str, Any]) -> dict[str, Any]:
    """A page of tags, in the order of their setting."""
    check_marker(req)
    taken, token = page(tags, req, key=lambda t: t["Key"], limit_member="MaxItems", token_member="Marker", default=PAGE)
    return {"Tags": taken, "IsTruncated": token is not None} | ({"Marker": token} if token else {})


def encoded(text: str) -> str:
    """IAM gives policy documents URL-encoded (RFC 3986)."""
    return quote(text, safe="-_.~")


def check_identity_document(text: str) -> None:
    """A policy that is attached to an identity: it names resources, and no principal."""
    try:
        check_identity_policy(text)
    except Malformed as problem:
        raise malformed(str(problem)) from None


def check_trust_document(text: str) -> None:
    """A role's trust policy: it names principals, and no resource."""
    try:
        check_trust_policy(text)
    except Malformed as problem:
        raise malformed(str(problem)) from None
    if size_of(text) > TRUST_BYTES:
        raise AwsError("LimitExceeded", f"Cannot exceed quota for ACLSizePerRole: {TRUST_BYTES}", status=409)


def size_of(text: str) -> int:
    """A document's size as IAM counts it: without white space."""
    return len("".join(text.split()))


def boundary(tx: Tx, ctx: Ctx, arn: str | None) -> dict[str, Any]:
    """PermissionsBoundary's member, for a policy that exists."""
    if not arn:
        return {}
    from dewfall.services.iam.policies import is_policy

    if not is_policy_arn(arn):
        raise AwsError("InvalidInput", f"ARN {arn} is not valid.", status=400)
    if not is_policy(tx, ctx, arn):
        raise AwsError("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", status=404)
    return {"PermissionsBoundary": {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}}


def is_policy_arn(text: str) -> bool:
    """Whether a text has the form of a managed policy's ARN."""
    return text.startswith("arn:") and text.count(":") >= 5 and text.split(":", 5)[5].startswith("policy/")


def check_modifiable(document: dict[str, Any]) -> None:
    """UnmodifiableEntity for roles that belong to a service."""
    if document["Path"].startswith("/aws-service-role/"):
        message = f"Cannot perform the operation on the protected role '{document['RoleName']}' - this role is only modifiable by AWS"
        raise AwsError("UnmodifiableEntity", message, status=400)


def malformed(message: str) -> AwsError:
    """MalformedPolicyDocument."""
    return AwsError("MalformedPolicyDocument", message, status=400)
