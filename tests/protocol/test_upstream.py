"""What Dewfall lacks, passed on to another server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dewfall.settings import Settings
from dewfall.wire.messages import Request
from tests.protocol.calls import Wire


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = f"{self.path} {self.headers['x-amz-target']} ".encode() + body
        self.send_response(203)
        self.send_header("X-Own", "1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def request(body: bytes = b"{}") -> Request:
    return Request("POST", "/", "a=b", {"host": "h", "x-amz-target": "DynamoDB_20120810.ListTables"}, body)


def wire(upstream: str) -> Wire:
    return Wire(settings=Settings(Path("/nonexistent"), upstream=upstream))


def test_what_is_not_built_is_passed_on(echo: str) -> None:
    response = wire(echo).send(request())
    assert (response.status, response.body) == (203, b"/?a=b DynamoDB_20120810.ListTables {}")
    assert ("X-Own", "1") in response.headers


def test_long_answers_are_streamed(echo: str) -> None:
    response = wire(echo).send(request(b"x" * 1_000_000))
    assert not isinstance(response.body, bytes)
    assert sum(len(chunk) for chunk in response.body) > 1_000_000  # type: ignore[union-attr, misc]


def test_an_upstream_that_is_away_is_unavailable() -> None:
    assert wire("http://127.0.0.1:1").send(request()).status == 503
