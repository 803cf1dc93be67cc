"""Filter patterns of CloudWatch Logs: which events they let through, and what they extract.

    ERROR -timeout "exact phrase"      terms: all of the first, none of the second
    ?ERROR ?WARN                       one of them
    { $.code = 5* && $.user EXISTS }   JSON events
    [ip, user, ..., code >= 400]       events delimited by spaces

Why pure: FilterLogEvents, metric filters, subscriptions and live tails must all decide alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from dewfall.rules.log_conditions import Conditions, Test, path_values

# What a pattern extracts of an event that it lets through, None of one that it does not.
LogFilter = Callable[[str], "dict[str, str] | None"]

_TERM = re.compile(r"""\s*([-?]?)(?:"((?:\\.|[^"\\])*)"|%((?:\\%|[^%])+)%|(\S+))""")
_FIELD = re.compile(r'"((?:\\.|[^"\\])*)"|\[([^\]]*)\]|(\S+)')
_PIECE = re.compile(r'"(?:\\.|[^"\\])*"|%[^%]*%|,|[^,"%]+|.')
_NAME = re.compile(r"\s*\(?\s*([\w.\-]+)")


def compile_filter(pattern: str) -> LogFilter:
    """A pattern as a function of the event's text. Raises ValueError for what is no pattern.

    >>> compile_filter("[ip, code >= 400]")("10.0.0.1 404")
    {'$ip': '10.0.0.1', '$code': '404'}
    """
    text = pattern.strip()
    if text.startswith("{"):
        return _json_filter(text)
    if text.startswith("["):
        return _space_filter(text)
    return _term_filter(text)


def select_value(selector: str, text: str, extracted: dict[str, str]) -> str | None:
    """What `$.path`, `$name` or a plain text stands for in an event; None where the event has no such value."""
    if not selector.startswith("$"):
        return selector
    if selector.startswith(("$.", "$[")):
        values = path_values(_parse(text), selector)
        return _shown(values[0]) if values and values[0] is not None else None
    return extracted.get(selector)


# ---------------------------------------------------------------- terms


def _term_filter(text: str) -> LogFilter:
    wanted: list[re.Pattern[str]] = []
    unwanted: list[re.Pattern[str]] = []
    optional: list[re.Pattern[str]] = []
    place = 0
    while place < len(text):
        match = _TERM.match(text, place)
        if match is None:
            raise ValueError(f"unexpected {text[place:][:20]!r}")
        sign, quoted, regex, word = match.groups()
        if quoted is not None:
            expression = re.escape(re.sub(r"\\(.)", r"\1", quoted))
        else:
            expression = regex.replace("\\%", "%") if regex is not None else re.escape(word)
        {"": wanted, "-": unwanted, "?": optional}[sign].append(re.compile(expression))
        place = match.end()

    def matches(event: str) -> dict[str, str] | None:
        if any(term.search(event) is None for term in wanted) or any(term.search(event) for term in unwanted):
            return None
        if optional and not wanted and not any(term.search(event) for term in optional):
            return None
        return {}

    return matches


# ---------------------------------------------------------------- JSON


def _json_filter(text: str) -> LogFilter:
    if not text.endswith("}"):
        raise ValueError("a JSON pattern ends with }")
    conditions = Conditions(text[1:-1])
    test = conditions.parse()
    if not all(field.startswith("$") for field in conditions.fields):
        raise ValueError("a JSON selector begins with $")

    def matches(event: str) -> dict[str, str] | None:
        document = _parse(event)
        if document is None or not test(lambda path: path_values(document, path)):
            return None
        found = {path: path_values(document, path) for path in conditions.fields}
        return {path: _shown(values[0]) for path, values in found.items() if values}

    return matches


def _parse(event: str) -> Any:
    if not event.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(event)
    except ValueError:
        return None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


# ---------------------------------------------------------------- delimited by spaces


def _space_filter(text: str) -> LogFilter:
    if not text.endswith("]"):
        raise ValueError("a space-delimited pattern ends with ]")
    names: list[str] = []
    tests: list[Test] = []
    for n, column in enumerate(_columns(text[1:-1]), 1):
        name, test = _column(column, n)
        names.append(name)
        tests += [] if test is None else [test]
    if names.count("...") > 1:
        raise ValueError("an ellipsis may come once")

    def matches(event: str) -> dict[str, str] | None:
        fields = _fields_of(event)
        named = _assign(names, fields)
        if named is None or not all(test(lambda name: [named[name]] if name in named else []) for test in tests):
            return None
        return {f"${name}": value for name, value in named.items()}

    return matches


def _columns(text: str) -> list[str]:
    """The parts between commas; commas within quotes or regular expressions do not part."""
    columns = [""]
    for piece in _PIECE.findall(text):
        if piece == ",":
            columns.append("")
        else:
            columns[-1] += piece
    return [column.strip() for column in columns]


def _column(column: str, number: int) -> tuple[str, Test | None]:
    if column in ("...", ""):
        return column or str(number), None
    named = _NAME.match(column)
    if named is None:
        raise ValueError(f"{column!r} names no field")
    if column == named[1]:
        return column, None
    conditions = Conditions(column)
    test = conditions.parse()
    if len(set(conditions.fields)) != 1:
        raise ValueError(f"{column!r} names more than one field")
    return named[1], test


def _fields_of(event: str) -> list[str]:
    return [next(group for group in match.groups() if group is not None) for match in _FIELD.finditer(event)]


def _assign(names: list[str], fields: list[str]) -> dict[str, str] | None:
    """Names to fields; an ellipsis takes what is left, under numbers. None when there are too few or too many."""
    if "..." not in names:
        return dict(zip(names, fields, strict=True)) if len(names) == len(fields) else None
    before = names.index("...")
    after = len(names) - before - 1
    if len(fields) < before + after:
        return None
    middle = {str(n + 1): fields[n] for n in range(before, len(fields) - after)}
    last = dict(zip(names[before + 1 :], fields[len(fields) - after :], strict=True)) if after else {}
    return dict(zip(names[:before], fields, strict=False)) | middle | last
