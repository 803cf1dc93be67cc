"""Requests passed on as they are to another AWS-compatible server, and its answers back, streamed.

Why: what Dewfall has not built may exist elsewhere; DEWFALL_UPSTREAM names where.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

from dewfall.errors import AwsError
from dewfall.wire.messages import Request, Response

STEP = 256 * 1024
TIMEOUT = 300.0
# Headers that belong to one connection, not to the request.
HOP = frozenset({"connection", "keep-alive", "proxy-authorization", "te", "transfer-encoding", "upgrade", "expect", "content-length"})


def forward(request: Request, base: str) -> Response:
    """The other server's answer. ServiceUnavailable when it cannot be reached."""
    where = urlsplit(base if "//" in base else f"http://{base}")
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = kind(where.hostname or "", where.port, timeout=TIMEOUT)
    body = request.body if isinstance(request.body, bytes) else request.body.read()
    headers = {name: value for name, value in request.headers.items() if name not in HOP}
    target = where.path.rstrip("/") + request.raw_path + (f"?{request.query}" if request.query else "")
    try:
        connection.request(request.method, target, body, headers)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as problem:
        connection.close()
        raise AwsError("ServiceUnavailable", f"The upstream server {base} did not answer: {problem}", status=503) from None
    kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP]
    length = answer.getheader("content-length")
    if length is not None and (int(length) <= STEP or request.method == "HEAD"):
        if request.method == "HEAD":
            kept.append(("content-length", length))
        body = answer.read()
        connection.close()
        return Response(answer.status, kept, body)
    return Response(answer.status, kept, _chunks(answer, connection))


def _chunks(answer: http.client.HTTPResponse, connection: http.client.HTTPConnection) -> Iterator[bytes]:
    try:
        while chunk := answer.read(STEP):
            yield chunk
    finally:
        connection.close()
