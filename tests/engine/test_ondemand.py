"""Serverless variants in the router: throttled beyond their concurrency, and a replica called up for the first request."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from dewfall.engine.serving.table import OnDemand, Table, Variant
from tests.engine.test_router import KEY, Play, Stage, answer, play

__all__ = ["play"]


def test_one_request_too_many_is_throttled(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        silent = await stage.replica(lambda head, body: b"")
        stage.set(Variant("AllTraffic", 1.0, (silent,), special=OnDemand(2)))
        waiting = [asyncio.ensure_future(stage.invoke()) for _ in range(2)]
        while len(stage.seen) < 2:
            await asyncio.sleep(0.001)
        refused = await stage.invoke()
        assert (refused.status, refused.headers["x-amzn-errortype"], refused.document) == (429, "ThrottlingException", {"Message": "Rate exceeded"})
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    play(scene)


def test_the_first_request_calls_a_replica_up(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        ready = await stage.replica(lambda head, body: answer(b"ok"))
        cold = Variant("AllTraffic", 1.0, (), special=OnDemand(1))
        stage.router.attach(asyncio.get_running_loop())
        stage.router.on_cold = lambda key, name: stage.router.set_endpoint(key, Table((replace(cold, replicas=(ready,)),)))
        stage.set(cold)
        await asyncio.sleep(0)
        assert (await stage.invoke()).body == b"ok"
        desk = stage.router.desk(KEY, "AllTraffic")
        assert desk is not None
        assert len(desk.take().setups) == 1
        assert (await stage.invoke()).body == b"ok"
        assert desk.take().setups == []

    play(scene)
