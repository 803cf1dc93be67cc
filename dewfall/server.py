"""The server: the ASGI application, and what it starts and stops with itself.

    request ─┬─ /_dewfall/…                       health, readiness, reset, hooks
             ├─ POST /endpoints/{name}/invocations → router (no thread, no database)
             └─ everything else                    → route → body → Dispatcher in a thread → answer

Why one small file: it is the only place that knows every room.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from dewfall.bodies import FileRange, StagedBody
from dewfall.browsers import answer_form, answer_preflight, cors_headers, is_form_upload, is_preflight
from dewfall.engine.serving.exposition import CONTENT_TYPE
from dewfall.errors import AwsError
from dewfall.holding import WAITER_SECONDS, WATCHED, Watch, hold_seconds, is_sagemaker_sdk, is_waiter, poll_seconds
from dewfall.hooks import Hooks
from dewfall.listener import WHOLE_ANSWER
from dewfall.receiving import Gone, receive_body
from dewfall.wire.bindings import form_of
from dewfall.wire.messages import Request, Response
from dewfall.wire.sqs_query import with_queue

if TYPE_CHECKING:
    from dewfall.engine.ports import Key
    from dewfall.house import House
    from dewfall.settings import Settings
    from dewfall.wire.route import Match

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

INLINE = 256 * 1024  # file ranges up to this are read and sent with the headers; larger ones go by sendfile
POLL_AGAIN = 1.0  # seconds after which a long poll looks again for messages that were hidden or delayed
UPLOADS = {"PutObject", "CreateMultipartUpload"}  # who uploads is likely to train soon
INTERRUPT = "/_dewfall/interrupt/"
OWN_PATHS = ("/_dewfall/", "/_localstack/init")
QUICK = {"GetObject", "HeadObject", "HeadBucket", "GetBucketLocation", "GetCallerIdentity", "GetRole"}
QUICK_BYTES = 64 * 1024
LONG_READS = {"DescribeLineageGroup"}  # reads every lineage entity of the account
FILLED_WHEN_READ = "/jumpstart-cache-prod-"
METRICS_PATH = "/-/metrics"
SNS_CERTIFICATES = "/SimpleNotificationService-"
RESET_PATHS = ("/_dewfall/reset", "/_localstack/state/reset", "/moto-api/reset")  # by the names that programs know from other servers, too
HEALTH_PATHS = ("/_dewfall/health", "/_localstack/health")


class Application:
    """The ASGI callable. It holds the house (all rooms, opened) and decides which of three ways a request goes."""

    def __init__(self, house: House, on_ready: Callable[[], None] = lambda: None) -> None:
        self.house = house
        self.on_ready = on_ready
        self.threads = ThreadPoolExecutor(max_workers=max(8, 4 * (os.cpu_count() or 1)), thread_name_prefix="operation")
        self._seen_by_sdk: set[Key] = set()
        self._known: set[tuple[str, str]] = set()
        self.ready = False
        self.hooks = Hooks(house.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await asyncio.to_thread(self.hooks.run, "boot")
                await asyncio.to_thread(self.house.open, asyncio.get_running_loop())
                self.ready = True
                self.on_ready()
                self.hooks.start("ready")
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.hooks.stop()
                await asyncio.to_thread(self.house.close)
                self.threads.shutdown(wait=False, cancel_futures=True)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith("/endpoints/") and scope["method"] == "POST" and self.house.router.takes(scope):
            await self.house.router.handle(scope, receive, send)
        elif path.startswith(("/_", "/moto-api/")) and (path.startswith(OWN_PATHS) or path in HEALTH_PATHS or _is_reset(scope)):
            await self._own(path, scope, send)
        elif path == METRICS_PATH:
            await _text(send, self.house.router.exposition(self.house.gauges()), CONTENT_TYPE)
        elif path.startswith(SNS_CERTIFICATES) and (certificate := _sns_certificate(self.house.settings, path)) is not None:
            await _answer(Response(200, [("Content-Type", "application/x-pem-file")], certificate), receive, send)
        else:
            await self._aws(scope, receive, send)

    # ------------------------------------------------------------ our own paths

    async def _own(self, path: str, scope: Scope, send: Send) -> None:
        if path in HEALTH_PATHS:
            await _json(send, 200, self.house.health())
        elif path == "/_dewfall/ready":
            await _json(send, 200 if self.ready else 503, {"ready": self.ready})
        elif (found := _init_page(self.hooks, path)) is not None:
            await _json(send, 200, found)
        elif _is_reset(scope) and not _may_reset(scope, self.house.settings.auth):
            await _json(send, 403, {"message": "Only programs on the server's own machine may reset it, and no page of a browser"})
        elif _is_reset(scope):
            await self._reset(send)
        elif path.startswith(INTERRUPT) and scope["method"] == "POST":
            await self._interrupt(path.removeprefix(INTERRUPT), scope, send)
        else:
            await _json(send, 404, {"message": f"Dewfall has no page {path}"})

    async def _reset(self, send: Send) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self.threads, self.house.reset)
        except OSError as problem:
            log.error("reset failed problem=%s", problem)
            await _json(send, 507, {"message": f"The disk is too full even for a reset. Free space and try again. ({problem})"})
            return
        self._seen_by_sdk.clear()
        await _json(send, 200, {"reset": True})

    async def _interrupt(self, job: str, scope: Scope, send: Send) -> None:
        """Take a managed spot training job's capacity away; the query may name region and account."""
        if not _may_reset(scope, self.house.settings.auth):
            await _json(send, 403, {"message": "Only programs on the server's own machine may interrupt jobs, and no page of a browser"})
            return
        try:
            from dewfall.services.sagemaker.spot import interrupt

            await asyncio.get_running_loop().run_in_executor(self.threads, interrupt, self.house.ctx(*_place(scope, self.house.settings)), job)
        except AwsError as error:
            await _json(send, 400, {"message": error.message})
            return
        await _json(send, 200, {"interrupted": job})

    # ------------------------------------------------------------ AWS

    async def _aws(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        match = self.house.dispatcher.match(request)
        try:
            request.body = await receive_body(self.house, request, match, receive)
        except Gone:
            return
        except AwsError as error:
            await _answer(self.house.dispatcher.refuse(request, match, error), receive, send)
            return
        if not self.house.warmed and (match.service == "sagemaker" or match.operation in UPLOADS):
            self.house.warm()
        response = await self._operate(request, match)
        watch = WATCHED.get(match.operation) if match.service == "sagemaker" else None
        if watch is not None:
            response = await self._hold(request, match, response, watch, receive)
        elif match.operation == "HeadObject" and response.status == 404 and self.house.router.background.promised:
            response = await self._hold_object(request, match, response, receive)
        elif match.operation == "ReceiveMessage" and match.service == "sqs":
            response = await self._poll(request, match, response, receive)
        try:
            await _answer(response, receive, send)
        except _FileGone:  # deleted, or all reset, since it was looked up
            await self._answer_again(request, match, receive, send)

    async def _answer_again(self, request: Request, match: Match, receive: Receive, send: Send) -> None:
        try:
            await _answer(await self._operate(request, match), receive, send)
        except _FileGone as problem:
            log.error("stored file is gone path=%s", problem)
            error = AwsError("InternalError", "We encountered an internal error. Please try again.", status=500)
            await _answer(self.house.dispatcher.refuse(request, match, error), receive, send)

    # ------------------------------------------------------------ held reads

    async def _hold(self, request: Request, match: Match, response: Response, watch: Watch, receive: Receive) -> Response:
        """Answer later, when what the read watches has changed; at once where holding is not due."""
        if response.status != 200 or not isinstance(response.body, bytes):
            return response
        if not (is_waiter(request.headers) or is_sagemaker_sdk(request.headers)):
            return response
        answer = json.loads(response.body)
        key = self.house.watched_key(match, watch.kind, str(answer.get(watch.name)))
        sdk = is_sagemaker_sdk(request.headers)
        seconds = hold_seconds(request.headers, answer, watch, self.house.clock.now().timestamp(), first=sdk and key not in self._seen_by_sdk)
        if seconds <= 0:
            return response
        if sdk:
            self._seen_by_sdk.add(key)
        self.house.held += 1
        self.house.holding += 1
        try:
            async with asyncio.timeout(seconds):
                return await self._until_settled(request, match, watch, key, receive)
        except TimeoutError:
            return await self._operate(request, match)
        finally:
            self.house.holding -= 1

    async def _hold_object(self, request: Request, match: Match, response: Response, receive: Receive) -> Response:
        """A waiter's HeadObject of an object that an asynchronous invocation will write: answered when the invocation has ended."""
        promised, uri = self.house.router.background.promised, f"s3://{match.labels.get('Bucket')}/{match.labels.get('Key')}"
        key = promised.get(uri)
        if key is None or not is_waiter(request.headers):
            return response
        self.house.held += 1
        self.house.holding += 1
        try:
            with contextlib.suppress(TimeoutError), self.house.changes.watch(key) as changed:
                gone = asyncio.ensure_future(_disconnected(receive))
                gone.add_done_callback(lambda _: changed.set())
                try:
                    async with asyncio.timeout(WAITER_SECONDS):
                        while uri in promised and not gone.done():
                            await changed.wait()
                            changed.clear()
                finally:
                    gone.cancel()
        finally:
            self.house.holding -= 1
        return await self._operate(request, match)

    async def _poll(self, request: Request, match: Match, response: Response, receive: Receive) -> Response:
        """SQS long polling: an empty answer waits for a message to become visible."""
        if not _found_nothing(response):
            return response
        loop = asyncio.get_running_loop()
        asked = _asked(request, match)
        url, wait = str(asked.get("QueueUrl")), asked.get("WaitTimeSeconds")
        default = await loop.run_in_executor(self.threads, self.house.queue_wait, match, url) if wait is None else 0
        end = loop.time() + poll_seconds(wait, default)
        with self.house.changes.watch(self.house.queue_key(match, url)) as changed:
            gone = asyncio.ensure_future(_disconnected(receive))
            gone.add_done_callback(lambda _: changed.set())
            try:
                while _found_nothing(response) and not gone.done():
                    left = end - loop.time()
                    if left <= 0:
                        break
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), min(left, POLL_AGAIN))
                    changed.clear()
                    response = await self._operate(request, match)
            finally:
                gone.cancel()
        return response

    async def _until_settled(self, request: Request, match: Match, watch: Watch, key: Key, receive: Receive) -> Response:
        """Look again after each change of the record, until its status is one that ends the wait or the client has left."""
        loop = asyncio.get_running_loop()
        with self.house.changes.watch(key) as changed:
            gone = loop.create_task(_disconnected(receive))
            gone.add_done_callback(lambda _: changed.set())
            try:
                while True:
                    response = await self._operate(request, match)
                    if gone.done() or response.status != 200 or not isinstance(response.body, bytes):
                        return response
                    if json.loads(response.body).get(watch.status) in watch.ends:
                        return response
                    await changed.wait()
                    changed.clear()
            finally:
                gone.cancel()

    async def _operate(self, request: Request, match: Match) -> Response:
        in_thread = asyncio.get_running_loop().run_in_executor
        if is_preflight(request, match):
            return await in_thread(self.threads, answer_preflight, self.house.store, request)
        if is_form_upload(request, match):
            return await in_thread(self.threads, answer_form, self.house.dispatcher, request, match)
        if self._is_quick(request, match):
            response = self.house.dispatcher.handle(request, match)
        else:
            response = await in_thread(self.threads, self.house.dispatcher.handle, request, match)
            self._known.add((match.service, match.operation))
        if match.service == "s3" and "origin" in request.headers:
            response.headers += await in_thread(self.threads, cors_headers, self.house.store, request)
        return response

    def _is_quick(self, request: Request, match: Match) -> bool:
        """Reads of one record, and small objects while nobody else writes, cost less than the way to a thread and back.

        The first of a kind loads its service, so it goes to a thread.
        """
        if (match.service, match.operation) not in self._known or request.raw_path.startswith(FILLED_WHEN_READ) or match.operation in LONG_READS:
            return False
        if match.operation == "PutObject":
            return isinstance(request.body, StagedBody) and request.body.size <= QUICK_BYTES and self.house.store.is_idle()
        return match.operation in QUICK or (match.service == "sagemaker" and match.operation.startswith("Describe"))


