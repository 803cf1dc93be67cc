"""InvokeEndpoint at the level of bytes: requests in pieces, one after the other on a connection, and those that go the general way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from .conftest import Hosting

SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=00"


class Wire:
    """A connection to the server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=90)
        self.file = self.socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            self.socket.sendall(piece)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers, self.file.read(int(headers["content-length"]))


@pytest.fixture
def wire(hosting: Hosting) -> Iterator[Wire]:
    hosting.model()
    hosting.config()
    hosting.endpoint()
    opened = Wire(hosting.server.url)
    yield opened
    opened.file.close()
    opened.socket.close()


def request(body: bytes, *headers: str, endpoint: str = "endpoint") -> bytes:
    head = [f"POST /endpoints/{endpoint}/invocations HTTP/1.1", "Host: localhost", f"Authorization: {SIGNED}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + body


def test_a_request_may_come_in_pieces(wire: Wire) -> None:
    whole = request(b"hello")
    for cut in (10, len(whole) - 5, len(whole) - 2):
        wire.send(whole[:cut], whole[cut:])
        status, headers, body = wire.answer()
        assert (status, headers["x-amzn-invoked-production-variant"]) == (200, "AllTraffic")
        assert body.startswith(b'{"pid"')


def test_requests_sent_at_once_are_answered_in_order(wire: Wire) -> None:
    wire.send(request(b"bad") + request(b"fine") + b"GET /_dewfall/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert [wire.answer()[0] for _ in range(3)] == [424, 200, 200]


@pytest.mark.parametrize("header", ["Connection: keep-alive", "Content-Encoding: identity", "Expect: 100-continues"])
def test_requests_that_are_not_plain_get_the_same_answer(wire: Wire, header: str) -> None:
    for _ in range(2):
        wire.send(request(b"x", header))
        status, headers, _ = wire.answer()
        assert (status, headers["content-type"]) == (200, "application/json")


def test_a_long_body_arrives_whole(wire: Wire) -> None:
    for size in (200_000, 1_500_000):
        wire.send(request(b"x" * size))
        assert wire.answer()[0] == 200


def test_an_error_leaves_the_connection_open(wire: Wire) -> None:
    wire.send(request(b"x", endpoint="none"))
    status, headers, _ = wire.answer()
    assert (status, headers["x-amzn-errortype"]) == (400, "ValidationError")
    wire.send(request(b"bad"))
    status, headers, body = wire.answer()
    assert (status, headers["x-amzn-errortype"]) == (424, "ModelError")
    assert b'"OriginalStatusCode":400' in body
    wire.send(request(b"x"))
    assert wire.answer()[0] == 200
