"""Subscription filter policies: what SNS takes as one, and whether a message passes it."""

from __future__ import annotations

import json
import math
from typing import Any

from dewfall.errors import AwsError
from dewfall.rules.json_problems import jackson
from dewfall.rules.patterns import InvalidPattern, check_pattern, field_matches, matches

SCOPES = ("MessageAttributes", "MessageBody")
KEYS_LIMIT = 5
DIGITS = 5  # after the decimal point
COMBINATIONS_LIMIT = 150


def invalid(message: str) -> AwsError:
    """InvalidParameter in SNS's form."""
    return AwsError("InvalidParameter", f"Invalid parameter: {message}", status=400)


def unparsed(problem: json.JSONDecodeError) -> str:
    """What SNS says of text that is no JSON."""
    return f"failed to parse JSON. {jackson(problem, 'REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled)')}"


def check_filter_policy(text: str, scope: str, prefix: str = "") -> None:
    """Refuse what SNS refuses. `prefix`: "Attributes Reason: " where the policy came with Subscribe."""
    try:
        policy = json.loads(text)
        if policy:
            check_pattern(text)
    except json.JSONDecodeError as problem:
        raise invalid(f"{prefix}FilterPolicy: {unparsed(problem)}") from None
    except InvalidPattern as reason:
        raise invalid(f"{prefix}FilterPolicy: {reason}") from None
    if scope == "MessageAttributes" and any(isinstance(rules, dict) for rules in policy.values()):
        raise invalid(f"{prefix}Filter policy scope MessageAttributes does not support nested filter policy")
    if len(policy) > KEYS_LIMIT:
        raise invalid(f"{prefix}FilterPolicy: Filter policy can not have more than {KEYS_LIMIT} keys")
    if combinations(policy) > COMBINATIONS_LIMIT:
        raise invalid(f"{prefix}FilterPolicy: Filter policy is too complex")


def combinations(policy: dict[str, Any], level: int = 1) -> int:
    """SNS's measure of a policy: each field's values times its depth, multiplied; the alternatives of an $or are added.

    >>> combinations({"a": [1, 2], "b": {"c": [1, 2, 3]}})
    12
    """
    found = []
    for name, rules in policy.items():
        if isinstance(rules, dict):
            found.append(combinations(rules, level + 1))
        elif name == "$or" and all(isinstance(branch, dict) for branch in rules):
            found.append(sum(combinations(branch, level) for branch in rules))
        else:
            values = sum(len(rule["anything-but"]) if _is_many(rule) else 1 for rule in rules)
            found.append(values * level)
    return math.prod(found)


def _is_many(rule: Any) -> bool:
    return isinstance(rule, dict) and isinstance(rule.get("anything-but"), list)


def passes(settings: dict[str, str], attributes: dict[str, dict[str, str]], text: str) -> bool:
    """Whether a subscription wants a message. `attributes` as the envelope has them: {name: {"Type", "Value"}}."""
    policy = json.loads(settings.get("FilterPolicy") or "{}")
    if not policy:
        return True
    if settings.get("FilterPolicyScope") == "MessageBody":
        try:
            body = json.loads(text)
        except ValueError:
            return False
        return isinstance(body, dict) and matches(_rounded(policy), _rounded(body))
    return _attributes_match(_rounded(policy), {name: _rounded(_typed(attribute)) for name, attribute in attributes.items()})


def _rounded(value: Any) -> Any:
    """A value with its numbers as exact as SNS compares them."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return {name: _rounded(item) for name, item in value.items()} if isinstance(value, dict) else value


def _attributes_match(policy: dict[str, Any], values: dict[str, Any]) -> bool:
    for name, rules in policy.items():
        if name == "$or" and all(isinstance(branch, dict) for branch in rules):
            if not any(_attributes_match(branch, values) for branch in rules):
                return False
        elif not field_matches(rules, values.get(name), present=name in values):
            return False
    return True


def _typed(attribute: dict[str, str]) -> Any:
    if attribute["Type"].startswith("Number"):
        number = float(attribute["Value"])
        return int(number) if number.is_integer() else number
    if attribute["Type"].startswith("String.Array"):
        try:
            return json.loads(attribute["Value"])
        except ValueError:
            return attribute["Value"]
    return attribute["Value"]
