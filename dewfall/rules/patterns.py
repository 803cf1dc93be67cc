"""Event patterns of EventBridge, and the filter policies of SNS, which are their dialect.

Source: EventBridge User Guide, "Comparison operators for use in event patterns"; SNS Developer Guide, "Subscription filter policies".
"""

from __future__ import annotations

import functools
import ipaddress
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dewfall.rules.json_problems import jackson

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WILDCARDS_LIMIT = 5  # in one text; AWS measures how many places of the rule a text can be at
TOO_COMPLEX = "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character"
OPERATORS = {"prefix", "suffix", "equals-ignore-case", "anything-but", "numeric", "exists", "cidr", "wildcard"}


class InvalidPattern(ValueError):
    """The pattern is none; the message says why."""


def check_pattern(text: str) -> dict[str, Any]:
    """A pattern's text → its value. Raises InvalidPattern."""
    try:
        pattern = json.loads(text)
    except json.JSONDecodeError as problem:
        raise InvalidPattern(jackson(problem, f'(String)"{text}"')) from None
    if not isinstance(pattern, dict):
        raise InvalidPattern(f'Filter is not an object\n at [Source: (String)"{text}"; line: 1, column: 2]')
    _check(pattern)
    return pattern


def _check(pattern: Mapping[str, Any]) -> None:
    if not pattern:
        raise InvalidPattern("Empty objects are not allowed")
    for name, wanted in pattern.items():
        if name == "$or" and isinstance(wanted, list):
            for branch in wanted:
                _check(branch)
        elif isinstance(wanted, dict):
            _check(wanted)
        elif not isinstance(wanted, list):
            raise InvalidPattern(f'"{name}" must be an object or an array')
        elif not wanted:
            raise InvalidPattern("Empty arrays are not allowed")
        else:
            for rule in wanted:
                _check_rule(rule)


def _check_rule(rule: Any) -> None:
    if isinstance(rule, list):
        raise InvalidPattern("Match value must be String, number, true, false, or null")
    if not isinstance(rule, dict):
        return
    if len(rule) > 1:
        raise InvalidPattern("Only one key allowed in match expression")
    name: str = next(iter(rule), "")
    argument: Any = rule.get(name)
    if name not in OPERATORS:
        raise InvalidPattern(f"Unrecognized match type {name}")
    if name in ("prefix", "suffix") and not (isinstance(argument, str) or (isinstance(argument, dict) and set(argument) == {"equals-ignore-case"})):
        raise InvalidPattern(f"{name} match pattern must be a string")
    if name in ("equals-ignore-case", "wildcard", "cidr") and not isinstance(argument, str):
        raise InvalidPattern(f"{'prefix' if name == 'cidr' else name} match pattern must be a string")
    if name == "wildcard":
        _check_wildcard(argument)
    if name == "cidr":
        _check_network(argument)
    if name == "anything-but":
        _check_exclusion(argument)
    if name == "exists" and not isinstance(argument, bool):
        raise InvalidPattern("exists match pattern must be either true or false.")
    if name == "numeric":
        _check_numeric(argument)


def _check_wildcard(text: str) -> None:
    if "**" in text:
        raise InvalidPattern(f"Consecutive wildcard characters at pos {text.index('**') + 1}")
    if text.replace("\\*", "").count("*") > WILDCARDS_LIMIT:
        raise InvalidPattern(TOO_COMPLEX)


def _check_network(text: str) -> None:
    address, slash, bits = text.partition("/")
    if not slash or "/" in bits:
        raise InvalidPattern("Malformed CIDR, one '/' required")
    if not bits.isdigit():
        raise InvalidPattern("Malformed CIDR, mask bits must be an integer")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        raise InvalidPattern(f"Nonstandard IP address: {address}") from None
    if int(bits) > found.max_prefixlen:
        raise InvalidPattern("Malformed CIDR, mask bits must not exceed " + str(found.max_prefixlen))


def _check_exclusion(wanted: Any) -> None:
    """The argument of anything-but: a text, a number, a list of them, or one of the operators for texts."""
    if isinstance(wanted, dict):
        name, argument = next(iter(wanted.items()), ("", None))
        if len(wanted) != 1 or name not in ("prefix", "suffix", "equals-ignore-case", "wildcard"):
            raise InvalidPattern(f"Unsupported anything-but pattern: {name}")
        if isinstance(argument, dict):
            raise InvalidPattern("Value of anything-but must be an array or single string/number value.")
        texts: list[Any] = argument if isinstance(argument, list) else [argument]
        if any(not isinstance(text, str) for text in texts):
            if name == "equals-ignore-case":
                raise InvalidPattern(f"Inside anything-but/{name} list, number|start|null|boolean is not supported.")
            raise InvalidPattern(f"{'wildcard' if name == 'wildcard' else 'prefix/suffix'} match pattern must be a string")
        if name == "wildcard":
            for text in texts:
                _check_wildcard(text)
        if name in ("prefix", "suffix") and "" in texts:
            raise InvalidPattern("Null prefix/suffix not allowed")
    elif isinstance(wanted, list):
        if not wanted or not all(isinstance(value, str) or _is_number(value) for value in wanted):
            raise InvalidPattern("Inside anything but list, start|null|boolean is not supported.")
    elif not isinstance(wanted, str) and not _is_number(wanted):
        raise InvalidPattern("Value of anything-but must be an array or single string/number value.")


