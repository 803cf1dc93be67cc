"""Patterns of service models, which are Java's, as Python's: same meaning, or None where that cannot be had.

Why lenient: a pattern we misread would refuse what AWS accepts; a pattern left out refuses nothing.
"""

from __future__ import annotations

import functools
import re
import sys
import threading
import unicodedata
import warnings

_LOCK = threading.Lock()
_CATEGORY = re.compile(r"\\([pP])\{(?:Is)?(\w+)\}")
_POSIX = {
    "Alnum": "a-zA-Z0-9",
    "Alpha": "a-zA-Z",
    "ASCII": "\\x00-\\x7f",
    "Digit": "0-9",
    "Graph": "!-~",
    "Lower": "a-z",
    "Print": " -~",
    "Punct": "!-/:-@\\[-`{-~",
    "Space": "\\s",
    "Upper": "A-Z",
    "XDigit": "0-9a-fA-F",
}
# Letters of one class, written so that Python's engine reads a range where Java's does.
_REWRITES = (
    ("\\uD800\\uDC00-\\uDBFF\\uDFFF", "\\U00010000-\\U0010FFFF"),
    ("\\w-_", "\\w\\-_"),
    ("\\w-.", "\\w\\-."),
)


@functools.lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern for `fullmatch`, or None when Python cannot say it."""
    for java, python in _REWRITES:
        pattern = pattern.replace(java, python)
    try:
        text = _with_categories(pattern)
        with _LOCK, warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(text, re.ASCII)
    except (re.error, ValueError, Warning, RecursionError):
        return None


def _with_categories(pattern: str) -> str:
    """`\\p{L}` → the ranges of its letters, inside a class or as one."""
    out, end = [], 0
    for found in _CATEGORY.finditer(pattern):
        out.append(pattern[end : found.start()])
        end = found.end()
        inside = _inside_class(pattern, found.start())
        if found[1] == "P" and inside:
            raise ValueError("a negated category inside a class")
        letters = _POSIX.get(found[2]) or _ranges(found[2])
        out.append(letters if inside else f"[{'^' if found[1] == 'P' else ''}{letters}]")
    return "".join(out) + pattern[end:]


def _inside_class(pattern: str, at: int) -> bool:
    inside, i = False, 0
    while i < at:
        if pattern[i] == "\\":
            i += 1
        elif pattern[i] == "[":
            inside = True
        elif pattern[i] == "]":
            inside = False
        i += 1
    return inside


# Planes in which nothing is assigned but private use; not looked at letter by letter.
_EMPTY = ((0x34000, 0xDFFFF), (0xE0200, sys.maxunicode))


@functools.cache
def _categories() -> dict[str, list[tuple[int, int]]]:
    """Category → ranges of code points. One pass over Unicode, a twentieth of a second, when first needed."""
    found: dict[str, list[tuple[int, int]]] = {"Cn": list(_EMPTY)}
    for first, end in ((0, 0x34000), (0xE0000, 0xE0200)):
        start, current = first, unicodedata.category(chr(first))
        for point in range(first + 1, end + 1):
            kind = unicodedata.category(chr(point)) if point < end else ""
            if kind != current:
                found.setdefault(current, []).append((start, point - 1))
                start, current = point, kind
    return found


@functools.cache
def _ranges(name: str) -> str:
    kinds = [kind for kind in _categories() if kind.startswith(name)]
    if not kinds or len(name) > 2:
        raise ValueError(f"unknown category {name}")
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for kind in kinds for low, high in _categories()[kind])
