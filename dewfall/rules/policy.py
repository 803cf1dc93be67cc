"""IAM's decision: what a set of policies says about one action on one resource.

    explicit deny anywhere                                        → explicitDeny
    allowed by identity (or, same account, resource) policies,
      and by the boundary, and by the session policies            → allowed
    else                                                          → implicitDeny

Pure: documents and a request in, a decision out. Source: IAM User Guide, "Policy evaluation logic" and "JSON policy elements".
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dewfall.rules.conditions import conditions_hold, missing_keys, variables, with_variables

ALLOWED, EXPLICIT_DENY, IMPLICIT_DENY = "allowed", "explicitDeny", "implicitDeny"


@dataclass(frozen=True, slots=True)
class Access:
    """One question: may `principal` do `action` ("s3:GetObject") on `resource` (an ARN)? Context keys are lower-case, values lists."""

    action: str
    resource: str
    principal: str = ""
    account: str = ""
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed document with its name, and AWS's word for where it comes from (user, group, role, aws-managed, user-managed, resource)."""

    name: str
    kind: str
    statements: tuple[dict[str, Any], ...]
    text: str = ""

    @staticmethod
    def parse(name: str, kind: str, document: str | Mapping[str, Any]) -> Policy:
        """Raises ValueError for text that is no policy."""
        parsed = json.loads(document) if isinstance(document, str) else document
        if not isinstance(parsed, dict) or "Statement" not in parsed:
            raise ValueError("a policy document needs a Statement")
        statements = parsed["Statement"]
        text = document if isinstance(document, str) else ""
        return Policy(name, kind, tuple(statements if isinstance(statements, list) else [statements]), text)


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, the statements it rests on as (policy, index), and context keys that policies asked for in vain."""

    verdict: str
    matched: tuple[tuple[Policy, int], ...] = ()
    missing: tuple[str, ...] = ()
    boundary_allows: bool | None = None

    @property
    def allowed(self) -> bool:
        return self.verdict == ALLOWED


def decide(
    access: Access,
    identity: Iterable[Policy] = (),
    *,
    resource: Policy | None = None,
    boundary: Policy | None = None,
    session: Sequence[Policy] = (),
) -> Decision:
    """IAM's verdict on one access.

    >>> reads = Policy.parse("reads", "user", {"Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}})
    >>> decide(Access("s3:GetObject", "arn:aws:s3:::data/a"), [reads]).verdict
    'allowed'
    >>> decide(Access("s3:PutObject", "arn:aws:s3:::data/a"), [reads]).verdict
    'implicitDeny'
    """
    identity = list(identity)
    everything = [*identity, *session, *([boundary] if boundary else []), *([resource] if resource else [])]
    missing = tuple(sorted({key for policy in everything for key in _asked(access, policy)}))
    denials = [hit for policy in everything for hit in _hits(access, policy, "Deny", needs_principal=policy is resource)]
    bounded = bool(_allows(access, [boundary])) if boundary else None
    if denials:
        return Decision(EXPLICIT_DENY, tuple(denials), missing, bounded)
    by_resource = _hits(access, resource, "Allow", needs_principal=True) if resource else []
    by_identity = _allows(access, identity)
    grants = [*by_identity, *by_resource]
    inside = bounded is not False and (not session or bool(_allows(access, session)))
    if (by_identity and inside) or (by_resource and _same_account(access)):
        return Decision(ALLOWED, tuple(grants), missing, bounded)
    return Decision(IMPLICIT_DENY, (), missing, bounded)


def context_keys(policies: Iterable[Policy]) -> list[str]:
    """The keys that policies ask a request for: in conditions, and as variables of resources and of conditions' values.

    >>> homes = {"Resource": "arn:aws:s3:::home/${aws:username}", "Condition": {"Bool": {"aws:x": 1}}}
    >>> context_keys([Policy.parse("homes", "user", {"Statement": homes})])
    ['aws:x', 'aws:username']
    """
    found: dict[str, None] = {}
    for policy in policies:
        for statement in policy.statements:
            values = [v for keys in (statement.get("Condition") or {}).values() for v in keys.values()]
            found |= dict.fromkeys(key for keys in (statement.get("Condition") or {}).values() for key in keys)
            texts = [t for v in [*values, statement.get("Resource", []), statement.get("NotResource", [])] for t in as_list(v)]
            found |= dict.fromkeys(name for text in texts for name in variables(str(text)))
    return list(found)


def trusts(document: str | Mapping[str, Any], access: Access) -> bool:
    """Whether a role's trust policy lets the principal do `access.action` (sts:AssumeRole)."""
    policy = Policy.parse("trust", "resource", document)
    if _hits(access, policy, "Deny", needs_principal=True, ignore_resource=True):
        return False
    return bool(_hits(access, policy, "Allow", needs_principal=True, ignore_resource=True))


def _allows(access: Access, policies: Iterable[Policy]) -> list[tuple[Policy, int]]:
    return [hit for policy in policies for hit in _hits(access, policy, "Allow", needs_principal=False)]


def _hits(access: Access, policy: Policy, effect: str, *, needs_principal: bool, ignore_resource: bool = False) -> list[tuple[Policy, int]]:
    return [
        (policy, index)
        for index, statement in enumerate(policy.statements)
        if statement.get("Effect") == effect
        and _covers(access, statement, ignore_resource)
        and (not needs_principal or principal_matches(statement, access))
        and conditions_hold(statement.get("Condition") or {}, access.context)
    ]


def _asked(access: Access, policy: Policy) -> set[str]:
    return {key for s in policy.statements if _covers(access, s, False) for key in missing_keys(s.get("Condition") or {}, access.context)}


def _covers(access: Access, statement: Mapping[str, Any], ignore_resource: bool) -> bool:
    """Action and resource of a statement, either of which may be turned round by its Not… form."""
    if "NotAction" in statement:
        action = not any(matches(p.lower(), access.action.lower()) for p in as_list(statement["NotAction"]))
    else:
        action = any(matches(p.lower(), access.action.lower()) for p in as_list(statement.get("Action", [])))
    if not action or ignore_resource:
        return action
    if "NotResource" in statement:
        return not any(_resource_matches(p, access) for p in as_list(statement["NotResource"]))
    return any(_resource_matches(p, access) for p in as_list(statement.get("Resource", [])))


def _resource_matches(pattern: str, access: Access) -> bool:
    return pattern == "*" or matches(with_variables(pattern, access.context), access.resource)


def principal_matches(statement: Mapping[str, Any], access: Access) -> bool:
    """Whether a resource-based statement speaks of this principal."""
    if "NotPrincipal" in statement:
        return not _is_named(statement["NotPrincipal"], access)
    return "Principal" in statement and _is_named(statement["Principal"], access)


def _is_named(principal: Any, access: Access) -> bool:
    if principal == "*":
        return True
    for kind, names in principal.items():
        for name in as_list(names):
            if name == "*" and kind == "AWS":
                return True
            if name == access.principal:
                return True
            if kind == "AWS" and name in (access.account, f"arn:aws:iam::{access.account}:root"):
                return bool(access.account)
            if kind == "AWS" and _role_of(access.principal) == name:
                return True
    return False


def _role_of(principal: str) -> str:
    """The role behind an assumed role's session."""
    found = re.match(r"^arn:(aws[\w-]*):sts::(\d+):assumed-role/([^/]+)/", principal)
    return f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}" if found else ""


def _same_account(access: Access) -> bool:
    owner = access.resource.split(":")[4] if access.resource.count(":") >= 5 else ""
    return not owner or owner == access.account


def as_list(value: Any) -> list[Any]:
    """One or many, as policy documents allow."""
    return value if isinstance(value, list) else [value]


def matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: `*` any run of characters, `?` one.

    >>> matches("arn:aws:s3:::data/*", "arn:aws:s3:::data/a/b")
    True
    """
    return _compiled(pattern).fullmatch(text) is not None


@functools.lru_cache(4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = ("." if c == "?" else ".*" if c == "*" else re.escape(c) for c in pattern)
    return re.compile("".join(pieces), re.DOTALL)
