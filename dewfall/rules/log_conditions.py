"""Conditions of log filters: `$.a.b = "x*" && ($.n > 5 || $.c IS NULL)` over the fields of an event.

Why apart from the patterns: JSON patterns and space-delimited ones write the same conditions over different fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# What an event has at a field: every value there, nothing when it is absent.
Lookup = Callable[[str], Sequence[Any]]
Test = Callable[[Lookup], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>&&|\|\||[()]|>=|<=|!=|=|>|<)|"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<regex>%[^%]*%)"""
    r"""|(?P<path>\$(?:\.[\w\-@:*]+|\.?\[(?:\d+|\*|"[^"]*"|'[^']*')\])*)|(?P<word>[^\s()=<>!&|,"]+))"""
)
_PATH = re.compile(r"""\.([\w\-@:*]+)|\.?\[(?:(\d+|\*)|"([^"]*)"|'([^']*)')\]""")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a condition. kind: mark | quoted | regex | path | word."""

    kind: str
    text: str


class Conditions:
    """A parser over tokens; `fields` collects the fields that the conditions name."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.place = 0
        self.fields: list[str] = []

    def parse(self) -> Test:
        """The whole text as one test. Raises ValueError where it is none."""
        test = self._any()
        if self.place < len(self.tokens):
            raise ValueError(f"unexpected {self.tokens[self.place].text!r}")
        return test

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("||"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda lookup: any(test(lookup) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take("&&"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda lookup: all(test(lookup) for test in tests)

    def _one(self) -> Test:
        if self._take("("):
            test = self._any()
            if not self._take(")"):
                raise ValueError("a parenthesis is not closed")
            return test
        name = self._next()
        if name.kind not in ("path", "word"):
            raise ValueError(f"{name.text!r} is no field")
        self.fields.append(name.text)
        operator = self._next()
        if operator.kind == "word":
            return self._named(name.text, operator.text.upper())
        if operator.kind != "mark" or operator.text in ("(", ")", "&&", "||"):
            raise ValueError(f"{operator.text!r} is no operator")
        return comparison(name.text, operator.text, self._next())

    def _named(self, name: str, operator: str) -> Test:
        """IS NULL, IS TRUE, IS FALSE, NOT EXISTS, EXISTS."""
        if operator == "EXISTS":
            return lambda lookup: bool(lookup(name))
        what = self._next().text.upper()
        if (operator, what) == ("NOT", "EXISTS"):
            return lambda lookup: not lookup(name)
        if operator != "IS" or what not in ("NULL", "TRUE", "FALSE"):
            raise ValueError(f"{operator} {what} is no operator")
        wanted = {"NULL": None, "TRUE": True, "FALSE": False}[what]
        return lambda lookup: any(value is wanted for value in lookup(name))

    def _take(self, mark: str) -> bool:
        if self.place < len(self.tokens) and self.tokens[self.place] == Token("mark", mark):
            self.place += 1
            return True
        return False

    def _next(self) -> Token:
        if self.place >= len(self.tokens):
            raise ValueError("the pattern ends too early")
        self.place += 1
        return self.tokens[self.place - 1]


def comparison(name: str, operator: str, literal: Token) -> Test:
    """`field operator literal`: numbers by value, texts with `*`, %regular expressions%. An absent field satisfies none."""
    if literal.kind == "mark":
        raise ValueError(f"{literal.text!r} is no value")
    number = _number(literal.text) if literal.kind == "word" else None
    if operator in (">", ">=", "<", "<="):
        if number is None:
            raise ValueError(f"{literal.text!r} is no number")
        limit = number
        return lambda lookup: any(_ordered(_number(value), operator, limit) for value in lookup(name))
    expression = _expression(literal)

    def equal(value: Any) -> bool:
        if number is not None and (mine := _number(value)) is not None:
            return mine == number
        return value is not None and not isinstance(value, dict | list) and expression.search(_text(value)) is not None

    if operator == "!=":
        return lambda lookup: bool(lookup(name)) and not any(equal(value) for value in lookup(name))
    return lambda lookup: any(equal(value) for value in lookup(name))


def path_values(document: Any, path: str) -> list[Any]:
    """Every value at a selector such as `$.a[0].b`, `$.list[*].x` or `$.["odd name"]`."""
    found = [document]
    for step in _PATH.finditer(path):
        name, index, double, single = step.groups()
        if index is not None or name == "*":
            found = [item for value in found for item in _items(value, index or "*")]
        else:
            key = name if name is not None else double if double is not None else single
            found = [value[key] for value in found if isinstance(value, dict) and key in value]
    return found


def _items(value: Any, index: str) -> list[Any]:
    if index == "*":
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    return [value[int(index)]] if isinstance(value, list) and int(index) < len(value) else []


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    place, text = 0, text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise ValueError(f"unexpected {text[place:][:20]!r}")
        found = match[match.lastgroup]
        tokens.append(Token(match.lastgroup, re.sub(r"\\(.)", r"\1", found) if match.lastgroup == "quoted" else found))
        place = match.end()
    return tokens


def _expression(literal: Token) -> re.Pattern[str]:
    if literal.kind == "regex":
        return re.compile(literal.text[1:-1])
    return re.compile(".*".join(re.escape(part) for part in literal.text.split("*")).join((r"\A", r"\Z")), re.DOTALL)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _ordered(value: float | None, operator: str, limit: float) -> bool:
    if value is None:
        return False
    if operator[0] == ">":
        return value > limit or (operator == ">=" and value == limit)
    return value < limit or (operator == "<=" and value == limit)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
