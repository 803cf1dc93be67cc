"""The Condition element of a policy: operators, set qualifiers, …IfExists, and policy variables.

Source: IAM User Guide, "IAM JSON policy elements: Condition operators" and "Variables and tags".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import translate
from typing import Any

Context = Mapping[str, Sequence[str]]
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NEGATED = ("StringNot", "NumericNot", "DateNot", "ArnNot", "NotIpAddress")


def conditions_hold(condition: Mapping[str, Any], context: Context) -> bool:
    """Whether every operator block and every key of it holds (AND); values of one key are alternatives (OR).

    >>> conditions_hold({"StringEquals": {"aws:RequestedRegion": ["us-east-1"]}}, {"aws:requestedregion": ["us-east-1"]})
    True
    """
    return all(_holds(operator, key, values, context) for operator, key, values in _entries(condition))


def missing_keys(condition: Mapping[str, Any], context: Context) -> Iterator[str]:
    """Keys that a condition asks for and the request does not have."""
    for operator, key, _ in _entries(condition):
        if key.lower() not in context and operator.rpartition(":")[2] != "Null":
            yield key


def with_variables(text: str, context: Context) -> str:
    """Replace `${aws:username}` and its like; an unknown one stays and so matches nothing. `${*}`, `${?}`, `${$}` are literal."""

    def value(found: re.Match[str]) -> str:
        name, _, default = found[1].partition(",")
        if name in ("*", "?", "$"):
            return name
        known = context.get(name.strip().lower())
        return known[0] if known else default.strip().strip("'") or found[0]

    return _VARIABLE.sub(value, text)


def variables(text: str) -> list[str]:
    """The names of a text's policy variables, the literal ones left out.

    >>> variables("home/${aws:username, 'nobody'}/${*}")
    ['aws:username']
    """
    names = (found[1].partition(",")[0].strip() for found in _VARIABLE.finditer(text))
    return [name for name in names if name not in ("*", "?", "$")]


def _entries(condition: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    for operator, keys in condition.items():
        for key, values in keys.items():
            yield operator, key, [_text(v) for v in (values if isinstance(values, list) else [values])]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _holds(operator: str, key: str, wanted: list[str], context: Context) -> bool:
    qualifier, _, name = operator.rpartition(":")
    present = context.get(key.lower())
    if name == "Null":
        return (not present) == (wanted[0].lower() == "true")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    if not present:
        return if_exists or qualifier == "ForAllValues" or (name.startswith(_NEGATED) and not qualifier)
    test = OPERATORS.get(name)
    if test is None:
        return False
    values = [with_variables(v, context) for v in wanted]
    negated = name.startswith(_NEGATED)

    def fits(value: str) -> bool:
        return all(test(value, v) for v in values) if negated else any(test(value, v) for v in values)

    return any(fits(v) for v in present) if qualifier == "ForAnyValue" else all(fits(v) for v in present)


def _like(value: str, pattern: str) -> bool:
    return re.match(translate(pattern.replace("[", "[[]")), value) is not None


def _arn_like(value: str, pattern: str) -> bool:
    pieces, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(pieces) == len(patterns) and all(_like(v, p) for v, p in zip(pieces, patterns, strict=True))


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(value: str, wanted: str) -> bool:
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False

    return test


def _date(compare: Callable[[datetime, datetime], bool]) -> Callable[[str, str], bool]:
    def test(value: str, wanted: str) -> bool:
        try:
            return compare(_moment(value), _moment(wanted))
        except ValueError:
            return False

    return test


def _moment(text: str) -> datetime:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return datetime.fromtimestamp(float(text), UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _in_network(value: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda v, w: v == w,
    "StringNotEquals": lambda v, w: v != w,
    "StringEqualsIgnoreCase": lambda v, w: v.lower() == w.lower(),
    "StringNotEqualsIgnoreCase": lambda v, w: v.lower() != w.lower(),
    "StringLike": _like,
    "StringNotLike": lambda v, w: not _like(v, w),
    "NumericEquals": _number(lambda v, w: v == w),
    "NumericNotEquals": _number(lambda v, w: v != w),
    "NumericLessThan": _number(lambda v, w: v < w),
    "NumericLessThanEquals": _number(lambda v, w: v <= w),
    "NumericGreaterThan": _number(lambda v, w: v > w),
    "NumericGreaterThanEquals": _number(lambda v, w: v >= w),
    "DateEquals": _date(lambda v, w: v == w),
    "DateNotEquals": _date(lambda v, w: v != w),
    "DateLessThan": _date(lambda v, w: v < w),
    "DateLessThanEquals": _date(lambda v, w: v <= w),
    "DateGreaterThan": _date(lambda v, w: v > w),
    "DateGreaterThanEquals": _date(lambda v, w: v >= w),
    "Bool": lambda v, w: v.lower() == w.lower(),
    "BinaryEquals": lambda v, w: v == w,
    "IpAddress": _in_network,
    "NotIpAddress": lambda v, w: not _in_network(v, w),
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "ArnNotEquals": lambda v, w: not _arn_like(v, w),
    "ArnNotLike": lambda v, w: not _arn_like(v, w),
}
