"""The outbox: messages that left with a transaction, delivered to the subscribers of their topics at least once.

Why apart from the operation that wrote them: a slow or broken receiver must neither delay nor undo what was answered with success.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dewfall.context import Clock, Ctx
from dewfall.engine.lookout import Lookout
from dewfall.engine.ports import Key, Message, Store

log = logging.getLogger(__name__)

ATTEMPTS = 6
BACKOFF = (0.2, 1.0, 5.0, 15.0, 30.0)
BATCH = 256
LONGEST_SLEEP = 30.0

Delivery = Callable[[Ctx, Message], None]


@dataclass(frozen=True, slots=True)
class Retry:
    """A message that could not be delivered yet."""

    attempts: int
    due: float


class Outbox(Lookout[Message]):
    """Delivers to `subscribers` (topic → "module:function", `(ctx, message) -> None`); a message of another topic is dropped."""

    def __init__(
        self,
        store: Store,
        subscribers: Mapping[str, str],
        make_ctx: Callable[[str, str], Ctx],
        *,
        resolve: Callable[[str], Callable[..., Any]],
        clock: Clock,
        threads: int = 4,
    ) -> None:
        super().__init__("outbox", threads)
        self.store = store
        self.subscribers = subscribers
        self.make_ctx = make_ctx
        self.resolve = resolve
        self.clock = clock
        self._ready: deque[Message] = deque()
        self._busy: set[int] = set()
        self._retries: dict[int, Retry] = {}
        store.on_commit(self._committed)

    def run_due(self, limit: int = 1000) -> int:
        """Deliver what is due now, and what that brings, in this thread; how many messages that were."""
        count = 0
        while count < limit:
            with self._looking:
                message = self._take()
            if message is None:
                break
            self._perform(message)
            count += 1
        return count

    # ------------------------------------------------------------ threads

    def _committed(self, keys: list[Key]) -> None:
        if any(key.kind == "outbox" and not key.service for key in keys):
            self.wake()

    def _look(self) -> tuple[Message | None, float]:
        message = self._take()
        return message, 0.0 if message is not None else self._sleep()

    def _sleep(self) -> float:
        first = min((retry.due for retry in list(self._retries.values())), default=float("inf"))
        return min(max(0.005, first - self.clock.now().timestamp()), LONGEST_SLEEP)

    def _take(self) -> Message | None:
        """The next message to deliver; read in batches, those of no interest dropped on the way."""
        if not self._ready:
            now = self.clock.now().timestamp()
            busy = set(self._busy)
            limit = BATCH + len(busy) + len(self._retries)
            read = self.store.take_messages(limit)
            messages = [m for m in read if m.id not in busy]
            if len(read) < limit:
                self._forget_vanished(busy | {m.id for m in read})
            unwanted = [m.id for m in messages if m.topic not in self.subscribers]
            if unwanted:
                self.store.drop_messages(unwanted)
            self._ready.extend(m for m in messages if m.topic in self.subscribers and self._is_due(m.id, now))
        if not self._ready:
            return None
        message = self._ready.popleft()
        self._busy.add(message.id)
        return message

    def _is_due(self, message: int, now: float) -> bool:
        retry = self._retries.get(message)
        return retry is None or retry.due <= now

    def _forget_vanished(self, there: set[int]) -> None:
        for gone in set(self._retries) - there:
            self._retries.pop(gone, None)

    # ------------------------------------------------------------ one message

    def _perform(self, message: Message) -> None:
        try:
            deliver: Delivery = self.resolve(self.subscribers[message.topic])
            deliver(self.make_ctx(message.account, message.region), message)
            self._forget(message)
        except Exception as error:
            if not self._stopping.is_set():
                self._failed(message, error)
        finally:
            self._busy.discard(message.id)
            self.wake()

    def _failed(self, message: Message, error: Exception) -> None:
        retry = self._retries.get(message.id, Retry(0, 0.0))
        attempts = retry.attempts + 1
        log.warning("delivery failed topic=%s message=%s attempt=%s error=%s: %s", message.topic, message.id, attempts, type(error).__name__, error)
        if attempts >= ATTEMPTS:
            self._forget(message)
            return
        self._retries[message.id] = Retry(attempts, self.clock.now().timestamp() + BACKOFF[min(attempts, len(BACKOFF)) - 1])

    def _forget(self, message: Message) -> None:
        self.store.drop_messages([message.id])
        self._retries.pop(message.id, None)
