"""What a command left, made ready for the server to commit: folders packed, or their files linked into a tree that nobody else writes to."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable

from dewfall.engine.archives import is_empty, pack
from dewfall.engine.ports import Collected, Output


def collect(outputs: tuple[Output, ...], path: Callable[[str], str], root: str, target: str) -> list[Collected]:
    """Collect every output. `path` finds a container's path; beneath `root` lie the files that the command itself wrote."""
    collected = []
    for number, output in enumerate(outputs):
        source = path(output.source)
        if is_empty(source) and not output.always:
            continue
        os.makedirs(source, exist_ok=True)
        place = f"{target}/{number}"
        os.makedirs(place, exist_ok=True)
        if output.format == "files":
            collected.append(Collected(output.name, place, _take_files(source, f"{root}{output.source}", place)))
        else:
            file = f"{place}/{os.path.basename(output.name)}"
            collected.append(Collected(output.name, file, pack(source, file)))
    return collected


def _take_files(source: str, written: str, place: str) -> int:
    """Regular files as links to what the command wrote, or copies of what it was given. Links and special files are left out, as by AWS."""
    size = 0
    for parent, _, names in os.walk(source):
        inner = os.path.relpath(parent, source)
        folder = os.path.normpath(f"{place}/{inner}")
        os.makedirs(folder, exist_ok=True)
        for name in names:
            file = f"{parent}/{name}"
            present = os.lstat(file)
            if not stat.S_ISREG(present.st_mode):
                continue
            size += present.st_size
            _take(file, os.path.normpath(f"{written}/{inner}/{name}"), f"{folder}/{name}")
    return size


def _take(file: str, written: str, target: str) -> None:
    """A file with more than one name may be somebody else's too, so it is copied."""
    with contextlib.suppress(OSError):
        if os.lstat(written).st_nlink == 1:
            os.link(written, target)
            return
    shutil.copyfile(file, target)
