"""Answers in one piece are read without a parser; whatever is not quite plain is left to it."""

from __future__ import annotations

import re

import pytest

from dewfall.engine.serving.connection import read_whole
from dewfall.engine.serving.router import request_id

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\nok", (200, [(b"content-length", b"2")], b"ok")),
        (HEAD + b"X: a:b \r\ncontent-length:0\r\n\r\n", (200, [(b"x", b"a:b"), (b"content-length", b"0")], b"")),
        (b"HTTP/1.1 500 Oh no\r\nContent-Length: 2\r\n\r\n\r\n", (500, [(b"content-length", b"2")], b"\r\n")),
    ],
)
def test_a_whole_answer(data: bytes, read: tuple[int, list[tuple[bytes, bytes]], bytes]) -> None:
    assert read_whole(data) == read


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 3\r\n\r\nok",  # more to come
        HEAD + b"Content-Length: 1\r\n\r\nok",  # something follows
        HEAD + b"Content-Length: 2\r\n",
        HEAD + b"\r\nok",  # ends with its connection
        HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nok",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"Content-Length: +2\r\n\r\nok",
        HEAD + b"Content-Length : 2\r\n\r\nok",
        HEAD + b"Content-Length: 2\r\nX: a\nb: c\r\n\r\nok",
        HEAD + b"Content-Length: 2\r\nX: a\rb: c\r\n\r\nok",
        HEAD + b"Content-Length: 2\r\nX: a\r\n b\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_for_the_parser(data: bytes) -> None:
    assert read_whole(data) is None


def test_request_ids_are_random_uuids() -> None:
    found = {request_id().decode() for _ in range(200)}
    assert len(found) == 200
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in found)
