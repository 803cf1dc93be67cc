"""Loops: on time, by one leader, and nothing ends them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from dewfall.context import Ctx, HandClock
from dewfall.engine.loops import Loops
from dewfall.engine.store import SqliteStore

MakeCtx = Callable[[str, str], Ctx]


def make_loops(store: SqliteStore, make_ctx: MakeCtx, tick: Callable[..., Any], owner: str = "node-1", period: float = 10.0) -> Loops:
    return Loops(store, {"t": ("m:tick", period)}, make_ctx, owner=owner, resolve=lambda reference: tick, clock=store.clock)


def test_a_tick_runs_each_period(store: SqliteStore, make_ctx: MakeCtx, clock: HandClock) -> None:
    ran: list[Ctx] = []
    loops = make_loops(store, make_ctx, ran.append)
    for _ in range(30):
        clock.move(clock.now() + timedelta(seconds=1))
        loops.run_due()
    assert len(ran) == 3
    loops.stop()


def test_ticks_missed_in_a_long_pause_run_once(store: SqliteStore, make_ctx: MakeCtx, clock: HandClock) -> None:
    loops = make_loops(store, make_ctx, lambda ctx: None)
    clock.move(clock.now() + timedelta(hours=1))
    assert [loops.run_due(), loops.run_due()] == [["t"], []]
    loops.stop()


def test_a_raising_tick_is_noted_and_runs_again(store: SqliteStore, make_ctx: MakeCtx, clock: HandClock) -> None:
    def tick(ctx: Ctx) -> list[str]:
        raise ValueError("no")

    loops = make_loops(store, make_ctx, tick)
    for _ in range(2):
        clock.move(clock.now() + timedelta(seconds=10))
        loops.run_due()
    assert [decision.text for decision in loops.decisions] == ["failed: ValueError: no"] * 2
    loops.stop()


def test_decisions_are_kept(store: SqliteStore, make_ctx: MakeCtx, clock: HandClock) -> None:
    loops = make_loops(store, make_ctx, lambda ctx: ["scaled out to 3"])
    clock.move(clock.now() + timedelta(seconds=10))
    loops.run_due()
    assert [(d.at, d.tick, d.text) for d in loops.decisions] == [(clock.now(), "t", "scaled out to 3")]
    loops.stop()


def test_of_two_servers_one_leads_until_its_lease_runs_out(store: SqliteStore, make_ctx: MakeCtx, clock: HandClock) -> None:
    first = make_loops(store, make_ctx, lambda ctx: None, "node-1")
    second = make_loops(store, make_ctx, lambda ctx: None, "node-2")
    clock.move(clock.now() + timedelta(seconds=10))
    assert (first.run_due(), second.run_due()) == (["t"], [])
    clock.move(clock.now() + timedelta(seconds=60))
    assert second.run_due() == ["t"]
    first.stop()
    second.stop()
