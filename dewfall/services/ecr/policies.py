"""What ECR takes as a repository's, a registry's and a lifecycle policy."""

from __future__ import annotations

import json
from typing import Any

from dewfall.errors import AwsError
from dewfall.rules.policy import Policy

REGISTRY_ACTIONS = ("ecr:*", "ecr:BatchImportUpstreamImage", "ecr:CreateRepository", "ecr:ReplicateImage")
STATUSES = ("any", "tagged", "untagged")


def invalid(name: str, words: str) -> AwsError:
    """InvalidParameterException about a parameter, in ECR's form."""
    return AwsError("InvalidParameterException", f"Invalid parameter at '{name}' failed to satisfy constraint: '{words}'", status=400)


def check_policy(text: str, kind: str) -> None:
    """Refuse what is no policy of a "repository" (which names no resource) or of a "registry" (which names some, and few actions)."""
    try:
        holds = all(isinstance(s, dict) and _holds(s, kind) for s in Policy.parse(kind, "resource", text).statements)
    except ValueError:
        holds = False
    if not holds:
        raise invalid("PolicyText", f"Invalid {kind} policy provided")


def _holds(statement: dict[str, Any], kind: str) -> bool:
    if statement.get("Effect") not in ("Allow", "Deny") or not ({"Principal", "NotPrincipal"} & set(statement)):
        return False
    actions = statement.get("Action", statement.get("NotAction"))
    actions = [actions] if isinstance(actions, str) else actions
    if not actions or not all(str(action) == "*" or str(action).lower().startswith("ecr:") for action in actions):
        return False
    if kind == "registry":
        return "Resource" in statement and all(action in REGISTRY_ACTIONS for action in actions)
    return "Resource" not in statement


def check_lifecycle(text: str) -> None:
    """Refuse what is no lifecycle policy, in the words of ECR's schema."""
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, dict):
        raise _failure("Could not map policyString into LifecyclePolicy.")
    _required(policy, ("rules",))
    if not isinstance(policy["rules"], list):
        raise _failure('object has missing required properties (["rules"])')
    for rule in policy["rules"]:
        if not isinstance(rule, dict):
            raise _failure('instance type (string) does not match any allowed primitive type (allowed: ["object"])')
        _required(rule, ("rulePriority", "selection", "action"), ("description",))
        selection = rule["selection"]
        filters = ("countUnit", "tagPrefixList", "tagPatternList", "storageClass")
        _required(selection, ("tagStatus", "countType", "countNumber"), filters)
        if selection["tagStatus"] not in STATUSES:
            raise _failure(f"instance value ({selection['tagStatus']}) not found in enum :(possible values: {json.dumps(STATUSES)})")
        if int(selection["countNumber"]) < 1:
            raise _failure(f"numeric instance is lower than the required minimum (minimum: 1, found: {selection['countNumber']})")
        _required(rule["action"], ("type",), ("targetStorageClass",))


def _required(found: dict[str, Any], names: tuple[str, ...], more: tuple[str, ...] = ()) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise _failure(f"object has missing required properties ({json.dumps(missing)})")
    unknown = [name for name in found if name not in names + more]
    if unknown:
        raise _failure(f"object instance has properties which are not allowed by the schema: ({json.dumps(unknown)})")


def _failure(words: str) -> AwsError:
    return invalid("LifecyclePolicyText", f"Lifecycle policy validation failure: {words}")
