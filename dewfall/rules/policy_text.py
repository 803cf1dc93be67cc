"""Whether a policy document is one, and in IAM's words why not: grammar, version, legacy parsing, ids, actions, resources, in this order.

Why an order: IAM tells the first problem only, and clients' tests know which one that is. Source: IAM User Guide, "Grammar of the IAM JSON
policy language", and IAM's own answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from dewfall.rules.conditions import OPERATORS

SYNTAX = "Syntax errors in policy."
LEGACY = "The policy failed legacy parsing"
PREFACED = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
VERSIONS = ("2008-10-17", "2012-10-17")
TOP = {"Version", "Id", "Statement"}
IDENTITY = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
TRUST = {"Sid", "Effect", "Action", "NotAction", "Principal", "NotPrincipal", "Condition"}
PARTITIONS = ("aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "*")
IAM_PATHS = (
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
)
_OPERATOR = re.compile(r"(?:(?:ForAllValues|ForAnyValue):)?([A-Za-z]+?)(?:IfExists)?")
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt](\d{1,2})(?::([0-5]\d)(?::([0-5]\d)(?:\.\d{1,9})?)?)?(?:[Zz]|[+-](?:0\d|1\d|2[0-3])(?::?[0-5]\d)?)?)?|0?[1-9]T"
)

Statement = dict[str, Any]


class Malformed(ValueError):
    """The document is no policy; the message is IAM's."""


def check_identity_policy(text: str) -> None:
    """A policy of a user, group or role, or a managed one. Raises Malformed.

    >>> check_identity_policy('{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}')
    """
    document, statements = _parse(text, IDENTITY | {"Principal", "NotPrincipal"})
    if document.get("Version") != "2012-10-17":
        raise Malformed("Policy document must be version 2012-10-17 or greater.")
    resources = [r for s in statements for name in ("Resource", "NotResource") if name in s for r in _each(s[name])]
    if any(s["Effect"] not in ("Allow", "Deny") for s in statements) or not all(_is_dated(s) for s in statements):
        raise Malformed(LEGACY)
    problems = [_resource_problem(resource) for resource in resources]
    first = next((problem for problem in problems if problem), "")
    if LEGACY in problems and not (first.startswith("Partition") and problems.index(LEGACY) > problems.index(first)):
        raise Malformed(LEGACY)
    _check_ids(statements)
    if any("Principal" in s or "NotPrincipal" in s for s in statements):
        raise Malformed("Policy document should not specify a principal.")
    if any(not _each(s.get("Action", s.get("NotAction", []))) for s in statements):
        raise Malformed("Policy statement must contain actions.")
    if any(not _each(s.get("Resource", s.get("NotResource", []))) for s in statements):
        _check_actions(statements)
        raise Malformed("Policy statement must contain resources.")
    if first:
        raise Malformed(first)
    _check_actions(statements)


