"""InvokeEndpoint on the listener's own level: a request that is plain and complete never becomes an ASGI message.

    bytes ─ "POST /endpoints/{name}/invocations", of an endpoint that the router knows? ─ yes → Passage → bytes
                                                                                        └ no  → uvicorn, as everything else

Why below ASGI: for a request that a model answers in 50 µs, the general way would take longer than the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from time import perf_counter
from typing import Any

from dewfall.engine.serving import faults, passage
from dewfall.engine.serving.passage import Passage
from dewfall.engine.serving.router import MODEL_SECONDS, RETURNED, Invocation, Router, request_id
from dewfall.errors import AwsError
from dewfall.listener import Protocol

log = logging.getLogger(__name__)

START = b"POST /endpoints/"
BODY_LIMIT = 1024 * 1024  # longer ones go the general way, which slows a sender down
# A request with one of these is not plain.
GENERAL = {b"transfer-encoding", b"expect", b"connection", b"upgrade", b"content-encoding"}
PHRASES = {
    400: b"Bad Request",
    413: b"Payload Too Large",
    424: b"Failed Dependency",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}


class InvocationProtocol(Protocol):
    """The listener's protocol with the short way in front. One request at a time; what comes meanwhile is held back."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        house = getattr(self.config.app, "house", None)
        self._router: Router | None = getattr(house, "router", None)
        self._inside = False  # uvicorn's parser is in the middle of a request
        self._call: Invocation | None = None  # ours, from its head to the end of its answer
        self._body = bytearray()
        self._length = 0
        self._begun = 0.0
        self._sent = False
        self._held = b""
        self._closing = False

    # ------------------------------------------------------------ in

    def data_received(self, data: bytes) -> None:
        if self._call is not None:
            self._more(data)
        elif self._inside or not data.startswith(START) or self._is_answering() or not self._begin(data):
            super().data_received(data)

    def on_message_begin(self) -> None:
        self._inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._inside = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._call = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """An invocation under way is answered first."""
        if self._call is None:
            super().shutdown()
        else:
            self._closing = True

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _begin(self, data: bytes) -> bool:
        """Take the request if it is one for the short way."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or self._router is None:
            return False
        lines = data[:end].split(b"\r\n")
        method = lines[0].split(b" ")
        if len(method) != 3 or method[2] != b"HTTP/1.1" or b"%" in method[1]:
            return False
        headers, length = [], -1
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            name = name.lower()
            if name == b"content-length" and length < 0 and value.strip().isdigit():
                length = int(value)
            elif not colon or name in GENERAL or name == b"content-length" or name[-1:].isspace() or name[:1].isspace():
                return False
            headers.append((name, value.strip()))
        if not 0 <= length <= BODY_LIMIT:
            return False
        call = self._router.read(method[1].decode("latin-1"), headers)
        if call is None or call.streamed:
            return False
        self._unset_keepalive_if_required()
        self._call, self._length, self._begun, self._sent = call, length, perf_counter(), False
        self._more(data[end + 4 :])
        return True

    def _more(self, data: bytes) -> None:
        """More of the body, or what follows it."""
        if self._sent:
            self._held += data
            return
        missing = self._length - len(self._body)
        if len(data) > missing:
            self._held += data[missing:]
            data = data[:missing]
        if len(data) < missing:
            self._body += data
            return
        body = bytes(self._body) + data if self._body else data
        self._body.clear()
        self._sent = True
        self._send(body)

    # ------------------------------------------------------------ through

    def _send(self, body: bytes) -> None:
        call = self._call
        assert call is not None

        def done(ended: Passage) -> None:
            if ended.may_repeat:
                self._go_long(call, body)
            elif self._call is call:
                self._answer(ended, ended.problem())
            else:
                ended.problem()

        if call.wish is not None or call.fleet.is_special:
            self._go_long(call, body)
            return
        try:
            call.chosen = call.fleet.variant(call.target_variant)
        except AwsError as error:
            self._answer(None, error)
            return
        way = passage.start(call.fleet, call.chosen, done)
        if way is None:
            self._go_long(call, body)
        else:
            way.send(b"%s%d\r\n\r\n" % (call.head, len(body)), body, self._begun, MODEL_SECONDS)

    def _go_long(self, call: Invocation, body: bytes) -> None:
        task = self.loop.create_task(self._exchange(call, body))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _exchange(self, call: Invocation, body: bytes) -> None:
        """The way with new connections, waiting and repeating."""
        assert self._router is not None
        with contextlib.suppress(asyncio.CancelledError):
            try:
                answer = await self._router.exchange(call, body, self._begun)
            except AwsError as error:
                if self._call is call:
                    self._answer(None, error)
                return
            except Exception:
                log.exception("invocation failed endpoint=%s", call.fleet.key[2])
                if self._call is call:
                    self._answer(None, AwsError("InternalFailure", "An internal failure occurred.", status=500))
                return
            if self._call is call:
                self._write(200, answer.variant, answer.headers, answer.body())

    # ------------------------------------------------------------ out

    def _answer(self, ended: Passage | None, problem: AwsError | None) -> None:
        if problem is not None:
            headers = [(b"x-amzn-errortype", problem.code.encode()), (b"content-type", b"application/json")]
            self._write(problem.status or 400, "", headers, faults.written(problem))
        elif ended is not None:
            self._write(200, ended.variant.name, ended.headers, ended.body())

    def _write(self, status: int, variant: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        lines = [b"HTTP/1.1 200 OK" if status == 200 else b"HTTP/1.1 %d %s" % (status, PHRASES.get(status, b"Error"))]
        lines += [b"%s: %s" % header for header in self.server_state.default_headers]
        lines.append(b"x-amzn-requestid: " + request_id())
        if variant:
            lines.append(b"x-amzn-invoked-production-variant: " + variant.encode())
        lines += [b"%s: %s" % header for header in headers if header[0] in (b"content-type", b"x-amzn-errortype") or header[0] in RETURNED]
        lines.append(b"content-length: %d\r\n\r\n" % len(body))
        head = b"\r\n".join(lines)
        if len(body) < 65536:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        self._finish()

    def _finish(self) -> None:
        """Ready for the next request on this connection."""
        self._call = None
        held, self._held = self._held, b""
        if self._closing:
            self.transport.close()
            return
        self.on_response_complete()
        if held:
            self.data_received(held)
