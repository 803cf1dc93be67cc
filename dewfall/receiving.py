"""Bodies on their way in: read into memory when they are few bytes or a document, else staged in a file while they arrive.

Why apart from server.py: how a request is received has nothing to do with how it is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from dewfall.bodies import StagedBody
from dewfall.browsers import is_form_upload
from dewfall.engine.blobs import digest_bytes
from dewfall.errors import AwsError
from dewfall.wire.chunked import AwsChunkedDecoder, check_staged, malformed_trailer
from dewfall.wire.messages import Request

if TYPE_CHECKING:
    from dewfall.house import House
    from dewfall.wire.route import Match

log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]

WHOLE = 64 * 1024  # bodies up to this are taken in one piece
STAGE_STEP = 1024 * 1024
BODY_LIMIT = 64 * 1024 * 1024  # of what is not a streamed payload
CHECKSUMS = {"crc32", "crc32c", "crc64nvme", "sha1", "sha256"}
PATIENCE = 30.0  # seconds without a byte of a body that was announced
INLINE = 256 * 1024  # a body up to this is finished in the event loop


class Gone(Exception):
    """The client has left."""


async def receive_body(house: House, request: Request, match: Match, receive: Receive) -> bytes | StagedBody:
    """Read what the client sends: a streamed payload into staging, everything else into memory."""
    decoder = chunk_decoder(request)
    if match.service == "s3" and match.streams:
        _check_length(request, "x-amz-decoded-content-length" if decoder else "content-length")
    if not match.streams and not is_form_upload(request, match):
        return await _read(receive, decoder, request)
    wanted = digests_wanted(request, signed=house.settings.auth != "off")
    if decoder is None and 0 <= _announced(request) <= WHOLE:
        body = await _read(receive, None, request)
        staged = StagedBody(len(body), data=body, digests=digest_bytes(body, wanted))
        check_staged(request, staged)
        return staged
    stager = house.blobs.stage(wanted)
    pending = bytearray()
    try:
        async for chunk in _chunks(receive):
            pending += decoder.feed(chunk) if decoder else chunk
            if len(pending) >= STAGE_STEP:
                await asyncio.to_thread(stager.write, bytes(pending))
                pending.clear()
        stager.write(bytes(pending))
        if decoder:
            _check_end(decoder, request)
        staged = await asyncio.to_thread(stager.finish) if len(pending) >= INLINE else stager.finish()
        check_staged(request, staged)
        return staged
    except OSError as problem:
        stager.abort()
        house.blobs.make_room()
        log.error("staging failed path=%s problem=%s", request.raw_path, problem)
        raise AwsError("InternalError", f"The body could not be stored: {problem.strerror}. Free disk space and try again.", status=500)
    except BaseException:
        stager.abort()
        raise


def chunk_decoder(request: Request) -> AwsChunkedDecoder | None:
    """A decoder when the body is aws-chunked."""
    if "aws-chunked" in request.headers.get("content-encoding", "") or request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return AwsChunkedDecoder()
    return None


def digests_wanted(request: Request, *, signed: bool) -> set[str]:
    """Checksums to compute while the body arrives: those named by header or announced as trailer, and the hash where it counts or stands alone."""
    named = [name for name in request.headers if name.startswith("x-amz-checksum-")]
    named += request.headers.get("x-amz-trailer", "").split(",")
    wanted = {name.strip().removeprefix("x-amz-checksum-") for name in named} & CHECKSUMS
    algorithm = (request.headers.get("x-amz-sdk-checksum-algorithm") or request.headers.get("x-amz-checksum-algorithm") or "").lower()
    if algorithm in CHECKSUMS:
        wanted.add(algorithm)
    if (signed or not wanted) and len(request.headers.get("x-amz-content-sha256", "")) == 64:
        wanted.add("sha256")
    return wanted


def _check_length(request: Request, name: str) -> None:
    """S3 wants to know how long an object is before it comes: HTTP's own chunks do not tell."""
    if name in request.headers:
        return
    if name == "content-length" and "transfer-encoding" in request.headers:
        message = "A header you provided implies functionality that is not implemented"
        raise AwsError("NotImplemented", message, status=501, Header="Transfer-Encoding")
    raise AwsError("MissingContentLength", "You must provide the Content-Length HTTP header.", status=411)


def _announced(request: Request) -> int:
    """The length that a request's head tells, -1 where it does not."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdigit() else -1


async def next_message(receive: Receive, patience: float = PATIENCE) -> dict[str, Any]:
    """The next piece of a body; RequestTimeout, and an end to the connection, when the client announced more than it sends."""
    try:
        async with asyncio.timeout(patience):
            return await receive()
    except TimeoutError:
        message = "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed."
        raise AwsError("RequestTimeout", message, status=400, headers={"Connection": "close"}) from None


async def _chunks(receive: Receive, first: dict[str, Any] | None = None) -> AsyncIterator[bytes]:
    while True:
        message = await next_message(receive) if first is None else first
        first = None
        if message["type"] == "http.disconnect":
            raise Gone
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def _read(receive: Receive, decoder: AwsChunkedDecoder | None, request: Request) -> bytes:
    first = await next_message(receive)  # most bodies have come with their head
    if first["type"] == "http.request" and not first.get("more_body") and decoder is None and len(first["body"]) <= BODY_LIMIT:
        return first["body"]  # type: ignore[no-any-return]
    body = bytearray()
    async for chunk in _chunks(receive, first):
        body += decoder.feed(chunk) if decoder else chunk
        if len(body) > BODY_LIMIT:
            raise AwsError("RequestEntityTooLargeException", f"Request must be smaller than {BODY_LIMIT} bytes", status=413)
    if decoder:
        _check_end(decoder, request)
    return bytes(body)


def _check_end(decoder: AwsChunkedDecoder, request: Request) -> None:
    if not decoder.finished:
        raise AwsError("IncompleteBody", "The request body terminated unexpectedly", status=400)
    announced = [name.strip().lower() for name in request.headers.get("x-amz-trailer", "").split(",") if name.strip()]
    if not decoder.trailers.keys() >= set(announced):
        raise malformed_trailer()
    request.trailers.update(decoder.trailers)
    request.chunks = decoder.signatures
