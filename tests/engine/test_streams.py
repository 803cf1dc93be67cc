"""Streamed answers that somebody looks on at: captured whole, copied to a shadow, and passed on all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dewfall.engine.serving import answer as answers
from dewfall.engine.serving.capture import Exchange, Spool
from dewfall.engine.serving.connection import ReplicaGone
from dewfall.engine.serving.connection import Reply as Answered
from dewfall.engine.serving.fleet import Fleet
from dewfall.engine.serving.table import CaptureRule, Shadow, Table, Variant

from .test_router import KEY, Last, Play, Reply, Serve, Stage, answer, play
from .test_shadows import settled

__all__ = ["play"]

RULE = CaptureRule(100.0, "s3://bucket/captured/", True, True, frozenset(), frozenset())
PIECES = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
BROKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"


async def serve(stage: Stage, main: Serve, shadow: Serve | None = None, spool: Spool | None = None) -> None:
    """A replica r0, all of whose requests are captured and, where there is a shadow r1, copied."""
    stage.router.spool = spool
    variants = (Variant("Main", 1.0, (await stage.replica(main),)),)
    copies = Shadow(Variant("Shadow", 0.0, (await stage.replica(shadow),)), 1.0) if shadow else None
    stage.router.set_endpoint(KEY, Table(variants, capture=RULE if spool else None, shadow=copies))


async def stream(stage: Stage, body: bytes = b"1,2") -> Reply:
    return await stage.invoke(body, action="invocations-response-stream")


def captured(spool: Spool) -> list[Exchange]:
    """What waits to be written down."""
    return list(spool._pending)


def test_the_whole_stream_is_captured(play: Play, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        spool = Spool(tmp_path / "spool")
        await serve(stage, lambda head, body: PIECES, spool=spool)
        await stream(stage)
        taken = captured(spool)[0]
        assert (taken.variant, taken.body, taken.answer, taken.answer_type) == ("Main", b"1,2", b"abc", b"text/event-stream")
        assert stage.router._fleets[KEY].room.used == 0

    play(scene)


@pytest.mark.parametrize("said", [Last(BROKEN), answer(b"no", 500)], ids=["broken", "refused"])
def test_a_stream_that_fails_is_not_captured(play: Play, tmp_path: Path, said: bytes) -> None:
    async def scene(stage: Stage) -> None:
        spool = Spool(tmp_path / "spool")
        await serve(stage, lambda head, body: said, spool=spool)
        await stream(stage)
        assert captured(spool) == []
        assert stage.router._fleets[KEY].room.used == 0

    play(scene)


def test_what_does_not_fit_is_passed_on_and_not_captured(play: Play, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        spool = Spool(tmp_path / "spool")
        await serve(stage, lambda head, body: answer(body), spool=spool)
        stage.router._fleets[KEY].room.limit = 3
        assert b"longer" in (await stream(stage, b"longer")).body
        assert b"abc" in (await stream(stage, b"abc")).body
        assert [taken.answer for taken in captured(spool)] == [b"abc"]

    play(scene)


def test_a_stream_is_copied_and_compared(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, lambda head, body: answer(b"0.5"), lambda head, body: answer(b"0.50" if body == b"1" else b"0.7"))
        for body in (b"1", b"1", b"2"):
            assert b"0.5" in (await stream(stage, body)).body
        await settled(stage)
        told = stage.router.take_comparisons(KEY)["Shadow"]
        assert (told.copies, told.compared, told.agreed, len(told.delays)) == (3, 3, 2, 3)
        assert [body for name, _, body in stage.seen if name == "r1"] == [b"1", b"1", b"2"]

    play(scene)


def test_a_shadow_s_stream_is_captured_under_its_name(play: Play, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        spool = Spool(tmp_path / "spool")
        await serve(stage, lambda head, body: answer(b"x"), lambda head, body: PIECES, spool)
        await stream(stage)
        await settled(stage)
        assert [(taken.variant, taken.answer) for taken in captured(spool)] == [("Main", b"x"), ("Shadow", b"abc")]
        assert stage.router._fleets[KEY].room.used == 0

    play(scene)


def test_without_productions_whole_answer_there_is_nothing_to_compare(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, lambda head, body: Last(BROKEN), lambda head, body: answer(b"0.5"))
        assert b"StreamBroken" in (await stream(stage)).body
        await settled(stage)
        told = stage.router.take_comparisons(KEY)["Shadow"]
        assert (told.copies, told.compared) == (1, 0)

    play(scene)


def test_a_shadow_whose_stream_breaks_has_failed(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, lambda head, body: answer(b"0.5"), lambda head, body: Last(BROKEN))
        assert b"0.5" in (await stream(stage)).body
        await settled(stage)
        counters = stage.router.take_counters(KEY)
        assert (counters["Main", ""].server_errors, counters["Shadow", ""].server_errors) == (0, 1)

    play(scene)


def test_a_client_that_leaves_gives_the_room_back() -> None:
    room, ended = answers.Room(limit=10), list[bytes | None]()

    async def scene() -> None:
        fleet = Fleet(KEY)
        reply = Answered(None)
        connection = type("Connection", (), {"resume": lambda self: None, "abandon": lambda self: None})()
        left = answers.Answer(fleet, Variant("Main", 1.0, ()), None, connection, reply, asyncio.get_running_loop().time() + 60)
        left.keep(room, ended.append)
        reply.chunks.append(b"abc")
        assert await left.next_chunk() == b"abc"
        assert room.used == 3
        left.abandon()
        assert isinstance(reply.error, ReplicaGone)

    asyncio.run(scene())
    assert (room.used, ended) == (0, [None])
