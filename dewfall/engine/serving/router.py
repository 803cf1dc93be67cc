"""The data path: InvokeEndpoint and InvokeEndpointWithResponseStream, from the ASGI scope to a replica and back.

Why in the event loop and by hand: no database, no service model and no thread stands between a request and its replica.

    takes ─ credential scope → (account, region), path → endpoint ─ variant by weight ─ replica by least outstanding ─ connection
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from dewfall.accounts import account_of_key
from dewfall.engine.serving import exposition, faults, framing, journeys
from dewfall.engine.serving.answer import Answer
from dewfall.engine.serving.background import Background
from dewfall.engine.serving.capture import Spool
from dewfall.engine.serving.fleet import Fleet
from dewfall.engine.serving.library import ModelCounters
from dewfall.engine.serving.ondemand import Desk
from dewfall.engine.serving.stock import Find, Stock
from dewfall.engine.serving.table import Comparison, Counters, EndpointKey, Table, Variant
from dewfall.errors import AwsError
from dewfall.settings import DEFAULT_ACCOUNT

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

PLAIN, STREAMED = "invocations", "invocations-response-stream"
STREAM_SECONDS = 480.0
MODEL_SECONDS = 60.0
LOOP_SECONDS = 60.0  # until the loop has taken a table, at worst

# What the container gets of the request; everything else is stripped, as on AWS.
PASSED = {
    b"content-type": b"content-type",
    b"accept": b"accept",
    b"x-amzn-sagemaker-accept": b"accept",
    b"x-amzn-sagemaker-custom-attributes": b"X-Amzn-SageMaker-Custom-Attributes",
    b"x-amzn-sagemaker-inference-id": b"X-Amzn-SageMaker-Inference-Id",
    b"x-amzn-sagemaker-session-id": b"X-Amzn-SageMaker-Session-Id",
}
RETURNED = (b"x-amzn-sagemaker-custom-attributes", b"x-amzn-sagemaker-new-session-id", b"x-amzn-sagemaker-closed-session-id")
# The longest values that AWS takes, where it is not LONGEST. What is longer takes the slow path, which knows what to say.
LIMITS = {b"x-amzn-sagemaker-inference-id": 64, b"x-amzn-sagemaker-session-id": 256}
SHORT, LONGEST = 64, 1024
# So do requests with this header.
UNUSUAL = faults.EXPLANATIONS
EXPLAINED = {UNUSUAL: b"X-Amzn-SageMaker-Enable-Explanations"}
COMPONENT = b"x-amzn-sagemaker-inference-component"
WISHES = (faults.TARGET_MODEL, faults.TARGET_CONTAINER)
RARE = frozenset((UNUSUAL, COMPONENT, *WISHES, b"content-encoding"))
CALL = "dewfall.invocation"


@dataclass(slots=True)
class Invocation:
    """A request as far as the router has read it. `head` is what the container gets, without the body's length; `chosen` the variant whose
    turn it has taken."""

    fleet: Fleet
    head: bytes
    streamed: bool
    target_variant: str = ""
    chosen: Variant | None = None
    wish: tuple[bytes, str] | None = None  # the header that names a container or a model, and its value
    passed: tuple[Header, ...] = ()  # what `head` is made of


class Router:
    """All endpoints in service. Tables come in from other threads; requests stay in the loop."""

    def __init__(self, *, default_account: str = DEFAULT_ACCOUNT, auth: str = "off", spool: Spool | None = None, find: Find | None = None) -> None:
        self.default_account = default_account
        self.stock = Stock(find)
        self.auth = auth
        self.spool = spool
        self.background = Background()
        self.on_cold: Callable[[EndpointKey, str], None] = lambda key, variant: None  # may wait: it is called aside
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fleets: dict[EndpointKey, Fleet] = {}

    # ------------------------------------------------------------ from other threads

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop that requests come in on."""
        self._loop = loop

    def set_endpoint(self, key: EndpointKey, table: Table) -> None:
        """Serve the endpoint by this table from now on. Requests under way end where they are."""
        self._soon(self._fleet(key).take_over, table)

    def adopt(self, key: EndpointKey, table: Table) -> None:
        """Serve the endpoint by a table that was looked up, unless it has one by now: who puts tables in knows better. Waits until it is there."""
        self._now(self._fleet(key).adopt, table)

    def retract(self, key: EndpointKey, table: Table) -> None:
        """The endpoint of an adopted table was gone by the time of its adoption. Whatever table came since stays."""
        fleet = self._fleets.get(key)
        if fleet is not None:
            self._now(fleet.retract, table)

    def drop_endpoint(self, key: EndpointKey) -> None:
        """The endpoint is gone."""
        fleet = self._fleets.pop(key, None)
        if fleet is not None:
            self._soon(fleet.take_over, Table(()))

    def _fleet(self, key: EndpointKey) -> Fleet:
        fleet = self._fleets.get(key)
        if fleet is None:
            fleet = self._fleets.setdefault(key, Fleet(key, self.spool, self.stock))
            fleet.call_up = functools.partial(self._call_up, key)
        return fleet

    def clear(self) -> None:
        """Every endpoint is gone."""
        for key in list(self._fleets):
            self.drop_endpoint(key)
        self.background.clear()

    def knows(self, key: EndpointKey) -> bool:
        """Whether the endpoint has a table."""
        fleet = self._fleets.get(key)
        return fleet is not None and bool(fleet.table.variants)

    def exposition(self, gauges: dict[str, tuple[str, float]]) -> str:
        """Everything counted, as Prometheus reads it."""
        return exposition.text([(key, fleet.totals(), fleet.under_way()) for key, fleet in sorted(self._fleets.items())], gauges)

    def desk(self, key: EndpointKey, variant: str) -> Desk | None:
        """What is known of a serverless variant's requests."""
        fleet = self._fleets.get(key)
        return fleet.desk(variant) if fleet else None

    def _call_up(self, key: EndpointKey, variant: str) -> None:
        self.aside(self.on_cold, key, variant)

    def is_direct(self, key: EndpointKey) -> bool:
        """Whether plain requests may go the straight way."""
        fleet = self._fleets.get(key)
        return fleet is None or fleet.table.is_direct

    def explains(self, key: EndpointKey) -> bool:
        """Whether the endpoint has an explainer."""
        fleet = self._fleets.get(key)
        return fleet is not None and fleet.table.explains

    def busy(self, key: EndpointKey, replica: str) -> int:
        """How many requests are under way at a replica, also at one that has left the table."""
        fleet = self._fleets.get(key)
        return fleet.busy(replica) if fleet else 0

    def check(self, key: EndpointKey) -> set[str]:
        """Ping an endpoint's replicas; those that former pings have found to be lost."""
        fleet = self._fleets.get(key)
        if fleet is None:
            return set()
        if self._loop is not None:
            self._soon(fleet.check)
        return fleet.unhealthy()

    def take_counters(self, key: EndpointKey) -> dict[tuple[str, str], Counters]:
        """What each variant did since the last call, by its name and endpoint configuration."""
        fleet = self._fleets.get(key)
        return fleet.take_counters() if fleet else {}

    def take_model_counters(self, key: EndpointKey) -> tuple[dict[str, ModelCounters], dict[str, list[int]]]:
        """What each variant's models did since the last call, and per variant how many each replica has loaded."""
        fleet = self._fleets.get(key)
        return (fleet.library.take_counters(), fleet.library.loaded()) if fleet else ({}, {})

    def take_comparisons(self, key: EndpointKey) -> dict[str, Comparison]:
        """How each shadow variant did beside production since the last call."""
        fleet = self._fleets.get(key)
        return fleet.shadows.take() if fleet else {}

    def invoke(
        self,
        key: EndpointKey,
        headers: list[Header],
        body: bytes,
        target_variant: str = "",
        *,
        streamed: bool = False,
        wish: tuple[bytes, str] | None = None,
    ) -> Answer:
        """The slow path's call, from a thread. Raises AwsError."""
        fleet = self._fleets.get(key)
        if fleet is None or self._loop is None:
            raise faults.not_found(key)
        known = PASSED | EXPLAINED if fleet.table.explains else PASSED
        passed = tuple((known[name.lower()], value) for name, value in headers if name.lower() in known)
        call = Invocation(fleet, _head(passed), streamed, target_variant, wish=wish, passed=passed)
        return asyncio.run_coroutine_threadsafe(self.exchange(call, body, perf_counter()), self._loop).result()

    def begin(self, key: EndpointKey, headers: list[Header], body: bytes, seconds: float) -> Future[Answer]:
        """Send a request that nobody waits for, from a thread; neither payload nor time are those of real-time endpoints."""
        fleet = self._fleets[key]
        passed = tuple((PASSED[name.lower()], value) for name, value in headers if name.lower() in PASSED)
        assert self._loop is not None
        call = Invocation(fleet, _head(passed), False, passed=passed)
        return asyncio.run_coroutine_threadsafe(self._send(call, body, perf_counter(), seconds), self._loop)

    def aside(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run a function that may wait, not in the loop."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.run_in_executor(None, function, *arguments)

    def reachable(self, key: EndpointKey) -> int:
        """How many of an endpoint's replicas can take requests."""
        fleet = self._fleets.get(key)
        return fleet.reachable() if fleet else 0

    def next_chunk(self, answer: Answer) -> bytes:
        """The next piece of a streamed answer, from a thread; b"" at its end. Raises AwsError."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(answer.next_chunk(), self._loop).result()

    def abandon(self, answer: Answer) -> None:
        """Nobody wants the rest of a streamed answer; from a thread."""
        self._soon(answer.abandon)

    def _now(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run it in the loop, from another thread, and wait for it."""
        if self._loop is None or not self._loop.is_running():
            function(*arguments)
            return

        async def run() -> None:
            function(*arguments)

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(LOOP_SECONDS)

    def _soon(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._loop is None or self._loop.is_closed():
            function(*arguments)
        else:
            self._loop.call_soon_threadsafe(function, *arguments)

    # ------------------------------------------------------------ in the loop

    def takes(self, scope: Scope) -> bool:
        """Whether this request can go the straight way. What is found out is left in the scope for `handle`."""
        call = self.read(scope["path"], scope["headers"])
        if call is None:
            return False
        scope[CALL] = call
        return True

    def read(self, path: str, headers: list[Header]) -> Invocation | None:
        """The invocation that a request means (header names in lower case); None where it is not one for the straight way."""
        if self.auth != "off":
            return None
        name, _, action = path[11:].partition("/")
        if action not in (PLAIN, STREAMED):
            return None
        passed: list[Header] = []
        authorization, target = b"", b""
        wish: tuple[bytes, str] | None = None
        for header, value in headers:
            known = PASSED.get(header)
            if known is not None:
                if len(value) > SHORT and len(value) > LIMITS.get(header, LONGEST):
                    return None
                passed.append((known, value))
            elif header == b"authorization":
                authorization = value
            elif header == b"x-amzn-sagemaker-target-variant":
                target = value
            elif header in RARE:
                if header == COMPONENT:
                    name = f"{name}/{value.decode('latin-1')}"
                elif header in WISHES and wish is None:
                    wish = (header, value.decode("utf-8", "replace"))
                elif header != b"content-encoding" or b"aws-chunked" in value:
                    return None
        where = _credential_scope(authorization, self.default_account)
        fleet = self._fleets.get((*where, name)) if where else None
        if fleet is None or not fleet.table.is_direct or not fleet.table.variants:
            return None  # the slow path looks the endpoint up
        kept = tuple(passed)
        return Invocation(fleet, _head(kept), action == STREAMED, target.decode("latin-1"), wish=wish, passed=kept)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that `takes` has taken."""
        begun = perf_counter()
        call: Invocation = scope[CALL]
        try:
            body = await _read(receive)
            if body is None:
                return
            answer = await self.exchange(call, body, begun)
        except AwsError as error:
            await _refuse(send, error)
            return
        headers = [
            (b"x-amzn-requestid", request_id()),
            (b"x-amzn-invoked-production-variant", answer.variant.encode()),
        ]
        headers += [(name, value) for name, value in answer.headers if name in RETURNED]
        kind = answer.header(b"content-type")
        if call.streamed:
            await _stream(answer, headers, kind, receive, send)
            return
        if kind is not None:
            headers.append((b"content-type", kind))
        payload = answer.body()
        headers.append((b"content-length", b"%d" % len(payload)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    async def exchange(self, call: Invocation, body: bytes, begun: float) -> Answer:
        """Send a request on and return its answer. Raises AwsError."""
        if len(body) > faults.PAYLOAD_LIMIT:
            raise faults.too_large()
        return await self._send(call, body, begun, STREAM_SECONDS if call.streamed else MODEL_SECONDS)

    async def _send(self, call: Invocation, body: bytes, begun: float, seconds: float) -> Answer:
        request = b"%s%d\r\n\r\n" % (call.head, len(body))
        if call.wish is not None or call.fleet.is_special:
            return await journeys.exchange(call.fleet, call, body, begun=begun, seconds=seconds)
        return await call.fleet.exchange(request, body, call.target_variant, begun=begun, seconds=seconds, streamed=call.streamed, chosen=call.chosen)


@functools.lru_cache(maxsize=1024)
def _credential(key: bytes, region: bytes, default_account: str) -> tuple[str, str]:
    return account_of_key(key.decode("latin-1"), default_account), region.decode("latin-1")


def _credential_scope(authorization: bytes, default_account: str) -> tuple[str, str] | None:
    """Account and region of `AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request, …`."""
    start = authorization.find(b"Credential=")
    if start < 0:
        return None
    parts = authorization[start + 11 : start + 200].split(b"/", 4)
    return _credential(parts[0], parts[2], default_account) if len(parts) == 5 else None


@functools.lru_cache(maxsize=1024)
def _head(headers: tuple[Header, ...]) -> bytes:
    lines = b"".join(b"%s: %s\r\n" % header for header in headers if b"\n" not in header[1] and b"\r" not in header[1])
    return b"POST /invocations HTTP/1.1\r\nhost: localhost:8080\r\n" + lines + b"content-length: "


async def _read(receive: Receive) -> bytes | None:
    """The request's body; None when the client has left. Raises AwsError where it is too long."""
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        return bytes(message.get("body", b""))
    parts, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > faults.PAYLOAD_LIMIT:
            raise faults.too_large()
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


async def _refuse(send: Send, error: AwsError) -> None:
    body = faults.written(error)
    headers = [
        (b"x-amzn-requestid", request_id()),
        (b"x-amzn-errortype", error.code.encode()),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": error.status or 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(answer: Answer, headers: list[Header], kind: bytes | None, receive: Receive, send: Send) -> None:
    """Pass the answer on piece by piece as event stream messages; let go of the replica when the client leaves."""
    if kind is not None:
        headers.append((b"x-amzn-sagemaker-content-type", kind))
    headers.append((b"content-type", b"application/vnd.amazon.eventstream"))
    gone = asyncio.ensure_future(_disconnected(receive))
    gone.add_done_callback(lambda _: answer.abandon())
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while chunk := await answer.next_chunk():
            await send({"type": "http.response.body", "body": framing.payload_part(chunk), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except AwsError as error:
        message = framing.stream_error(str(error.members.get("ErrorCode", "StreamBroken")), error.message)
        await send({"type": "http.response.body", "body": message})
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def request_id() -> bytes:
    """A random UUID, as AWS's request ids are; made without the uuid module's object, which takes three times as long."""
    text = f"{random.getrandbits(128) & ~_FIXED | _VERSION_4:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode()


_FIXED, _VERSION_4 = 0xF000 << 64 | 0xC000 << 48, 0x4000 << 64 | 0x8000 << 48
