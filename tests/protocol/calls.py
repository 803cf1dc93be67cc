"""A dispatcher over a few made-up operations, and real clients whose requests end in it instead of in a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from dewfall.context import Caller, Ctx, HandClock
from dewfall.settings import Settings
from dewfall.wire.dispatch import Dispatcher
from dewfall.wire.messages import Request, Response
from dewfall.wire.route import Match

ENDPOINT = "http://127.0.0.1:4566"
ACCOUNT = "000000000000"


@dataclass(frozen=True)
class Entry:
    function: Callable[[Ctx, dict[str, Any]], dict[str, Any] | None]


@dataclass
class Wire:
    """`operations[service, name]` are what is built; `seen` the requests, `sent` the answers, in order."""

    operations: dict[tuple[str, str], Any] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    sent: list[Response] = field(default_factory=list)
    clock: HandClock = field(default_factory=lambda: HandClock(datetime.now(UTC)))
    settings: Settings = field(default_factory=lambda: Settings(Path("/nonexistent")))
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self.find, _identity, lambda *_: None, cast(Any, None), self.clock, self.settings, lambda key, *_: self.secrets.get(key))

    def find(self, service: str, name: str) -> Entry | None:
        function = self.operations.get((service, name))
        return Entry(function) if function else None

    def send(self, request: Request) -> Response:
        """What the server does between reading a request and writing its answer."""
        dispatcher = self.dispatcher
        response = dispatcher.handle(request, dispatcher.match(request))
        self.seen.append(request)
        self.sent.append(response)
        return response

    def client(self, service: str, **config: Any) -> Any:
        session = boto3.Session("test", "test", region_name="eu-west-1")
        made = session.client(cast(Any, service), endpoint_url=ENDPOINT, config=Config(retries={"max_attempts": 0}, **config))
        made.meta.events.register("before-send.*", self._intercept)
        return made

    def _intercept(self, request: Any, **_: Any) -> AWSResponse:
        where = urlsplit(request.url)
        headers = {name.lower(): value.decode() if isinstance(value, bytes) else str(value) for name, value in request.headers.items()}
        body = request.body.read() if hasattr(request.body, "read") else request.body or b""
        plain = Request(
            request.method, where.path, where.query, {**headers, "host": where.netloc}, body if isinstance(body, bytes) else body.encode()
        )
        response = self.send(plain)
        content = response.body if isinstance(response.body, bytes) else b"".join(cast(Iterator[bytes], response.body))
        return AWSResponse(request.url, response.status, dict(response.headers), cast(Any, _Raw(content)))


class _Raw:
    """urllib3's answer, as far as botocore looks at it."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.body

    def read(self, *_: Any) -> bytes:
        body, self.body = self.body, b""
        return body

    def close(self) -> None:
        pass


def keeping(seen: list[Any], result: dict[str, Any]) -> Callable[[Ctx, dict[str, Any]], dict[str, Any]]:
    """An operation that keeps its parameters in `seen`."""

    def function(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
        seen.append(req)
        return result

    return function


def _identity(access_key: str, match: Match, ports: Any, settings: Settings) -> Caller:
    return Caller(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "root", access_key)
