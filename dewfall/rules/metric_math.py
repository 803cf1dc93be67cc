"""Metric math: expressions over time series, as GetMetricData and alarms take them.

    (errors / requests) * 100      FILL(m1, 0)      SUM([m1, m2])      IF(m1 > 5, m1, 0)      RATE(METRICS())

A value is a number, a series (time in seconds → number) or a list of series. Arithmetic joins series at the times both have.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Callable, Mapping
from typing import Any

Points = dict[int, float]
Value = float | Points | list[Points]

_TOKEN = re.compile(r'\s*(?:(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z_]\w*)|"([^"]*)"|(<=|>=|==|!=|&&|\|\||[-+*/^<>(),\[\]]))')
_LEVELS: tuple[tuple[str, ...], ...] = (("||", "OR"), ("&&", "AND"), ("==", "!=", "<", "<=", ">", ">="), ("+", "-"), ("*", "/"))


def evaluate(expression: str, series: Mapping[str, Points], periods: Mapping[str, int]) -> list[Points]:
    """The series that an expression stands for; a list gives several.

    series: by id. periods: seconds between the points of each id, for RATE and FILL. Raises ValueError for what is no expression or
    names an unknown id or function, ZeroDivisionError never: such points are left out.
    """
    value = _Parser(expression, series, periods).parse()
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    times = {time for points in series.values() for time in points}
    return [dict.fromkeys(sorted(times), value)]


def names(expression: str) -> set[str]:
    """Every identifier in an expression that begins with a lower-case letter: ids of metrics and other expressions."""
    return {token for token in re.findall(r"[A-Za-z_]\w*", re.sub(r'"[^"]*"', "", expression)) if token[0].islower()}


class _Parser:
    """Recursive descent, evaluating as it goes."""

    def __init__(self, text: str, series: Mapping[str, Points], periods: Mapping[str, int]) -> None:
        self.series = series
        self.periods = periods
        self.tokens = _tokens(text)
        self.place = 0

    def parse(self) -> Value:
        value = self.level(0)
        if self.place < len(self.tokens):
            raise ValueError(f"unexpected {self.tokens[self.place][1]!r}")
        return value

    def level(self, depth: int) -> Value:
        if depth == len(_LEVELS):
            return self.power()
        value = self.level(depth + 1)
        while (operator := self.peek()) in _LEVELS[depth]:
            self.place += 1
            value = _join(value, self.level(depth + 1), _OPERATORS[operator])
        return value

    def power(self) -> Value:
        if self.peek() == "-":
            self.place += 1
            return _join(0.0, self.power(), _OPERATORS["-"])
        value = self.one()
        if self.peek() == "^":
            self.place += 1
            return _join(value, self.power(), _OPERATORS["^"])
        return value

    def one(self) -> Value:
        kind, text = self.next()
        if kind == "number":
            return float(text)
        if text == "(":
            value = self.level(0)
            self.expect(")")
            return value
        if text == "[":
            found: list[Points] = []
            for item in self.items("]"):
                found += item if isinstance(item, list) else [_series(item)]
            return found
        if kind == "name":
            return self.call(text) if self.peek() == "(" else self.known(text)
        raise ValueError(f"unexpected {text!r}")

    def known(self, name: str) -> Value:
        if name not in self.series:
            raise ValueError(f"unknown id {name!r}")
        return self.series[name]

    def call(self, name: str) -> Value:
        self.place += 1
        if name == "METRICS":
            wanted = self.next()[1] if self.peek() != ")" else ""
            self.expect(")")
            return [points for key, points in self.series.items() if wanted in key]
        if name in ("FILL", "RATE", "PERIOD", "DIFF", "DIFF_TIME", "RUNNING_SUM"):
            return self.call_in_time(name)
        arguments = self.items(")")
        if name == "IF" and len(arguments) in (2, 3):
            return _if(arguments)
        if name in _AGGREGATES and len(arguments) == 1:
            return _aggregate(arguments[0], _AGGREGATES[name])
        if name in _EACH and len(arguments) == 1:
            return _map(arguments[0], _EACH[name])
        raise ValueError(f"{name} is not supported, or not with {len(arguments)} arguments")

    def call_in_time(self, name: str) -> Value:
        """Functions that need the period of what they are given, or its times."""
        first = self.tokens[self.place][1]
        period = self.periods.get(first, min(self.periods.values(), default=60))
        value = self.level(0)
        if name == "FILL":
            self.expect(",")
            how: Value | str = self.next()[1] if self.peek() in ("REPEAT", "LINEAR") else self.level(0)
            self.expect(")")
            times = sorted({time for points in self.series.values() for time in points})
            return _each_series(value, lambda points: _fill(points, how, times, period))
        self.expect(")")
        if name == "PERIOD":
            return float(period)
        return _each_series(value, _IN_TIME[name])

    def items(self, end: str) -> list[Value]:
        found: list[Value] = []
        if self.peek() != end:
            found.append(self.level(0))
            while self.peek() == ",":
                self.place += 1
                found.append(self.level(0))
        self.expect(end)
        return found

    def peek(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else ""

    def next(self) -> tuple[str, str]:
        if self.place >= len(self.tokens):
            raise ValueError("the expression ends too early")
        self.place += 1
        return self.tokens[self.place - 1]

    def expect(self, text: str) -> None:
        if self.next()[1] != text:
            raise ValueError(f"{text!r} is missing")


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, place, text = [], 0, text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"unexpected {text[place:][:20]!r}")
        kind = ("number", "name", "text", "mark")[(match.lastindex or 1) - 1]
        tokens.append((kind, match[match.lastindex or 1]))
        place = match.end()
    return tokens


def _quotient(left: float, right: float) -> float:
    return left / right if right else math.nan


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except (OverflowError, ValueError):
        return math.nan


_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _quotient,
    "^": _power,
    "<": lambda a, b: float(a < b),
    "<=": lambda a, b: float(a <= b),
    ">": lambda a, b: float(a > b),
    ">=": lambda a, b: float(a >= b),
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
    "&&": lambda a, b: float(bool(a) and bool(b)),
    "||": lambda a, b: float(bool(a) or bool(b)),
}
_OPERATORS |= {"AND": _OPERATORS["&&"], "OR": _OPERATORS["||"]}

_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "SUM": sum,
    "AVG": statistics.fmean,
    "MIN": min,
    "MAX": max,
    "STDDEV": lambda values: statistics.pstdev(values),
}

_EACH: dict[str, Callable[[float], float]] = {
    "ABS": abs,
    "CEIL": lambda a: float(math.ceil(a)),
    "FLOOR": lambda a: float(math.floor(a)),
    "LOG": lambda a: math.log(a) if a > 0 else math.nan,
    "LOG10": lambda a: math.log10(a) if a > 0 else math.nan,
    "EXP": lambda a: _power(math.e, a),
}


def _join(left: Value, right: Value, operator: Callable[[float, float], float]) -> Value:
    if isinstance(left, list):
        return [_series(_join(item, right, operator)) for item in left]
    if isinstance(right, list):
        return [_series(_join(left, item, operator)) for item in right]
    if isinstance(left, dict) and isinstance(right, dict):
        return _finite({time: operator(left[time], right[time]) for time in left if time in right})
    if isinstance(left, dict):
        return _map(left, lambda value: operator(value, _number(right)))
    if isinstance(right, dict):
        return _map(right, lambda value: operator(_number(left), value))
    return operator(left, right)


def _map(value: Value, function: Callable[[float], float]) -> Value:
    if isinstance(value, dict):
        return _finite({time: function(number) for time, number in value.items()})
    if isinstance(value, list):
        return [_series(_map(item, function)) for item in value]
    return function(value)


def _each_series(value: Value, function: Callable[[Points], Points]) -> Value:
    if isinstance(value, list):
        return [function(item) for item in value]
    return function(_series(value))


def _aggregate(value: Value, function: Callable[[list[float]], float]) -> Value:
    """Of one series a number; of a list of series one series."""
    if isinstance(value, dict):
        return function(list(value.values())) if value else {}
    if isinstance(value, list):
        times = sorted({time for points in value for time in points})
        return {time: function([points[time] for points in value if time in points]) for time in times}
    return value


def _if(arguments: list[Value]) -> Value:
    condition, then = arguments[0], arguments[1]
    other: Value | None = arguments[2] if len(arguments) == 3 else None
    if not isinstance(condition, dict):
        if isinstance(condition, list):
            raise ValueError("IF takes a series, not a list")
        return then if condition else {} if other is None else other
    found: Points = {}
    for time, holds in condition.items():
        chosen = then if holds else other
        number = chosen.get(time) if isinstance(chosen, dict) else chosen
        if isinstance(number, float | int):
            found[time] = float(number)
    return found


def _fill(points: Points, how: Value | str, times: list[int], period: int) -> Points:
    """Values for the times that others have and this series has not, also between its own first and last one."""
    own = sorted(points)
    wanted = set(times) | (set(range(own[0], own[-1] + 1, period)) if own else set())
    if isinstance(how, int | float | dict):
        return {time: points.get(time, how.get(time, 0.0) if isinstance(how, dict) else float(how)) for time in sorted(wanted)}
    found: Points = {}
    for time in sorted(wanted):
        before = max((t for t in own if t <= time), default=None)
        after = min((t for t in own if t >= time), default=None)
        if before is None or (how == "LINEAR" and after is None):
            continue
        if how == "REPEAT" or after is None or after == before:
            found[time] = points[before]
        else:
            found[time] = points[before] + (points[after] - points[before]) * (time - before) / (after - before)
    return found


def _steps(points: Points) -> list[tuple[int, int]]:
    own = sorted(points)
    return list(itertools.pairwise(own))


def _running_sum(points: Points) -> Points:
    total, found = 0.0, {}
    for time in sorted(points):
        total += points[time]
        found[time] = total
    return found


_IN_TIME: dict[str, Callable[[Points], Points]] = {
    "RATE": lambda points: {b: (points[b] - points[a]) / (b - a) for a, b in _steps(points)},
    "DIFF": lambda points: {b: points[b] - points[a] for a, b in _steps(points)},
    "DIFF_TIME": lambda points: {b: float(b - a) for a, b in _steps(points)},
    "RUNNING_SUM": _running_sum,
}


def _series(value: Value) -> Points:
    if not isinstance(value, dict):
        raise ValueError("a time series is needed here")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise ValueError("a number is needed here")
    return float(value)


def _finite(points: Points) -> Points:
    return {time: value for time, value in points.items() if math.isfinite(value)}