def check_trust_policy(text: str) -> None:
    """A role's trust policy: principals, and no resources. Raises Malformed."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("This policy contains invalid Json") from None
    _, statements = _parse(text, TRUST | {"Resource", "NotResource"})
    for statement in statements:
        if statement["Effect"] not in ("Allow", "Deny"):
            raise Malformed(LEGACY)
        if "Resource" in statement or "NotResource" in statement:
            raise Malformed("Has prohibited field Resource")
        if not statement.get("Principal") and not statement.get("NotPrincipal"):
            raise Malformed("Missing required field Principal")
        if not _each(statement.get("Action", statement.get("NotAction", []))):
            raise Malformed("Missing required field Action")
        for action in _each(statement.get("Action", statement.get("NotAction"))):
            if action != "*" and not action.lower().startswith("sts:"):
                raise Malformed("AssumeRole policy may only specify STS AssumeRole actions.")
    _check_ids(statements)
    _check_actions(statements)


def is_statement(statement: Any) -> bool:
    """Whether something has the grammar of a statement, of whatever policy.

    >>> is_statement({"Effect": "Allow", "Action": None})
    False
    """
    return isinstance(statement, dict) and _is_statement(statement, set(statement))


def unknown_operators(condition: Any) -> list[str]:
    """The names in a condition that are no operators."""
    names = [(name, _OPERATOR.fullmatch(name)) for name in condition] if isinstance(condition, dict) else []
    return [name for name, found in names if found is None or found[1] not in (*OPERATORS, "Null")]


# ---------------------------------------------------------------- grammar


def _parse(text: str, allowed: set[str]) -> tuple[dict[str, Any], list[Statement]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed(SYNTAX) from None
    if not isinstance(document, dict) or not set(document) <= TOP or document.get("Version", VERSIONS[0]) not in VERSIONS:
        raise Malformed(SYNTAX)
    found = document.get("Statement")
    statements: list[Any] = found if isinstance(found, list) else [found]
    if not statements or not isinstance(document.get("Id", ""), str) or not all(_is_statement(s, allowed) for s in statements):
        raise Malformed(SYNTAX)
    return document, statements


def _is_statement(statement: Any, allowed: set[str]) -> bool:
    if not isinstance(statement, dict) or not set(statement) <= allowed or not isinstance(statement.get("Sid", ""), str):
        return False
    if not isinstance(statement.get("Effect"), str) or statement["Effect"].lower() not in ("allow", "deny"):
        return False
    if any(name in statement and f"Not{name}" in statement for name in ("Action", "Resource", "Principal")):
        return False
    texts = [statement[name] for name in ("Action", "NotAction", "Resource", "NotResource") if name in statement]
    if not all(isinstance(item, str) for value in texts for item in _each(value)):
        return False
    return _is_condition(statement.get("Condition", {})) and all(_is_principal(statement.get(n, "*")) for n in ("Principal", "NotPrincipal"))


def _is_condition(condition: Any) -> bool:
    if not isinstance(condition, dict):
        return False
    for operator, keys in condition.items():
        name = _OPERATOR.fullmatch(operator)
        if not isinstance(keys, dict) or (keys and (name is None or name[1] not in (*OPERATORS, "Null"))):
            return False
        if not all(isinstance(item, str | int | float | bool) for value in keys.values() for item in _each(value)):
            return False
    return True


def _is_principal(principal: Any) -> bool:
    if isinstance(principal, str):
        return principal == "*"
    return isinstance(principal, dict) and all(isinstance(name, str) for names in principal.values() for name in _each(names))


def _is_dated(statement: Statement) -> bool:
    """Whether every date of its conditions is one: a time, or seconds that fit into 64 bits."""
    for operator, keys in statement.get("Condition", {}).items():
        if operator.rpartition(":")[2].startswith("Date"):
            return all(_is_date(str(item)) for value in keys.values() for item in _each(value))
    return True


def _is_date(text: str) -> bool:
    if re.fullmatch(r"-?\d+", text):
        return -(2**63) <= int(text) < 2**63
    found = _DATE.fullmatch(text)
    if found is None or not found[1]:
        return found is not None
    try:
        datetime.fromisoformat(found[1])
    except ValueError:
        return False
    return int(found[2] or 0) < 24


def _check_ids(statements: list[Statement]) -> None:
    ids = [s["Sid"] for s in statements if s.get("Sid")]
    if len(set(ids)) < len(ids):
        raise Malformed("Statement IDs (SID) in a single policy must be unique.")


# ---------------------------------------------------------------- actions and resources


def _check_actions(statements: list[Statement]) -> None:
    for statement in statements:
        for action in _each(statement.get("Action", statement.get("NotAction"))):
            vendor, colon, name = action.partition(":")
            if action == "*":
                continue
            if not colon or not name:
                raise Malformed(PREFACED)
            if ":" in name:
                raise Malformed("Actions/Condition can contain only one colon.")
            if not re.fullmatch(r"[A-Za-z0-9.*?-]+", vendor):
                raise Malformed(f"Vendor {vendor} is not valid")


def _resource_problem(resource: str) -> str:
    """What IAM says of a resource; "" when it is one."""
    if resource == "*" or "${" in resource.partition(":")[0]:
        return ""
    parts = resource.split(":", 5)
    if len(parts) == 1:
        return f'Resource {resource} must be in ARN format or "*".'
    partition, rest = parts[1], parts[2:]
    if partition not in PARTITIONS:
        shown = ":".join(["arn", partition, *rest, *["*"] * (4 - len(rest))])
        return f'Partition "{partition}" is not valid for resource "{shown}".'
    if not rest:
        return "Resource vendor must be fully qualified and cannot contain regexes."
    service = rest[0]
    if not service or (service == "s3" and len(rest) < 4):
        return LEGACY
    check = _SERVICES.get(service)
    return check(resource, rest) if check and len(rest) == 4 else ""


def _iam_problem(resource: str, rest: list[str]) -> str:
    if rest[1]:
        return f"IAM resource {resource} cannot contain region information."
    if rest[3] != "*" and not rest[3].startswith((*IAM_PATHS, "*", "${")) and rest[3] != "root":
        return f'IAM resource path must either be "*" or start with {", ".join(IAM_PATHS)}.'
    return ""


def _s3_problem(resource: str, rest: list[str]) -> str:
    regional = rest[3].startswith(("accesspoint/", "job/", "storage-lens/", "*"))
    return f"Resource {resource} can not contain region information." if rest[1] and not regional else ""


_SERVICES: dict[str, Callable[[str, list[str]], str]] = {"iam": _iam_problem, "s3": _s3_problem}


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---------------------------------------------------------------- where statements are


def places(text: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where each statement of a document begins and ends: ((line, column), (line, column)), both counted from 1, the end past the last character.

    >>> places('{"Statement": {"Effect": "Allow"}}')
    [((1, 15), (1, 34))]
    """
    return [(_place(text, start), _place(text, end)) for start, end in _spans(text)]


def _place(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Offsets of the statements, found by a walk over the text's strings and braces."""
    depth, wanted, start = 0, 0, 0
    stack: list[str] = []
    last = ""
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}:]', text):
        mark = token[0]
        if mark in "[{":
            stack.append(mark)
            depth += 1
            if wanted and mark == "{" and depth == (wanted + 1 if stack[wanted - 1 : wanted] == ["["] else wanted):
                start = token.start()
            if not wanted and depth == 2 and last == '"Statement"':
                wanted, start = depth, token.start()
        elif mark in "]}":
            opened = wanted and depth == (wanted if stack[wanted - 1] == "{" else wanted + 1)
            if opened and mark == "}":
                yield start, token.end()
            stack.pop()
            depth -= 1
            if depth < wanted:
                return
        elif mark != ":":
            last = mark if depth == 1 else last
