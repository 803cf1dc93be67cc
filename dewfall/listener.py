"""uvicorn's HTTP/1.1 protocol, with two things added: one write per small answer, and files sent by the operating system.

Why a subclass: everything hard about HTTP (keep-alive, pipelining, limits, 100-continue) stays uvicorn's; ASGI's own
extension `http.response.zerocopysend` is all the application sees.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

WHOLE_ANSWER = "dewfall.answer"  # {status, headers as text, body}
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_UNSAFE_NAME = re.compile(r"[()<>@,;:\[\]={} \t\\\"]")
SEND_STEP = 4 * 1024 * 1024
STALLED_AFTER_MS = 60_000
COPY_STEP = 256 * 1024


class SendingCycle(RequestResponseCycle):
    """A request and its answer."""

    async def send(self, message: Any) -> None:
        """ASGI's send, plus `http.response.zerocopysend` {file: fd, offset, count} and WHOLE_ANSWER."""
        if message["type"] == WHOLE_ANSWER:
            if self.flow.write_paused and not self.disconnected:
                await self.flow.drain()
            self._send_whole(message["status"], message["headers"], message["body"])
            return
        if message["type"] == "http.response.zerocopysend":
            await self._send_file(message["file"], message["offset"], message["count"])
            return
        await super().send(message)

    def _send_whole(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """A complete answer in one write, with its length where the headers do not tell one."""
        if self.disconnected:
            return
        if self.response_started:
            raise RuntimeError("an answer has begun")
        lines = [f"{name.lower()}: {value}" for name, value in headers]
        if _UNSAFE.search("\t".join(lines)) or _UNSAFE_NAME.search("".join([name for name, _ in headers])):
            raise RuntimeError("a header cannot be sent")
        if status not in (204, 304) and not any(line.startswith("content-length: ") for line in lines):
            lines.append(f"content-length: {len(body)}")
        if "connection: close" in lines:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append("connection: close")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        text = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        head = b"".join([STATUS_LINE[status], *(b"%s: %s\r\n" % header for header in self.default_headers), text])
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    async def _send_file(self, file: int, offset: int, count: int) -> None:
        """Send a range of an open file as the whole body, then finish the answer."""
        if self.scope["method"] != "HEAD" and not self.disconnected:
            if self.transport.get_extra_info("ssl_object") is None and hasattr(os, "sendfile"):
                await self._flushed()
                if not self.disconnected:
                    await self._hand_to_system(file, offset, count)
            else:
                await self._copy(file, offset, count)
        self.expected_content_length = 0
        await super().send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _flushed(self) -> None:
        """Wait until the transport's own buffer is empty, so that nothing overtakes the headers."""
        self.transport.set_write_buffer_limits(high=0)
        while self.transport.get_write_buffer_size() and not self.disconnected:
            await (self.flow.drain() if self.flow.write_paused else asyncio.sleep(0))
        self.transport.set_write_buffer_limits()

    async def _hand_to_system(self, file: int, offset: int, count: int) -> None:
        socket = os.dup(self.transport.get_extra_info("socket").fileno())
        try:
            sent = await asyncio.get_running_loop().run_in_executor(_senders(), send_range, socket, file, offset, count)
        finally:
            os.close(socket)
        if sent < count:  # the client left, or the file is shorter than promised: never pretend it was whole
            self.disconnected = True
            self.transport.abort()

    async def _copy(self, file: int, offset: int, count: int) -> None:
        """What sendfile would do, for encrypted connections."""
        end = offset + count
        while offset < end and not self.disconnected:
            chunk = await asyncio.to_thread(os.pread, file, min(COPY_STEP, end - offset), offset)
            if not chunk:
                self.transport.abort()
                return
            self.transport.write(chunk)
            offset += len(chunk)
            if self.flow.write_paused:
                await self.flow.drain()


def send_range(socket: int, file: int, offset: int, count: int) -> int:
    """Push `count` bytes from `file` into a non-blocking socket; returns how many went. Runs in a thread, outside the GIL."""
    poll = select.poll()
    poll.register(socket, select.POLLOUT)
    sent = 0
    while sent < count:
        try:
            step = os.sendfile(socket, file, offset + sent, min(SEND_STEP, count - sent))
        except BlockingIOError:
            if not poll.poll(STALLED_AFTER_MS):
                return sent
            continue
        except OSError:
            return sent
        if step == 0:
            return sent
        sent += step
    return sent


_pool: list[ThreadPoolExecutor] = []


def _senders() -> ThreadPoolExecutor:
    """Threads that wait for slow readers; apart from the operations' threads, which must not."""
    if not _pool:
        _pool.append(ThreadPoolExecutor(max_workers=64, thread_name_prefix="send"))
    return _pool[0]


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol making our cycles."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject):
            transport.set_write_buffer_limits(high=1024 * 1024)

    def send_400_response(self, msg: str) -> None:
        """Bytes behind a request that begin no other (a length that was too short) do not take its answer away: it comes, and the connection ends."""
        if self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return
        super().send_400_response(msg)


# uvicorn looks the cycle's class up in its module; there is no other seam.
httptools_impl.RequestResponseCycle = cast(Any, SendingCycle)  # type: ignore[misc]
