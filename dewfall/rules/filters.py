"""Search filters: which documents match an expression of property paths, operators and values.

Why pure: the answer depends on document and expression alone, and the odd paths (tags, metrics, dotted keys) need many small tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any


def matches(document: dict[str, Any], expression: dict[str, Any]) -> bool:
    """Whether a document satisfies a SearchExpression; an empty one is satisfied by all."""
    verdicts = [_filter_matches(document, item) for item in expression.get("Filters", ())]
    verdicts += [_nested_matches(document, item) for item in expression.get("NestedFilters", ())]
    verdicts += [matches(document, item) for item in expression.get("SubExpressions", ())]
    if not verdicts:
        return True
    return any(verdicts) if expression.get("Operator") == "Or" else all(verdicts)


def asked_names(expression: dict[str, Any]) -> Iterator[str]:
    """The names of all the properties that an expression asks for.

    >>> list(asked_names({"Filters": [{"Name": "A.b"}], "SubExpressions": [{"NestedFilters": [{"NestedPropertyName": "C", "Filters": []}]}]}))
    ['A.b', 'C']
    """
    yield from (item["Name"] for item in expression.get("Filters", ()))
    yield from (item["NestedPropertyName"] for item in expression.get("NestedFilters", ()))
    for part in expression.get("SubExpressions", ()):
        yield from asked_names(part)


def values_at(value: Any, path: list[str]) -> Iterator[Any]:
    """Every value at a property path: lists are entered, keys may themselves hold dots, metrics and tags go by their names."""
    if not path:
        if isinstance(value, list):
            yield from (leaf for item in value for leaf in values_at(item, []))
        else:
            yield value
    elif isinstance(value, list):
        yield from _values_of_list(value, path)
    elif isinstance(value, dict):
        for length in range(len(path), 0, -1):
            key = ".".join(path[:length])
            if key in value:
                yield from values_at(value[key], path[length:])
                return
        lower = {name.lower(): member for name, member in value.items()}
        if path[0].lower() in lower:
            yield from values_at(lower[path[0].lower()], path[1:])


def sort_value(document: dict[str, Any], name: str) -> tuple[int, Any]:
    """A document's place in an order by a property; documents without it come first."""
    found = next(values_at(document, name.split(".")), None)
    if found is None:
        return (0, "")
    if isinstance(found, datetime):
        return (1, found.timestamp())
    return (1, found) if isinstance(found, int | float) else (2, str(found).lower())


def property_names(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The paths by which `values_at` finds something in a document.

    >>> sorted(property_names({"A": {"b": 1}, "Tags": [{"Key": "k", "Value": "v"}]}))
    ['A.b', 'Tags.k']
    """
    if isinstance(value, dict):
        named = value.get("Key", value.get("MetricName")) if path else None
        if named is not None:
            yield ".".join((*path, str(named)))
        else:
            for name, member in value.items():
                if not name.startswith("_"):
                    yield from property_names(member, (*path, name))
    elif isinstance(value, list):
        for item in value:
            yield from property_names(item, path)
    else:
        yield ".".join(path)


def _values_of_list(items: list[Any], path: list[str]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, dict) and "Key" in item and "Value" in item and path[0] not in ("Key", "Value"):
            if item["Key"] == ".".join(path):
                yield item["Value"]
        elif isinstance(item, dict) and "MetricName" in item and path[0] not in item:
            rest = _after_name(item["MetricName"], path)
            if rest is not None:
                yield from values_at(item, rest or ["Value" if "Value" in item else "Last"])
        else:
            yield from values_at(item, path)


def _after_name(name: str, path: list[str]) -> list[str] | None:
    for length in range(len(path), 0, -1):
        if ".".join(path[:length]) == name:
            return path[length:]
    return None


def _nested_matches(document: dict[str, Any], nested: dict[str, Any]) -> bool:
    """Whether one and the same element of a list satisfies all the filters."""
    base = nested["NestedPropertyName"]
    parts = base.split(".")
    for element in _elements(document, parts):
        if all(_filter_matches(element, {**item, "Name": item["Name"].removeprefix(base + ".")}) for item in nested["Filters"]):
            return True
    return False


def _elements(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _elements(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _elements(value[path[0]], path[1:])


def _filter_matches(document: Any, item: dict[str, Any]) -> bool:
    found = [value for value in values_at(document, item["Name"].split(".")) if value is not None]
    operator, wanted = item.get("Operator") or ("Equals" if "Value" in item else "Exists"), item.get("Value", "")
    if operator == "Exists":
        return bool(found)
    if operator == "NotExists":
        return not found
    if operator == "NotEquals":
        return not any(_compare(value, "Equals", wanted) for value in found)
    return any(_compare(value, operator, wanted) for value in found)


def _compare(value: Any, operator: str, wanted: str) -> bool:
    if operator == "In":
        return any(_compare(value, "Equals", part.strip()) for part in wanted.split(","))
    if operator == "Contains":
        return wanted.lower() in str(value).lower()
    left, right = _comparable(value, wanted)
    if left is None or right is None:
        return False
    if operator == "Equals":
        return bool(left == right)
    if type(left) is not type(right):
        return False
    order = {"GreaterThan": left > right, "GreaterThanOrEqualTo": left >= right, "LessThan": left < right, "LessThanOrEqualTo": left <= right}
    return bool(order[operator])


def _comparable(value: Any, wanted: str) -> tuple[Any, Any]:
    if isinstance(value, datetime):
        return value, _moment(wanted)
    if isinstance(value, bool):
        return str(value).lower(), wanted.lower()
    if isinstance(value, int | float):
        return float(value), _number(wanted)
    mine, theirs = _number(str(value)), _number(wanted)
    if mine is not None and theirs is not None:
        return mine, theirs
    return str(value), wanted


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        number = _number(text)
        return None if number is None else datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
