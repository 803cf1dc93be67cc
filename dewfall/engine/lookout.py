"""Threads that wait for work together: one looks out at a time, passes the look-out on as soon as it has found some, and does it itself.

Why one at a time: several that look at once would read the same rows, and all but one of them for nothing.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Lookout(ABC, Generic[T]):
    """`look()` finds work and `perform()` does it, in `threads` threads until `stop()`; `wake()` ends a wait."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._looking = threading.Lock()
        self._changed = threading.Condition()
        self._woken = False
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(threads)]

    @abstractmethod
    def _look(self) -> tuple[T | None, float]:
        """Work that is this thread's now, or how many seconds to wait before the next look."""

    @abstractmethod
    def _perform(self, found: T) -> None:
        """Do it; nothing is raised."""

    def start(self) -> None:
        """Do what lies there and what comes."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is being done, take up no more."""
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)

    def wake(self) -> None:
        """Look now."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _work(self) -> None:
        while not self._stopping.is_set():
            with self._looking:
                found = self._next()
            if found is not None:
                self._perform(found)

    def _next(self) -> T | None:
        """Wait for work; None when it stops."""
        while not self._stopping.is_set():
            try:
                with self._changed:
                    self._woken = False
                found, seconds = self._look()
                if found is not None:
                    return found
                with self._changed:
                    if not self._woken and not self._stopping.is_set():
                        self._changed.wait(seconds)
            except Exception:
                if not self._stopping.is_set():
                    log.exception("look failed name=%s", self._name)
                    self._stopping.wait(1.0)
        return None
