"""Changes: who waits for a record to change is woken by the commit that changes it.

Why: a held read answers in the moment a job ends, without asking the database over and over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from dewfall.engine.ports import Key


class Changes:
    """Events of the event loop, set from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: dict[Key, list[asyncio.Event]] = {}

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop in which watchers wait."""
        self._loop = loop

    def notify(self, keys: Iterable[Key]) -> None:
        """Store.on_commit's listener; any thread."""
        touched = [key for key in keys if key in self._watching]
        if touched and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._set, touched)

    def _set(self, keys: list[Key]) -> None:
        for key in keys:
            for event in self._watching.get(key, ()):
                event.set()

    @contextmanager
    def watch(self, key: Key) -> Iterator[asyncio.Event]:
        """An event that every later change of the record sets. Look at the record after entering, so that no change is missed."""
        event = asyncio.Event()
        self._watching.setdefault(key, []).append(event)
        try:
            yield event
        finally:
            self._watching[key].remove(event)
            if not self._watching[key]:
                del self._watching[key]
