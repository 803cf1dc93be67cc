"""The outbox: what is delivered, dropped, retried, and that one bad message stops no other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dewfall.context import Ctx, HandClock
from dewfall.engine.outbox import ATTEMPTS, Outbox
from dewfall.engine.ports import Message
from dewfall.engine.store import SqliteStore
from dewfall.services.common import settle

MakeCtx = Callable[[str, str], Ctx]


def make_outbox(store: SqliteStore, make_ctx: MakeCtx, deliver: Callable[[Ctx, Message], None]) -> Outbox:
    return Outbox(store, {"t": "m:deliver"}, make_ctx, resolve=lambda reference: deliver, clock=store.clock)


def put(store: SqliteStore, *bodies: dict[str, Any], topic: str = "t") -> None:
    with store.transaction() as tx:
        for body in bodies:
            tx.outbox.put(topic, "000000000000", "us-east-1", body)


def test_messages_are_delivered_in_order_and_once(store: SqliteStore, make_ctx: MakeCtx) -> None:
    seen: list[int] = []
    put(store, *({"n": n} for n in range(5)))
    outbox = make_outbox(store, make_ctx, lambda ctx, message: seen.append(message.body["n"]))
    assert (outbox.run_due(), outbox.run_due()) == (5, 0)
    assert seen == [0, 1, 2, 3, 4]
    assert store.take_messages(10) == []


def test_a_topic_without_subscriber_is_dropped(store: SqliteStore, make_ctx: MakeCtx) -> None:
    put(store, {}, topic="other")
    assert make_outbox(store, make_ctx, lambda ctx, message: None).run_due() == 0
    assert store.take_messages(10) == []


def test_a_failing_message_is_retried_then_dropped_and_others_pass(store: SqliteStore, make_ctx: MakeCtx, clock: HandClock) -> None:
    seen: list[str] = []

    def deliver(ctx: Ctx, message: Message) -> None:
        seen.append(message.body["n"])
        if message.body["n"] == "bad":
            raise OSError("refused")

    put(store, {"n": "bad"}, {"n": "good"})
    outbox = make_outbox(store, make_ctx, deliver)
    for _ in range(2 * ATTEMPTS):
        outbox.run_due()
        clock.move(clock.now() + timedelta(minutes=1))
    assert (seen.count("bad"), seen.count("good")) == (ATTEMPTS, 1)
    assert store.take_messages(10) == []


def test_a_delivery_may_send_on(store: SqliteStore, make_ctx: MakeCtx) -> None:
    seen: list[int] = []

    def deliver(ctx: Ctx, message: Message) -> None:
        seen.append(message.body["n"])
        if message.body["n"] < 3:
            put(store, {"n": message.body["n"] + 1})

    put(store, {"n": 1})
    assert make_outbox(store, make_ctx, deliver).run_due() == 3
    assert seen == [1, 2, 3]


def test_a_commit_wakes_the_sleeping_outbox(store: SqliteStore, make_ctx: MakeCtx) -> None:
    done = threading.Event()
    outbox = make_outbox(store, make_ctx, lambda ctx, message: done.set())
    outbox.start()
    put(store, {})
    assert done.wait(90)
    outbox.stop()


def test_what_cannot_be_delivered_holds_two_clients_only(store: SqliteStore, make_ctx: MakeCtx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dewfall.services.common.SETTLE_SECONDS", 600.0)
    put(store, {})
    message = store.take_messages(1)[0].id
    ctx = replace(make_ctx("000000000000", "us-east-1"), user_agent="boto3")
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(settle, ctx, [message]) for _ in range(3)]
        done, _ = wait(waiting, timeout=60, return_when=FIRST_COMPLETED)
        store.drop_messages([message])
    assert len(done) == 1
    assert [future.result() for future in waiting] == [None] * 3
