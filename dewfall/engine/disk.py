"""A full disk: how to know it, and a reserve that keeps the server able to say so and to clean up.

    uploads leave FLOOR bytes to the database ─ jobs and strangers may take those, too ─ then the reserve is given up, and made anew
    when there is room

Standard library only: agents use it as well.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dewfall.context import Ctx

RESERVE = 4 << 20  # bytes: enough for some hundred transactions
FLOOR = 4 * RESERVE  # bytes that uploads leave free
FULL_NAMES = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_WRITE")


def is_full(problem: BaseException | None) -> bool:
    """Whether an error means that the disk is full."""
    if isinstance(problem, OSError):
        return problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(problem, sqlite3.OperationalError) and getattr(problem, "sqlite_errorname", "") in FULL_NAMES


def leave_room(folder: Path) -> None:
    """OSError ENOSPC when less than the floor is free: what is left belongs to the database."""
    if free(folder) < FLOOR:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def free(folder: Path) -> int:
    """Bytes that may still be written there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def hold(reserve: Path, size: int = RESERVE) -> None:
    """Make the reserve, unless it is there or there is little room."""
    with contextlib.suppress(OSError):
        if reserve.exists() or free(reserve.parent) < 4 * size:
            return
        file = os.open(reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, size)
        finally:
            os.close(file)


def give_up(reserve: Path) -> bool:
    """Give the reserve up for what must be written now; whether there was one."""
    try:
        reserve.unlink()
    except OSError:
        return False
    return True


def reserve_of(data: Path) -> Path:
    """The server's reserve."""
    return data / "run" / "reserve"


def in_one_line(record: logging.LogRecord) -> bool:
    """A filter of log records: a full disk is felt everywhere at once and needs no tracebacks."""
    problem = record.exc_info[1] if record.exc_info else None
    if is_full(problem):
        record.msg, record.args, record.exc_info = f"{record.getMessage()} problem={problem}", (), None
    return True


def tick(ctx: Ctx) -> None:
    """Make the reserve anew when there is room again."""
    hold(reserve_of(ctx.ports.settings.data))
