"""The web server of every model: GET /ping, POST /invocations, on a Unix socket and/or a TCP port, keep-alive, one thread.

    poll → read → parse → invoke → send, all on the main thread: a small request crosses no thread and no queue

Requests that wait together are given to the model together (`invoke_batch`). While an invocation takes long, a standby thread
keeps answering pings and reading requests, and steps back when the main thread returns.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from dewfall.images.http_requests import Connection, Invocation, next_request, send_all

__all__ = ["Answer", "Handler", "Invocation", "Server", "bind", "execution_parameters", "failure", "serve"]

RECEIVE = 262_144
BACKLOG = 1024
STANDBY_AFTER = 0.05
IDLE_AFTER = 1.0
PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; an iterator as body is sent chunk by chunk as it yields."""

    body: bytes | str | Iterator[bytes]
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Handler(Protocol):
    """A model behind the server. Three more methods are used where they exist:

    load() -> None                                       once per worker process, before it listens
    invoke_batch(list[Invocation]) -> list[Answer]       instead of invoke when several requests wait; same length and order
    route(method, path, Invocation) -> Answer | None     other paths, such as /execution-parameters or /models; None → 404
    """

    def ping(self) -> bool: ...

    def invoke(self, invocation: Invocation) -> Answer: ...


def execution_parameters(method: str, path: str, transforms: int, strategy: str, megabytes: int = 6) -> Answer | None:
    """What a transform job asks a container for: requests at once, their kind, their size. None for any other path."""
    if (method, path) != ("GET", "/execution-parameters"):
        return None
    return Answer(json.dumps({"MaxConcurrentTransforms": transforms, "BatchStrategy": strategy, "MaxPayloadInMB": megabytes}))


def serve(handler: Handler, *, workers: int = 1) -> None:
    """Serve until SIGTERM, on SAGEMAKER_BIND_TO_SOCKET and/or SAGEMAKER_BIND_TO_PORT (8080 when neither is set).

    With more workers than one, as many forked processes share the sockets; when one of them ends, all end.
    """
    listeners = bind(os.environ.get("SAGEMAKER_BIND_TO_SOCKET", ""), os.environ.get("SAGEMAKER_BIND_TO_PORT", ""))
    if workers > 1:
        _fork(handler, listeners, workers)
    else:
        _work(handler, listeners)


def bind(path: str, port: str) -> list[socket.socket]:
    """The bound sockets, not listening yet: who connects before the model is loaded is refused."""
    listeners = []
    if path:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.bind(path)
        listeners.append(local)
    if port or not path:
        remote = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        remote.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        remote.bind(("127.0.0.1", int(port or 8080)))
        listeners.append(remote)
    return listeners


def _work(handler: Handler, listeners: list[socket.socket]) -> None:
    load = getattr(handler, "load", None)
    if load is not None:
        load()
    server = Server(handler, listeners)
    server.listen()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.run()


def _fork(handler: Handler, listeners: list[socket.socket], workers: int) -> None:
    sys.stdout.flush()
    children = []
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _work(handler, listeners)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(child)

    def end_all(*_: object) -> None:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end_all)
    ended, status = os.wait()
    children.remove(ended)
    end_all()
    while children:
        children.remove(os.wait()[0])
    sys.exit(os.waitstatus_to_exitcode(status) and 1)


