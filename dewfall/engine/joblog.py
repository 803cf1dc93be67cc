"""A job's log file: merged output, line by line with the time it was read, bounded.

`<milliseconds since the epoch> <text>` is what CloudWatch Logs wants of an event, so the server copies it without looking. Standard library only.
"""

from __future__ import annotations

import os
import time
from collections import deque

from dewfall.engine.disk import is_full

LONGEST_LINE = 256 * 1024  # bytes of one event at most, as in CloudWatch Logs
TAIL_BYTES = 64 * 1024
TAIL_LINES = 50


class JobLog:
    """Appends to one file and remembers the end of what it was given."""

    def __init__(self, path: str, limit: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._limit = limit
        self._written = os.fstat(self._file).st_size
        self._open_line = b""
        self._lost = 0  # bytes that found no room on the disk
        self._is_cut = False  # whether the last line that found some was cut by that
        self._tail: deque[bytes] = deque()
        self._tail_size = 0

    def note(self, text: str) -> None:
        """A line of our own."""
        self._append(text.encode() + b"\n")

    def feed(self, data: bytes) -> None:
        """Output as it comes; a line is written once it is complete (or too long to wait for)."""
        self._remember(data)
        lines, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._open_line += data
            if len(self._open_line) >= LONGEST_LINE:
                self.flush()
            return
        self._append(self._open_line + lines + newline)
        self._open_line = rest

    def flush(self) -> None:
        """Write the last line although it never ended."""
        if self._open_line:
            self._append(self._open_line + b"\n")
            self._open_line = b""

    def tail(self) -> str:
        """The last lines of the output."""
        text = b"".join(self._tail).decode(errors="replace")
        return "\n".join(text.splitlines()[-TAIL_LINES:])

    def _append(self, lines: bytes) -> None:
        if self._written >= self._limit:
            return
        stamp = b"%d " % (time.time() * 1000)
        data = stamp + lines[:-1].replace(b"\n", b"\n" + stamp) + b"\n"
        room = self._limit - self._written
        if len(data) > room:
            cut = data.rfind(b"\n", 0, room) + 1
            data = data[:cut] + stamp + b"The log's limit of %d bytes is reached; the rest of the output is dropped.\n" % self._limit
            self._written = self._limit
        if self._lost:
            data = b"\n" * self._is_cut + stamp + b"The disk was full: %d bytes of output are lost before this line.\n" % self._lost + data
        self._write(data)

    def _write(self, data: bytes) -> None:
        """Without room on the disk the rest is lost, but not the command that printed it."""
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:])
            self._lost, self._is_cut = 0, False
        except OSError as error:
            if not is_full(error):
                raise
            self._lost += len(data) - done
            self._is_cut = self._is_cut if not done else not data[:done].endswith(b"\n")
        self._written += done

    def _remember(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size > TAIL_BYTES and len(self._tail) > 1:
            self._tail_size -= len(self._tail.popleft())
