"""Batch transform's JSONPath, the part that AWS takes: `$`, `.name`, `*`, `['a','b']`, `[0,-1]`, `[1:5]`.

Why parsed to steps: the request is checked by the server, the records are filtered by a process of the job, and steps travel as JSON.

    ["names", ["a", "b"]]    ["indexes", [0, -1]]    ["slice", 1, None]    ["all"]
"""

from __future__ import annotations

import re
from typing import Any

NAME = re.compile(r"\.([A-Za-z_][A-Za-z0-9_\-]*)")
ALL = re.compile(r"\.\*|\[\s*\*\s*\]")
BRACKET = re.compile(r"\[([^\[\]]*)\]")
QUOTED = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*""")
SLICE = re.compile(r"^\s*(-?\d+)?\s*:\s*(-?\d+)?\s*$")


def parse(path: str) -> list[list[Any]]:
    """The steps of a path; ValueError for what is none.

    >>> parse("$['id','SageMakerOutput'][1:]")
    [['names', ['id', 'SageMakerOutput']], ['slice', 1, None]]
    """
    if not path.startswith("$"):
        raise ValueError(f"the JSONPath {path!r} does not begin with $")
    at = 1
    steps: list[list[Any]] = []
    while at < len(path):
        if match := ALL.match(path, at):
            steps.append(["all"])
        elif match := NAME.match(path, at):
            steps.append(["names", [match[1]]])
        elif match := BRACKET.match(path, at):
            steps.append(_bracket(path, match[1]))
        else:
            raise ValueError(f"the JSONPath {path!r} is not supported from {path[at:]!r} on")
        at = match.end()
    return steps


def _bracket(path: str, inside: str) -> list[Any]:
    if match := SLICE.match(inside):
        return ["slice", *(int(bound) if bound else None for bound in match.groups())]
    names = _names(inside)
    if names:
        return ["names", names]
    try:
        return ["indexes", [int(part) for part in inside.split(",")]]
    except ValueError:
        raise ValueError(f"the JSONPath {path!r} has an unsupported part [{inside}]") from None


def _names(inside: str) -> list[str]:
    """Quoted names between commas; none where something else stands."""
    names, at = [], 0
    while match := QUOTED.match(inside, at):
        names.append(match[1] if match[1] is not None else match[2])
        at = match.end()
        if at == len(inside):
            return names
        if inside[at] != ",":
            return []
        at += 1
    return []
