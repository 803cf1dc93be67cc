"""Rules of composite alarms: `ALARM(a) AND (OK("b c") OR NOT INSUFFICIENT_DATA(d))` over the states of other alarms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_TOKEN = re.compile(r'\s*(?:(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:"([^"]+)"|([^\s()"]+))\s*\)|(AND|OR|NOT|TRUE|FALSE)\b|([()]))')

# Whether a rule holds, by the states of alarms (name or ARN → state; an unknown alarm satisfies nothing).
Rule = Callable[[Mapping[str, str]], bool]


def compile_rule(text: str) -> Rule:
    """A rule as a function. Raises ValueError for what is no rule.

    >>> compile_rule("ALARM(a) AND NOT OK(b)")({"a": "ALARM", "b": "ALARM"})
    True
    """
    parser = _Parser(text)
    rule = parser.either()
    if parser.place < len(parser.tokens):
        raise ValueError("unexpected text behind the rule")
    return rule


def alarms_in(text: str) -> list[str]:
    """The alarms that a rule names, each once."""
    return list(dict.fromkeys(match[2] or match[3] for match in _TOKEN.finditer(text) if match[1]))


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[re.Match[str]] = []
        self.place = 0
        at, text = 0, text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise ValueError(f"unexpected {text[at:][:30]!r}")
            self.tokens.append(match)
            at = match.end()

    def either(self) -> Rule:
        rules = [self.both()]
        while self.take("OR"):
            rules.append(self.both())
        return lambda states: any(rule(states) for rule in rules)

    def both(self) -> Rule:
        rules = [self.one()]
        while self.take("AND"):
            rules.append(self.one())
        return lambda states: all(rule(states) for rule in rules)

    def one(self) -> Rule:
        if self.take("NOT"):
            inner = self.one()
            return lambda states: not inner(states)
        if self.take("("):
            inner = self.either()
            if not self.take(")"):
                raise ValueError("a parenthesis is not closed")
            return inner
        if self.place >= len(self.tokens):
            raise ValueError("the rule ends too early")
        match = self.tokens[self.place]
        self.place += 1
        if match[1]:
            state, name = match[1], match[2] or match[3]
            return lambda states: states.get(name) == state
        if match[4] in ("TRUE", "FALSE"):
            value = match[4] == "TRUE"
            return lambda states: value
        raise ValueError(f"unexpected {match[0].strip()!r}")

    def take(self, text: str) -> bool:
        if self.place < len(self.tokens) and text in (self.tokens[self.place][4], self.tokens[self.place][5]):
            self.place += 1
            return True
        return False