def _check_numeric(wanted: Any) -> None:
    """`[sign, number]`, or a range with a lower bound first."""
    if not isinstance(wanted, list):
        raise InvalidPattern("Value of numeric must be an array.")
    if not wanted or not isinstance(wanted[0], str):
        raise InvalidPattern(f"Invalid member in numeric match: {wanted[0] if wanted else ']'}")
    sign = wanted[0]
    if sign not in _COMPARE:
        raise InvalidPattern(f"Unrecognized numeric range operator: {sign}")
    if len(wanted) < 2 or not _is_number(wanted[1]):
        raise InvalidPattern(f"Value of {'equals' if sign == '=' else sign} must be numeric")
    if len(wanted) == 2:
        return
    if sign not in (">", ">="):
        raise InvalidPattern("Too many elements in numeric expression")
    if not isinstance(wanted[2], str):
        raise InvalidPattern(f"Bad value in numeric range: {wanted[2]}")
    if wanted[2] not in ("<", "<="):
        raise InvalidPattern(f"Bad numeric range operator: {wanted[2]}")
    if len(wanted) < 4 or not _is_number(wanted[3]):
        raise InvalidPattern(f"Value of {wanted[2]} must be numeric")
    if len(wanted) > 4:
        raise InvalidPattern("Too many terms in numeric range expression")
    if wanted[1] >= wanted[3]:
        raise InvalidPattern("Bottom must be less than top")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event fits a pattern: every field of it, by any of its alternatives.

    >>> matches({"source": ["aws.s3"], "detail": {"size": [{"numeric": [">", 10]}]}}, {"source": "aws.s3", "detail": {"size": 12}})
    True
    """
    for name, wanted in pattern.items():
        if name not in event and name != "$or":
            event = _joined(event, name)
        if name == "$or" and isinstance(wanted, list):
            if not any(matches(branch, event) for branch in wanted):
                return False
        elif isinstance(wanted, dict):
            inner = event.get(name)
            branches = inner if isinstance(inner, list) else [inner if isinstance(inner, dict) else {}]
            if not any(matches(wanted, branch) for branch in branches if isinstance(branch, dict)):
                return False
        elif not field_matches(wanted, event.get(name), present=name in event):
            return False
    return True


def _joined(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The event with `name` found across dots: `a.b` is b in a, and a.b is b in a member called `a.b`, as EventBridge flattens both."""
    inner = {key[len(name) + 1 :]: value for key, value in event.items() if key.startswith(f"{name}.")}
    if inner:
        return {**event, name: inner}
    outer = next((key for key in event if name.startswith(f"{key}.") and isinstance(event[key], dict)), None)
    if outer is None:
        return event
    rest = name[len(outer) + 1 :]
    found = event[outer] if rest in event[outer] else _joined(event[outer], rest)
    return {**event, name: found[rest]} if rest in found else event


def field_matches(rules: Sequence[Any], value: Any, *, present: bool) -> bool:
    """Whether a field's value (any of them where it is a list) fits any of the rules."""
    values = list(_leaves(value)) if present else []
    return any(_rule_matches(rule, values, present) for rule in rules)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _rule_matches(rule: Any, values: list[Any], present: bool) -> bool:
    if isinstance(rule, dict):
        name, wanted = next(iter(rule.items()))
        if name == "exists":
            leaf = present and any(not isinstance(value, dict) for value in values)
            return bool(wanted) == leaf
        if name == "anything-but":
            return bool(values) and all(not _is_any_of(wanted, value) for value in values)
        return any(_compare(name, wanted, value) for value in values)
    return any(_same(rule, value) for value in values)


def _is_any_of(wanted: Any, value: Any) -> bool:
    """Of anything-but: a value, a list, or an inner operator with one or many arguments."""
    if isinstance(wanted, dict):
        name, argument = next(iter(wanted.items()))
        return any(_compare(name, one, value) for one in (argument if isinstance(argument, list) else [argument]))
    return any(_same(one, value) for one in (wanted if isinstance(wanted, list) else [wanted]))


def _same(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    return bool(wanted == value)


def _compare(name: str, wanted: Any, value: Any) -> bool:
    if name == "numeric":
        return _numeric(wanted, value)
    if not isinstance(value, str):
        return False
    if name in ("prefix", "suffix"):
        if isinstance(wanted, dict):
            wanted, value = str(wanted.get("equals-ignore-case", "")).lower(), value.lower()
        return bool(value.startswith(wanted) if name == "prefix" else value.endswith(wanted))
    if name == "equals-ignore-case":
        return value.lower() == str(wanted).lower()
    if name == "wildcard":
        return _wildcard(str(wanted)).fullmatch(value) is not None
    return name == "cidr" and _in_network(value, str(wanted))


def _numeric(wanted: Sequence[Any], value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return all(_COMPARE[str(sign)](value, limit) for sign, limit in zip(wanted[::2], wanted[1::2], strict=True))


@functools.lru_cache(1024)
def _wildcard(pattern: str) -> re.Pattern[str]:
    pieces = re.findall(r"\\[*\\]|\*|[^*\\]+|\\", pattern)
    return re.compile("".join(".*" if p == "*" else re.escape(p[1:] if len(p) == 2 and p[0] == "\\" else p) for p in pieces), re.DOTALL)


def _in_network(value: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
