"""Committing what jobs left to S3: a file or a tree, each object once however often a step is repeated.

Why linked and not moved: the agent's files stay until the record is final, so that a crash in between loses and doubles nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Collected

LINK = ".dewfall-link"
RESTLESS = 10.0


def put_trees(ctx: Ctx, target: str, folders: Sequence[Path], since: datetime) -> None:
    """Store every regular file beneath the hosts' folders, `target` being the prefix of their keys, with its last slash.

    Of files of one name the first folder's is taken.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink() and not file.name.endswith(LINK):
                files.setdefault(key_of(file.relative_to(folder)), file)
    for key, file in files.items():
        put_once(ctx, target + key, file, since)


def put_once(ctx: Ctx, uri: str, file: Path, since: datetime) -> None:
    """Store a second name of the file, unless that has been done since then."""
    stored = ctx.ports.objects.get(uri)
    if stored is not None and stored.modified >= since and stored.size == file.stat().st_size:
        return
    link = file.with_name(file.name + LINK)
    link.unlink(missing_ok=True)
    os.link(file, link)
    ctx.ports.objects.put(uri, link)


def key_of(file: Path) -> str:
    """A file's name as an object's key, which is text; what is no text in the name is replaced."""
    return os.fsencode(file.as_posix()).decode("utf-8", "replace")


def by_name(collected: Iterable[Collected]) -> dict[str, list[Path]]:
    """What several hosts collected under one name belongs together."""
    found: dict[str, list[Path]] = {}
    for output in collected:
        found.setdefault(output.name, []).append(Path(output.path))
    return found


def put_changed(ctx: Ctx, target: str, folder: Path, *, rested: float = 1.0, began: datetime | None = None, since: float = 0.0) -> None:
    """Store a copy of every file that has changed since its object was stored, and has rested for so many seconds.

    A copy, because the job that wrote the file may write to it again. One that never rests is stored every RESTLESS seconds all the same,
    the first time so long after `began`. Files that have not changed `since` then are not looked at.
    """
    now = ctx.now()  # one for all files, so that none is stored before another that was written earlier
    for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            found = file.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_mtime < since:
                continue
            uri = target + key_of(file.relative_to(folder))
            stored = ctx.ports.objects.get(uri)
            last = stored.modified if stored else began
            is_late = began is not None and last is not None and (now - last).total_seconds() > RESTLESS
            if now.timestamp() - found.st_mtime < rested and not is_late:
                continue
            if stored is not None and stored.size == found.st_size and stored.modified.timestamp() > found.st_mtime:
                continue
            copy = ctx.ports.objects.blobs.staging / f"upload-{new_uuid()}"
            try:
                shutil.copyfile(file, copy)
                ctx.ports.objects.put(uri, copy)
            finally:
                copy.unlink(missing_ok=True)
