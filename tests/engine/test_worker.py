"""The worker: order, repetition, waking, bounded attempts, and leases of the dead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dewfall.context import Ctx, HandClock, SystemClock
from dewfall.engine.ports import Conflict, Key, Task
from dewfall.engine.store import SqliteStore
from dewfall.engine.worker import ATTEMPTS, Again, Done, Outcome, Worker

MakeCtx = Callable[[str, str], Ctx]
KEY = Key("000000000000", "us-east-1", "sagemaker", "training-job", "j")


def make_worker(store: SqliteStore, make_ctx: MakeCtx, functions: dict[str, Callable[..., Any]], owner: str = "node-1") -> Worker:
    def resolve(reference: str) -> Callable[..., Any]:
        try:
            return functions[reference]
        except KeyError:
            raise AttributeError(reference) from None

    return Worker(store, {"job": "m:step"}, make_ctx, owner=owner, resolve=resolve, clock=store.clock)


def put(store: SqliteStore, payload: dict[str, Any] | None = None, delay: float = 0.0, key: Key = KEY) -> None:
    with store.transaction() as tx:
        tx.queue.put("job", key, payload, delay=delay)


def test_a_step_runs_once_and_the_row_is_gone(store: SqliteStore, make_ctx: MakeCtx) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def step(ctx: Ctx, task: Task) -> Outcome:
        seen.append((ctx.account + task.key.name, task.payload))
        return Done()

    put(store, {"a": 1})
    assert make_worker(store, make_ctx, {"m:step": step}).run_due() == 1
    assert seen == [("000000000000j", {"a": 1})]
    assert store.next_due() is None


def test_again_comes_after_its_delay_with_its_payload(store: SqliteStore, make_ctx: MakeCtx, clock: HandClock) -> None:
    seen: list[dict[str, Any]] = []

    def step(ctx: Ctx, task: Task) -> Outcome:
        seen.append(task.payload)
        return Again(10.0, {"n": len(seen)})

    put(store)
    worker = make_worker(store, make_ctx, {"m:step": step})
    assert (worker.run_due(), worker.run_due()) == (1, 0)
    clock.move(clock.now() + timedelta(seconds=10))
    assert worker.run_due() == 1
    assert seen == [{}, {"n": 1}]


def test_a_row_woken_while_its_step_runs_is_run_once_more(store: SqliteStore, make_ctx: MakeCtx) -> None:
    runs: list[int] = []

    def step(ctx: Ctx, task: Task) -> Outcome:
        runs.append(task.id)
        if len(runs) == 1:
            with store.transaction() as tx:
                tx.queue.wake("job", task.key)
        return Done()

    put(store)
    assert make_worker(store, make_ctx, {"m:step": step}).run_due() == 2
    assert store.next_due() is None


def test_a_payload_put_while_the_step_runs_is_kept(store: SqliteStore, make_ctx: MakeCtx) -> None:
    seen: list[dict[str, Any]] = []

    def step(ctx: Ctx, task: Task) -> Outcome:
        seen.append(task.payload)
        if len(seen) == 1:
            put(store, {"new": True})
            return Again(60.0, {"old": True})
        return Done()

    put(store)
    make_worker(store, make_ctx, {"m:step": step}).run_due()
    assert seen == [{}, {"new": True}]


def test_a_row_removed_and_put_again_is_not_finished_by_the_old_step(store: SqliteStore, make_ctx: MakeCtx) -> None:
    runs: list[int] = []

    def step(ctx: Ctx, task: Task) -> Outcome:
        runs.append(task.id)
        if len(runs) == 1:
            with store.transaction() as tx:
                tx.queue.remove("job", task.key)
                tx.queue.put("job", task.key)
            store.claim(["job"], "node-1.other", 30.0)
        return Done()

    put(store)
    make_worker(store, make_ctx, {"m:step": step}).run_due()
    assert store.next_due() == 30.0


def test_a_conflict_is_retried_at_once(store: SqliteStore, make_ctx: MakeCtx) -> None:
    outcomes: list[Outcome | None] = [None, Done()]

    def step(ctx: Ctx, task: Task) -> Outcome:
        outcome = outcomes.pop(0)
        if outcome is None:
            raise Conflict(task.key)
        return outcome

    put(store)
    assert make_worker(store, make_ctx, {"m:step": step}).run_due() == 2


@pytest.mark.parametrize("gives_up", [True, False])
def test_a_raising_step_is_tried_a_bounded_number_of_times(store: SqliteStore, make_ctx: MakeCtx, clock: HandClock, gives_up: bool) -> None:
    messages: list[str] = []
    tries: list[int] = []

    def step(ctx: Ctx, task: Task) -> Outcome:
        tries.append(task.attempts)
        raise OSError("broken")

    functions: dict[str, Callable[..., Any]] = {"m:step": step}
    if gives_up:
        functions["m:give_up"] = lambda ctx, task, message: messages.append(message)
    put(store)
    worker = make_worker(store, make_ctx, functions)
    for _ in range(2 * ATTEMPTS):
        worker.run_due()
        clock.move(clock.now() + timedelta(minutes=1))
    assert tries == [1, 2, 3, 4, 5]
    assert messages == (["OSError: broken"] if gives_up else [])
    assert store.next_due() is None


def test_what_a_dead_server_of_the_node_had_claimed_is_run(store: SqliteStore, make_ctx: MakeCtx) -> None:
    done = threading.Event()
    put(store)
    assert store.claim(["job"], "node-77.1", 1000.0)

    def step(ctx: Ctx, task: Task) -> Outcome:
        done.set()
        return Done()

    worker = make_worker(store, make_ctx, {"m:step": step}, owner="node-78")
    worker.start()
    assert done.wait(90)
    worker.stop()


def test_a_commit_wakes_the_sleeping_worker_and_so_does_a_short_delay(store: SqliteStore, make_ctx: MakeCtx) -> None:
    store.clock = SystemClock()
    done = threading.Event()
    runs: list[str] = []

    def step(ctx: Ctx, task: Task) -> Outcome:
        runs.append(task.key.name)
        if len(runs) == 1:
            return Again(0.01)
        done.set()
        return Done()

    worker = make_worker(store, make_ctx, {"m:step": step})
    worker.start()
    put(store)
    assert done.wait(90)
    worker.stop()


def test_rows_of_other_kinds_are_left_alone(store: SqliteStore, make_ctx: MakeCtx) -> None:
    with store.transaction() as tx:
        tx.queue.put("other", KEY)
    assert make_worker(store, make_ctx, {}).run_due() == 0
    assert store.next_due() == 0.0
