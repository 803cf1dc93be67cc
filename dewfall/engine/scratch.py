"""A /tmp of its own for one instance: a folder of its agent's, gone when the instance has ended.

Not where the data folder itself lies below /tmp (a temporary server): there jobs share the machine's, as they do without namespaces.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PLACE = "/tmp"
FOLDER = "tmp"  # in the agent's folder
OWN = (sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(sys.executable)), str(Path(__file__).parents[2]))


def is_possible(*paths: str) -> bool:
    """Whether none of the paths, which the server must find too, lies below /tmp."""
    return not any(is_below(path) for path in paths)


def is_below(path: str) -> bool:
    """Whether a path is in /tmp."""
    return os.path.realpath(path).startswith(f"{PLACE}/")


def make(folder: str) -> str:
    """The folder that becomes /tmp, which everybody may write to."""
    path = os.path.join(folder, FOLDER)
    os.makedirs(path, exist_ok=True)
    os.chmod(path, 0o1777)
    return path


def needed(told: Sequence[str], *environments: Mapping[str, str]) -> tuple[str, ...]:
    """What in the machine's /tmp an instance is told of, and so must see: the words, the variables, and Python itself."""
    words: list[str] = [*OWN, *told]
    for environment in environments:
        words += [part for value in environment.values() for part in value.split(":")]
    return tuple(sorted(set(_places(words))))


def _places(words: Iterable[str]) -> Iterable[str]:
    """A file's folder stands for the file, because programs have their other files there."""
    for word in words:
        if word.startswith(f"{PLACE}/") and len(word) < 4096 and "\0" not in word and os.path.exists(word):
            place = os.path.normpath(word)
            around = os.path.dirname(place)
            if place != PLACE:
                yield around if os.path.isfile(place) and around != PLACE else place
