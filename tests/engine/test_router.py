"""The router against replicas that are real small HTTP servers on unix sockets, driven by ASGI messages."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dewfall.engine.serving import faults, fleet
from dewfall.engine.serving.router import Router
from dewfall.engine.serving.table import Replica, Table, Variant

KEY = ("000000000000", "us-east-1", "churn")
SIGNED = b"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=00"
Serve = Callable[[str, bytes], bytes | None]


@dataclass
class Reply:
    """What a client got."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Last(bytes):
    """Bytes after which the replica closes the connection."""


def answer(body: bytes, status: int = 200, headers: str = "Content-Type: text/csv\r\n") -> bytes:
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Stage:
    """A router with replicas r0, r1, … of the given behaviours; a behaviour that returns None closes the connection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.router = Router()
        self.servers: list[asyncio.Server] = []
        self.seen: list[tuple[str, str, bytes]] = []
        self.conversations: list[asyncio.Task[None]] = []

    async def replica(self, serve: Serve) -> Replica:
        name = f"r{len(self.servers)}"
        path = self.folder / name

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if (task := asyncio.current_task()) is not None:
                self.conversations.append(task)
            try:
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0] or 0)
                    body = await reader.readexactly(length)
                    self.seen.append((name, head, body))
                    said = serve(head, body)
                    if said is None:
                        return
                    writer.write(said)
                    await writer.drain()
                    if isinstance(said, Last):
                        return
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

        self.servers.append(await asyncio.start_unix_server(connected, path))
        return Replica(name, f"unix:{path}")

    async def serve(self, *behaviours: Serve) -> None:
        replicas = [await self.replica(behaviour) for behaviour in behaviours]
        self.set(Variant("AllTraffic", 1.0, tuple(replicas)))

    def set(self, *variants: Variant) -> None:
        self.router.set_endpoint(KEY, Table(variants))

    async def invoke(self, body: bytes = b"1,2", action: str = "invocations", **headers: str) -> Reply:
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"path": f"/endpoints/churn/{action}", "headers": [(b"authorization", SIGNED), *named]}
        assert self.router.takes(scope)
        reply, sent = Reply(), False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await asyncio.Event().wait()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            reply.status = message.get("status", reply.status)
            reply.headers.update({name.decode(): value.decode() for name, value in message.get("headers", ())})
            reply.body += message.get("body", b"")

        await self.router.handle(scope, receive, send)
        return reply


Play = Callable[[Callable[[Stage], Awaitable[None]]], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a scene in a loop of its own."""

    @asynccontextmanager
    async def stage() -> AsyncIterator[Stage]:
        built = Stage(tmp_path)
        yield built
        built.router.clear()
        for server in built.servers:
            server.close()
            await server.wait_closed()
        for conversation in built.conversations:
            conversation.cancel()
        await asyncio.gather(*built.conversations, return_exceptions=True)
        await asyncio.sleep(0)

    def run(scene: Callable[[Stage], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with stage() as built:
                await scene(built)

        asyncio.run(whole())

    return run


def test_an_invocation_passes_what_aws_passes_and_strips_the_rest(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: answer(body[::-1], headers="Content-Type: text/csv\r\nX-Amzn-SageMaker-Custom-Attributes: b=2\r\n"))
        reply = await stage.invoke(b"abc", content_type="text/csv", x_amzn_sagemaker_custom_attributes="a=1", x_other="secret")
        _, head, _ = stage.seen[0]
        assert head.startswith("POST /invocations HTTP/1.1\r\n")
        assert "content-type: text/csv\r\n" in head
        assert "X-Amzn-SageMaker-Custom-Attributes: a=1\r\n" in head
        assert "secret" not in head
        assert "Credential" not in head
        assert (reply.status, reply.body) == (200, b"cba")
        assert reply.headers["content-type"] == "text/csv"
        assert reply.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
        assert reply.headers["x-amzn-sagemaker-custom-attributes"] == "b=2"
        assert len(reply.headers["x-amzn-requestid"]) == 36

    play(scene)


def test_a_chunked_answer_arrives_whole(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        reply = await stage.invoke()
        assert (reply.body, reply.headers["content-length"]) == (b"abc", "3")

    play(scene)


@pytest.mark.parametrize(("status", "said", "code"), [(415, "client", "CLIENT_ERROR_FROM_MODEL"), (500, "server", "INTERNAL_FAILURE_FROM_MODEL")])
def test_the_containers_error_is_a_model_error(play: Play, status: int, said: str, code: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: answer(b"no", status))
        reply = await stage.invoke()
        assert (reply.status, reply.headers["x-amzn-errortype"]) == (424, "ModelError")
        assert reply.document == {
            "Message": f'Received {said} error ({status}) from primary with message "no". See https://us-east-1.console.aws.amazon.com/cloudwatch/home'
            "?region=us-east-1#logEventViewer:group=/aws/sagemaker/Endpoints/churn in account 000000000000 for more information.",
            "OriginalStatusCode": status,
            "OriginalMessage": "no",
            "LogStreamArn": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/sagemaker/Endpoints/churn",
            "ErrorCode": code,
        }

    play(scene)


def test_a_slow_container_times_out(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: b"")
        reply = await stage.invoke()
        assert reply.document["OriginalStatusCode"] == 0
        assert reply.document["OriginalMessage"].startswith("Your invocation timed out while waiting for a response from container primary.")

    monkeypatch.setattr("dewfall.engine.serving.router.MODEL_SECONDS", 0.01)
    play(scene)


def test_a_replica_that_refuses_is_passed_over(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        alive = await stage.replica(lambda head, body: answer(b"ok"))
        stage.set(Variant("AllTraffic", 1.0, (Replica("gone", f"unix:{stage.folder}/nobody"), alive)))
        assert [(await stage.invoke()).body for _ in range(4)] == [b"ok"] * 4

    play(scene)


def test_a_replica_that_dies_with_a_request_is_replaced_by_another(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: None, lambda head, body: answer(b"ok"))
        assert [(await stage.invoke()).body for _ in range(4)] == [b"ok"] * 4

    play(scene)


def test_a_request_that_every_replica_dies_of_is_a_model_error(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(*[lambda head, body: None] * 3)
        reply = await stage.invoke()
        assert (reply.status, reply.document["OriginalStatusCode"]) == (424, 0)
        assert len(stage.seen) == fleet.DEATHS

    play(scene)


def test_an_answer_that_breaks_off_is_never_repeated(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(*[lambda head, body: Last(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab")] * 2)
        reply = await stage.invoke()
        assert (reply.status, reply.headers["x-amzn-errortype"]) == (424, "ModelError")
        assert len(stage.seen) == 1

    play(scene)


def test_a_kept_connection_that_was_closed_costs_nothing(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: Last(answer(b"ok")))
        assert [(await stage.invoke()).body for _ in range(3)] == [b"ok"] * 3

    play(scene)


def test_requests_wait_while_no_replica_is_up(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.set(Variant("AllTraffic", 1.0, ()))
        asked = asyncio.ensure_future(stage.invoke())
        await asyncio.sleep(0)
        await stage.serve(lambda head, body: answer(b"late"))
        assert (await asked).body == b"late"

    play(scene)


def test_no_replica_in_time_is_service_unavailable(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.set(Variant("AllTraffic", 1.0, ()))
        reply = await stage.invoke()
        assert (reply.status, reply.headers["x-amzn-errortype"]) == (503, "ServiceUnavailable")

    monkeypatch.setattr(fleet, "WAIT_SECONDS", 0.01)
    play(scene)


def test_variants_share_the_traffic_by_weight(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        replica = await stage.replica(lambda head, body: answer(b"ok"))
        stage.set(Variant("A", 1.0, (replica,)), Variant("B", 3.0, (replica,)), Variant("C", 0.0, (replica,)))
        replies = await asyncio.gather(*(stage.invoke() for _ in range(400)))
        shares = Counter(reply.headers["x-amzn-invoked-production-variant"] for reply in replies)
        assert shares == {"A": 100, "B": 300}

    play(scene)


def test_target_variant_is_obeyed(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        replica = await stage.replica(lambda head, body: answer(b"ok"))
        stage.set(Variant("A", 1.0, (replica,)), Variant("B", 0.0, (replica,)))
        reply = await stage.invoke(x_amzn_sagemaker_target_variant="B")
        assert reply.headers["x-amzn-invoked-production-variant"] == "B"
        refused = await stage.invoke(x_amzn_sagemaker_target_variant="Z")
        assert (refused.status, refused.headers["x-amzn-errortype"]) == (400, "ValidationError")

    play(scene)


def test_a_table_that_comes_again_does_not_begin_the_turns_anew(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        replica = await stage.replica(lambda head, body: answer(b"ok"))
        told = []
        for _ in range(40):
            stage.set(Variant("A", 9.0, (replica,)), Variant("B", 1.0, (replica,)))
            told.append((await stage.invoke()).headers["x-amzn-invoked-production-variant"])
        assert Counter(told) == {"A": 36, "B": 4}

    play(scene)


def test_old_and_new_replicas_of_a_name_share_what_it_gets(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        old, new = [await stage.replica(lambda head, body: answer(b"ok")) for _ in range(2)]
        stage.set(Variant("A", 0.75, (old,), share=0.75), Variant("A", 0.25, (new,), share=0.25))
        for _ in range(40):
            await stage.invoke()
            await stage.invoke(x_amzn_sagemaker_target_variant="A")
        assert Counter(name for name, _, _ in stage.seen) == {"r0": 60, "r1": 20}

    play(scene)


def test_a_request_that_loses_its_variant_goes_to_the_next_table(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        gone = Replica("gone", f"unix:{stage.folder}/nobody")
        stage.set(Variant("A", 1.0, (gone,)))
        asked = asyncio.ensure_future(stage.invoke())
        await asyncio.sleep(0)
        stage.set(Variant("B", 1.0, (await stage.replica(lambda head, body: answer(b"ok")),)))
        assert (await asked).headers["x-amzn-invoked-production-variant"] == "B"

    play(scene)


def test_equal_replicas_take_turns(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(*[lambda head, body: answer(b"ok")] * 2)
        for _ in range(10):
            await stage.invoke()
        assert Counter(name for name, _, _ in stage.seen) == {"r0": 5, "r1": 5}

    play(scene)


def test_many_requests_at_once_share_few_connections(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: answer(body))
        replies = await asyncio.gather(*(stage.invoke(b"%d" % n) for n in range(200)))
        assert [reply.body for reply in replies] == [b"%d" % n for n in range(200)]
        assert stage.router._fleets[KEY]._pools["r0"].open <= 64
        assert stage.router.busy(KEY, "r0") == 0

    play(scene)


def test_a_body_beyond_the_limit_is_refused(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: answer(b"ok"))
        reply = await stage.invoke(b"x" * 11)
        assert (reply.status, reply.document["Message"]) == (413, "HTTP content length exceeded 10 bytes.")

    monkeypatch.setattr(faults, "PAYLOAD_LIMIT", 10)
    play(scene)


def test_a_streamed_answer_comes_as_payload_parts(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: answer(b"abc"))
        reply = await stage.invoke(action="invocations-response-stream", x_amzn_sagemaker_accept="text/csv")
        assert "accept: text/csv\r\n" in stage.seen[0][1]
        assert reply.headers["content-type"] == "application/vnd.amazon.eventstream"
        assert reply.headers["x-amzn-sagemaker-content-type"] == "text/csv"
        total, headers = struct.unpack(">II", reply.body[:8])
        assert total == len(reply.body)
        assert reply.body[12 + headers : -4] == b"abc"
        assert stage.router.busy(KEY, "r0") == 0

    play(scene)


def test_a_stream_that_breaks_off_says_so(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: Last(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"))
        reply = await stage.invoke(action="invocations-response-stream")
        assert b"ModelStreamError" in reply.body
        assert b'"ErrorCode": "StreamBroken"' in reply.body
        assert stage.router.busy(KEY, "r0") == 0

    play(scene)


def test_counters_tell_what_happened(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: answer(b"", 400) if body == b"bad" else answer(b"ok"))
        for body in (b"1", b"2", b"bad"):
            await stage.invoke(body)
        counters = stage.router.take_counters(KEY)["AllTraffic", ""]
        assert (counters.invocations, counters.client_errors, counters.server_errors, counters.model_errors) == (3, 1, 0, 1)
        assert len(counters.model_latencies) == 3
        assert stage.router.take_counters(KEY) == {}

    play(scene)


def test_a_replica_that_answers_no_pings_is_taken_for_lost(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: b"", lambda head, body: answer(b""), lambda head, body: answer(b"", 503))
        known = stage.router._fleets[KEY]
        for _ in range(fleet.FAILED_PINGS):
            assert known.unhealthy() == set()
            known.check()
            await asyncio.gather(*known._checks)
        assert known.unhealthy() == {"r0", "r2"}
        assert stage.seen[0][1].startswith("GET /ping HTTP/1.1\r\n")

    monkeypatch.setattr(fleet, "PING_SECONDS", 0.05)
    monkeypatch.setattr(fleet, "PING_EVERY", 0.0)
    play(scene)


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/endpoints/other/invocations"},
        {"path": "/endpoints/churn/async-invocations"},
        {"headers": [(b"authorization", SIGNED.replace(b"us-east-1", b"eu-west-1"))]},
        {"headers": [(b"authorization", SIGNED.replace(b"=test/", b"=111122223333/"))]},
        {"headers": [(b"authorization", SIGNED), (b"x-amzn-sagemaker-enable-explanations", b"true")]},
        {"headers": [(b"authorization", SIGNED), (b"x-amzn-sagemaker-inference-component", b"other")]},
        {"headers": []},
    ],
)
def test_what_it_does_not_know_is_left_to_the_slow_path(play: Play, change: dict[str, Any]) -> None:
    async def scene(stage: Stage) -> None:
        stage.set(Variant("AllTraffic", 1.0, ()))
        assert not stage.router.takes({"path": "/endpoints/churn/invocations", "headers": [(b"authorization", SIGNED)], **change})

    play(scene)


def test_signatures_are_for_the_slow_path() -> None:
    router = Router(auth="enforce")
    router.set_endpoint(KEY, Table(()))
    assert not router.takes({"path": "/endpoints/churn/invocations", "headers": [(b"authorization", SIGNED)]})


def test_a_request_that_overtakes_its_endpoints_first_table_is_looked_up(play: Play) -> None:
    """The record may say InService, and a client know it, before the loop has come to the table that was put in from another thread."""

    async def scene(stage: Stage) -> None:
        request = {"path": "/endpoints/churn/invocations", "headers": [(b"authorization", SIGNED)]}
        stage.router.attach(asyncio.get_running_loop())
        thread = threading.Thread(target=stage.router.set_endpoint, args=(KEY, Table((Variant("AllTraffic", 1.0, ()),))))
        thread.start()
        thread.join()  # the loop waits, so it has not taken the table over yet
        assert (stage.router.takes(dict(request)), stage.router.knows(KEY)) == (False, False)
        while not stage.router.knows(KEY):
            await asyncio.sleep(0)
        assert stage.router.takes(dict(request))

    play(scene)


def test_a_full_queue_refuses_at_once(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        await stage.serve(lambda head, body: b"")
        waiting = [asyncio.ensure_future(stage.invoke()) for _ in range(2)]
        while len(stage.seen) < 2:
            await asyncio.sleep(0.001)
        refused = await stage.invoke()
        assert (refused.status, refused.headers["x-amzn-errortype"]) == (503, "ServiceUnavailable")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    monkeypatch.setattr(fleet, "WAITING", 2)
    play(scene)