def _sns_certificate(settings: Settings, path: str) -> bytes | None:
    """The certificate that the signatures of SNS messages are checked with, at its own address."""
    from dewfall.services.sns.signatures import certificate_at

    return certificate_at(settings, path)


def _is_reset(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"] in RESET_PATHS and not scope.get("query_string")


def _may_reset(scope: Scope, auth: str) -> bool:
    """Whether this client may forget everything: no page of a browser, and from elsewhere nobody where signatures are enforced."""
    is_page = any(name == b"origin" for name, _ in scope["headers"])
    address = (scope.get("client") or ("127.0.0.1",))[0]
    return not is_page and (auth != "enforce" or address == "::1" or address.startswith("127."))


def _place(scope: Scope, settings: Settings) -> tuple[str, str]:
    """Account and region that a page's query names, else the server's own."""
    given = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    return given.get("account", settings.account), given.get("region", settings.region)


def _init_page(hooks: Hooks, path: str) -> dict[str, Any] | None:
    """How the hooks' scripts went, when the path asks for that."""
    page, _, stage = path.strip("/").partition("/")[2].partition("/")
    return hooks.told(stage) if page == "init" else None


def _asked(request: Request, match: Match) -> dict[str, Any]:
    """What a ReceiveMessage asks for, in either of its protocols, as it was sent."""
    if match.protocol.startswith("json"):
        found: dict[str, Any] = json.loads(request.body) if isinstance(request.body, bytes) else {}
        return found
    return with_queue(form_of(request), request.raw_path)


def _found_nothing(response: Response) -> bool:
    """Whether a ReceiveMessage succeeded without a message, in XML or JSON."""
    if response.status != 200 or not isinstance(response.body, bytes):
        return False
    if response.body.startswith(b"<"):
        return b"<Message>" not in response.body
    return not json.loads(response.body).get("Messages")


class _FileGone(Exception):
    """The file that an answer consists of is not there."""


def request_of(scope: Scope) -> Request:
    """ASGI scope → Request. Headers of equal names are joined as HTTP allows."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    client = scope.get("client") or ("127.0.0.1", 0)
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    return Request(scope["method"], path, query, headers, scheme=scope["scheme"], source_ip=client[0])


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(response: Response, receive: Receive, send: Send) -> None:
    """Send an answer: small ones whole, files by the operating system, iterators chunk by chunk."""
    body = response.body
    file = -1
    if isinstance(body, FileRange):
        try:
            file = os.open(body.path, os.O_RDONLY)
        except OSError:
            raise _FileGone(body.path) from None
        if body.length <= INLINE:
            whole = os.pread(file, body.length, body.offset)
            os.close(file)
            file, body = -1, whole
    if isinstance(body, bytes):
        await send({"type": WHOLE_ANSWER, "status": response.status, "headers": response.headers, "body": body})
        return
    length = [(b"content-length", str(_length(body)).encode())] if not isinstance(body, Iterator) and not _has_length(response) else []
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers + length})
    if isinstance(body, FileRange):
        try:
            await send({"type": "http.response.zerocopysend", "file": file, "offset": body.offset, "count": body.length})
        finally:
            os.close(file)
    else:
        await _stream(body, receive, send)


async def _stream(chunks: Iterator[bytes], receive: Receive, send: Send) -> None:
    """Chunk by chunk, until the iterator ends or the client has left: a live tail would go on for hours."""
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        while not gone.done() and (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


def _length(body: Any) -> int:
    return body.length if isinstance(body, FileRange) else len(body)


def _has_length(response: Response) -> bool:
    return response.status in (204, 304) or any(name.lower() == "content-length" for name, _ in response.headers)


async def _text(send: Send, text: str, kind: str) -> None:
    body = text.encode()
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _json(send: Send, status: int, value: Any) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