class Server:
    """The loop. `stop()` may be called from a signal handler or another thread."""

    def __init__(self, handler: Handler, listeners: list[socket.socket]) -> None:
        self.handler = handler
        self._batch = getattr(handler, "invoke_batch", None)
        self._route = getattr(handler, "route", None)
        self._poll: Any = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._unit = 1 if hasattr(select, "epoll") else 1000
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._clients: dict[int, Connection] = {}
        self._waiting: list[tuple[Connection, str, str, Invocation]] = []
        self._finished: list[Connection] = []
        self._room = memoryview(bytearray(RECEIVE))  # one for all: a new one of this size for each request costs more than reading
        self._turn = threading.Lock()  # whoever polls and reads
        self._active = threading.Event()
        self._busy_since = 0.0
        self._served = 0
        self._standing_in = False
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def stop(self) -> None:
        """End after the requests at hand."""
        self._stopping = True
        self._active.set()
        self._wake()

    def listen(self) -> None:
        """From here on clients can connect; they are answered once run() runs."""
        for listener in self._listeners.values():
            listener.listen(BACKLOG)

    def run(self) -> None:
        """Serve until stop()."""
        self._poll.register(self._wake_read, select.POLLIN)
        for fd, listener in self._listeners.items():
            listener.setblocking(False)
            self._poll.register(fd, select.POLLIN)
        standby = threading.Thread(target=self._stand_by, name="standby", daemon=True)
        standby.start()
        while not self._stopping:
            self._step()
        self._active.set()
        standby.join(STANDBY_AFTER * 4)
        self._close()

    def _close(self) -> None:
        clients = [*self._clients.values(), *self._finished, *(client for client, *_ in self._waiting)]
        for sock in [*self._listeners.values(), *(client.sock for client in clients)]:
            sock.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _step(self) -> None:
        """One turn of the main thread: read, then answer everything that is complete."""
        if self._standing_in:
            self._wake()
        with self._turn:
            for client in self._finished:
                self._release(client)
            self._finished.clear()
            if not self._waiting:
                self._read(-1)
            taken, self._waiting = self._waiting, []
        if not taken:
            return
        self._busy_since = time.monotonic()
        self._served += len(taken)
        if not self._active.is_set():
            self._active.set()
        try:
            self._answer(taken)
        finally:
            self._busy_since = 0.0

    def _stand_by(self) -> None:
        """While an invocation takes long: pings are answered and requests read here; at rest this thread sleeps on an event."""
        quiet, served = 0.0, -1
        while not self._stopping:
            self._active.wait()
            time.sleep(STANDBY_AFTER)
            since = self._busy_since
            if since and time.monotonic() - since >= STANDBY_AFTER:
                self._stand_in(since)
                quiet = 0.0
                continue
            quiet = quiet + STANDBY_AFTER if served == self._served else 0.0
            served = self._served
            if quiet >= IDLE_AFTER and not self._stopping:
                quiet = 0.0
                self._active.clear()

    def _stand_in(self, since: float) -> None:
        with self._turn:
            self._standing_in = True
            while self._busy_since == since and not self._stopping:
                self._read(0.2)
            self._standing_in = False

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    # ------------------------------------------------------------ reading

    def _read(self, timeout: float) -> None:
        """Wait for something, and take in all that is there."""
        for fd, _ in self._poll.poll(timeout * self._unit if timeout >= 0 else -1):
            client = self._clients.get(fd)
            if client is not None:
                self._receive(client)
            elif fd in self._listeners:
                self._accept(self._listeners[fd])
            elif fd == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 4096)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            sock.setblocking(False)
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = Connection(sock)
            self._clients[client.fd] = client
            self._poll.register(client.fd, select.POLLIN)
            self._receive(client)

    def _receive(self, client: Connection) -> None:
        try:
            size = client.sock.recv_into(self._room)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._drop(client)
            return
        client.buffer += self._room[:size]
        if not client.busy and len(client.buffer) >= client.need:
            self._parse(client)

    def _drop(self, client: Connection) -> None:
        """The peer is gone, or shall be."""
        if self._clients.pop(client.fd, None) is None:
            return
        with contextlib.suppress(OSError, KeyError):
            self._poll.unregister(client.fd)
        client.closing = True
        if not client.busy:
            client.sock.close()

    def _parse(self, client: Connection) -> None:
        """Take the next request off the buffer when it is complete: a ping is answered now, others wait for the main thread."""
        try:
            request = next_request(client)
        except ValueError as error:
            self._send(client, Answer(f"{error}", "text/plain", 400), keep=False)
            return
        if request is None:
            return
        method, path, invocation = request
        if path == "/ping":
            self._send(client, _ping(self.handler))
            if client.buffer and not client.closing:
                self._parse(client)
            return
        client.busy = True
        self._waiting.append((client, method, path, invocation))

    # ------------------------------------------------------------ answering

    def _answer(self, taken: list[tuple[Connection, str, str, Invocation]]) -> None:
        if self._batch is not None and len(taken) > 1 and all(path == "/invocations" for _, _, path, _ in taken):
            answers = self._invoke_batch([invocation for _, _, _, invocation in taken])
            for (client, _, _, invocation), answer in zip(taken, answers, strict=True):
                self._finish(client, invocation, answer)
            return
        for client, method, path, invocation in taken:
            self._finish(client, invocation, self._invoke(method, path, invocation))

    def _invoke(self, method: str, path: str, invocation: Invocation) -> Answer:
        try:
            if path == "/invocations":
                return self.handler.invoke(invocation) if method == "POST" else Answer("Method Not Allowed", "text/plain", 405)
            found = self._route(method, path, invocation) if self._route is not None else None
            return found or Answer("Not Found", "text/plain", 404)
        except Exception as error:
            return failure(error)

    def _invoke_batch(self, invocations: list[Invocation]) -> list[Answer]:
        try:
            answers: list[Answer] = list(self._batch(invocations))  # type: ignore[misc]
            if len(answers) != len(invocations):
                raise ValueError(f"invoke_batch gave {len(answers)} answers to {len(invocations)} requests")
            return answers
        except Exception:
            return [self._invoke("POST", "/invocations", invocation) for invocation in invocations]

    def _finish(self, client: Connection, invocation: Invocation, answer: Answer) -> None:
        keep = invocation.headers.get("connection", "").lower() != "close"
        self._send(client, answer, keep=keep)
        self._finished.append(client)

    def _release(self, client: Connection) -> None:
        """An answered client may ask again; the next request may lie in its buffer already."""
        client.busy = False
        if client.closing:
            client.sock.close()
        elif client.buffer:
            self._parse(client)

    def _send(self, client: Connection, answer: Answer, *, keep: bool = True) -> None:
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        head = f"HTTP/1.1 {answer.status} {PHRASES.get(answer.status, '')}\r\nContent-Type: {answer.content_type}\r\n"
        for name, value in answer.headers.items():
            head += f"{name}: {value}\r\n"
        if not keep:
            head += "Connection: close\r\n"
        try:
            if isinstance(body, (bytes, bytearray, memoryview)):
                send_all(client.sock, f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)
            else:
                _send_chunks(client.sock, head, body)
        except OSError:
            keep = False
        except Exception:
            traceback.print_exc()
            keep = False
        if not keep:
            self._drop(client)


def _ping(handler: Handler) -> Answer:
    try:
        healthy = handler.ping()
    except Exception as error:
        return failure(error)
    return Answer(b"", status=200 if healthy else 503)


def failure(error: Exception, status: int = 500) -> Answer:
    """An exception as AWS's toolkits answer it: its text and traceback; also printed to the log."""
    traceback.print_exception(error)
    trace = "".join(traceback.format_exception(error))
    return Answer(f"{error}\n{trace}", "text/plain", status)


def _send_chunks(sock: socket.socket, head: str, chunks: Iterator[bytes]) -> None:
    send_all(sock, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode("latin-1"))
    for chunk in chunks:
        data = chunk.encode() if isinstance(chunk, str) else bytes(chunk)
        if data:
            send_all(sock, b"%x\r\n%b\r\n" % (len(data), data))
    send_all(sock, b"0\r\n\r\n")
