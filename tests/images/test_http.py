"""The models' web server, by a plain client."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from dewfall.images.http import Answer, Invocation, Server, bind


class Echo:
    """Answers with what it got; `slow` waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def ping(self) -> bool:
        return True

    def invoke(self, invocation: Invocation) -> Answer:
        if invocation.body == b"slow":
            self.begun.set()
            self.go.wait(90)
        if invocation.body == b"stream":
            return Answer(iter([b"one ", b"two"]), "text/plain")
        if invocation.body == b"fail":
            raise ValueError("no such thing")
        return Answer(invocation.body, invocation.content_type or "text/plain", headers={"X-Accept": invocation.accept})

    def invoke_batch(self, invocations: list[Invocation]) -> list[Answer]:
        self.batches.append(len(invocations))
        return [self.invoke(invocation) for invocation in invocations]

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        return Answer("here", "text/plain") if path == "/models" else None


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def port(echo: Echo) -> Iterator[int]:
    listeners = bind("", "0")
    server = Server(echo, listeners)
    server.listen()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield listeners[0].getsockname()[1]
    echo.go.set()
    server.stop()
    thread.join(10)


@pytest.fixture
def client(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    yield connection
    connection.close()


def post(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", "/invocations", body, {"Content-Type": "text/csv", "Accept": "a/b"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_keeps_the_connection(client: http.client.HTTPConnection) -> None:
    assert [post(client, b"1"), post(client, b"2")] == [(200, b"1"), (200, b"2")]


def test_large_body(client: http.client.HTTPConnection) -> None:
    body = bytes(range(256)) * 24 * 1024
    assert post(client, body) == (200, body)


def test_chunked_request(client: http.client.HTTPConnection) -> None:
    client.request("POST", "/invocations", iter([b"ab", b"c" * 100_000]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert client.getresponse().read() == b"ab" + b"c" * 100_000


def test_streamed_answer(client: http.client.HTTPConnection) -> None:
    client.request("POST", "/invocations", b"stream")
    answer = client.getresponse()
    assert (answer.headers["Transfer-Encoding"], answer.read()) == ("chunked", b"one two")


def test_exception_is_500_with_traceback(client: http.client.HTTPConnection) -> None:
    status, body = post(client, b"fail")
    assert status == 500
    assert body.startswith(b"no such thing\nTraceback")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/ping", 200), ("GET", "/models", 200), ("GET", "/x", 404), ("GET", "/invocations", 405)]
)
def test_paths(client: http.client.HTTPConnection, method: str, path: str, status: int) -> None:
    client.request(method, path)
    assert client.getresponse().status == status


def test_pings_are_answered_while_the_model_works(echo: Echo, client: http.client.HTTPConnection, port: int) -> None:
    busy = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    busy.request("POST", "/invocations", b"slow")
    echo.begun.wait(90)
    client.request("GET", "/ping")
    assert client.getresponse().status == 200
    echo.go.set()
    assert busy.getresponse().read() == b"slow"
    busy.close()


def test_what_waits_is_taken_together(echo: Echo, client: http.client.HTTPConnection, port: int) -> None:
    busy = [http.client.HTTPConnection("127.0.0.1", port, timeout=90) for _ in range(4)]
    busy[0].request("POST", "/invocations", b"slow")
    echo.begun.wait(90)
    for connection in busy[1:]:
        connection.request("POST", "/invocations", b"x")
    for _ in range(2):  # a ping behind them has been read after them
        client.request("GET", "/ping")
        client.getresponse().read()
    echo.go.set()
    assert [connection.getresponse().read() for connection in busy] == [b"slow", b"x", b"x", b"x"]
    assert echo.batches == [3]
    for connection in busy:
        connection.close()


def test_pipelined_requests(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        request = b"POST /invocations HTTP/1.1\r\nContent-Length: 1\r\n\r\n"
        connection.sendall(request + b"1" + request + b"2" + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"3")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert [part[-1:] for part in received.split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("junk", [b"hello\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"POST /invocations HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
def test_junk_is_400(port: int, junk: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(junk)
        assert b"".join(iter(lambda: connection.recv(65536), b"")).startswith(b"HTTP/1.1 400 Bad Request")
