"""Invocations that no client waits for: begun by a step, on their way in the router's loop, taken when they are answered.

Why only in memory: what is to be invoked is a record; after a crash the next step begins it anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from dewfall.engine.ports import Key
from dewfall.engine.serving.answer import Answer
from dewfall.engine.serving.table import EndpointKey

Call = Future[Answer]


@dataclass(slots=True)
class Background:
    """What is under way, by endpoint and name. `promised`: objects that will be written, and the record of the invocation that will."""

    promised: dict[str, Key] = field(default_factory=dict)
    _calls: dict[EndpointKey, dict[str, Call]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, key: EndpointKey, name: str, call: Call, wake: Callable[[], None]) -> None:
        """An invocation that has begun; `wake` is called once when it has ended."""
        with self._lock:
            self._calls.setdefault(key, {})[name] = call
        call.add_done_callback(lambda _: wake())

    def names(self, key: EndpointKey) -> set[str]:
        """What is under way or waits to be taken."""
        with self._lock:
            return set(self._calls.get(key, ()))

    def take_ended(self, key: EndpointKey) -> dict[str, Call]:
        """Those that have ended; they are no longer known."""
        with self._lock:
            calls = self._calls.get(key, {})
            ended = {name: call for name, call in calls.items() if call.done()}
            for name in ended:
                del calls[name]
            if not calls:
                self._calls.pop(key, None)
        return ended

    def forget(self, key: EndpointKey) -> None:
        """The endpoint is gone: nobody takes its answers."""
        with self._lock:
            calls = self._calls.pop(key, {})
        for call in calls.values():
            call.cancel()

    def clear(self) -> None:
        """Forget everything."""
        self.promised.clear()
        for key in list(self._calls):
            self.forget(key)
