"""Copies for a shadow variant: how many, when, and that no caller ever notices."""

from __future__ import annotations

import asyncio
from collections import Counter

from dewfall.engine.serving import shadows
from dewfall.engine.serving.table import Shadow, Table, Variant

from .test_router import KEY, Play, Serve, Stage, answer, play

__all__ = ["play"]


async def shadowed(stage: Stage, serve: Serve, share: float = 1.0) -> None:
    """A replica r0 that answers 0.5, and a shadow r1."""
    main = await stage.replica(lambda head, body: answer(b"0.5"))
    copy = await stage.replica(serve)
    shadow = Shadow(Variant("Shadow", 0.0, (copy,)), share)
    stage.router.set_endpoint(KEY, Table((Variant("Main", 1.0, (main,)),), shadow=shadow))


async def settled(stage: Stage) -> None:
    while tasks := stage.router._fleets[KEY].shadows._tasks:
        await asyncio.gather(*tasks)


def test_the_configured_share_is_copied_and_never_returned(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await shadowed(stage, lambda head, body: answer(b"0.7"), 0.3)
        replies = [await stage.invoke(b"%d" % n) for n in range(50)]
        await settled(stage)
        assert {(reply.body, reply.headers["x-amzn-invoked-production-variant"]) for reply in replies} == {(b"0.5", "Main")}
        assert Counter(name for name, _, _ in stage.seen) == {"r0": 50, "r1": 15}
        counters = stage.router.take_counters(KEY)
        assert (counters["Main", ""].invocations, counters["Shadow", ""].invocations) == (50, 15)

    play(scene)


def test_answers_are_compared(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await shadowed(stage, lambda head, body: answer(b"0.50" if body == b"1" else b"0.7"))
        for body in (b"1", b"1", b"1", b"2"):
            await stage.invoke(body)
        await settled(stage)
        told = stage.router.take_comparisons(KEY)["Shadow"]
        assert (told.copies, told.compared, told.agreed, len(told.delays)) == (4, 4, 3, 4)
        assert [round(gap, 6) for gap in told.differences] == [0.0, 0.0, 0.0, 0.2]

    play(scene)


def test_a_shadow_that_never_answers_delays_nobody(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await shadowed(stage, lambda head, body: b"")
        assert {(await stage.invoke()).body for _ in range(shadows.AT_ONCE + 5)} == {b"0.5"}
        held = stage.router._fleets[KEY].shadows
        assert (len(held._tasks), len(held._waiting)) == (shadows.AT_ONCE, 5)
        for task in list(held._tasks):
            task.cancel()
        await asyncio.gather(*held._tasks, return_exceptions=True)

    play(scene)


def test_a_shadow_s_errors_are_its_own(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await shadowed(stage, lambda head, body: answer(b"no", 500))
        assert (await stage.invoke()).status == 200
        await settled(stage)
        counters = stage.router.take_counters(KEY)
        assert (counters["Main", ""].server_errors, counters["Shadow", ""].server_errors) == (0, 1)
        assert stage.router.take_comparisons(KEY)["Shadow"].agreed == 0

    play(scene)


def test_a_shadow_cannot_be_asked_for(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await shadowed(stage, lambda head, body: answer(b"0.5"))
        assert (await stage.invoke(x_amzn_sagemaker_target_variant="Shadow")).status == 400

    play(scene)
