"""The loop over files and batches: in order within a file, several requests under way, a bad record spoils its own file and no other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dewfall.images.batch import splitting
from dewfall.images.batch.calls import Instance, Refused, Reply, Silent
from dewfall.images.batch.filters import CSV, JSON_LINES, BadRecord, Processing
from dewfall.images.batch.splitting import BadFile

MEGABYTE = 1024 * 1024
LINE_KINDS = (CSV, JSON_LINES)
CLIENT, ALGORITHM = "ClientError", "AlgorithmError"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How records are sent, after request, container and defaults have been asked."""

    split: str
    assemble: str
    compression: str
    content_type: str
    accept: str
    multi: bool
    payload: int  # bytes of a request; 0 = no limit, sent in chunks
    concurrent: int  # requests under way per instance
    processing: Processing


@dataclass(slots=True)
class File:
    """An input, where its output goes, and how it fares."""

    name: str  # bucket/key, for the log
    source: Path
    target: Path
    failed: str = ""
    out: BinaryIO | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A request: its body, and the records it was made of, as they were in the file."""

    body: bytes
    originals: list[bytes]


def transform(instances: list[Instance], files: list[File], settings: Settings, say: Say) -> str:
    """All files, shared out among the instances; the worst kind of error ("" = none)."""
    shares = [files[number :: len(instances)] for number in range(len(instances))]
    problems: list[BaseException] = []

    def work(instance: Instance, share: list[File]) -> None:
        try:
            _transform_share(instance, share, settings, say)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(instances, shares, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    kinds = {file.failed for file in files}
    return ALGORITHM if ALGORITHM in kinds else CLIENT if CLIENT in kinds else ""


def _transform_share(instance: Instance, files: list[File], settings: Settings, say: Say) -> None:
    under_way: deque[tuple[File, Batch | None, Future[Reply] | None]] = deque()

    def take() -> None:
        file, batch, future = under_way.popleft()
        _finish(file, batch, future, settings, say)

    with ThreadPoolExecutor(settings.concurrent) as pool:
        for file in files:
            for batch in _batches_of(file, settings, say):
                call: Any = lambda b: instance.invoke(b.body, settings.content_type, settings.accept, chunked=not settings.payload)  # noqa: E731
                under_way.append((file, batch, pool.submit(call, batch)))
                while len(under_way) >= 2 * settings.concurrent:
                    take()
                if file.failed:
                    break
            under_way.append((file, None, None))
        while under_way:
            take()


def _batches_of(file: File, settings: Settings, say: Say) -> Iterator[Batch]:
    """The batches of a file, up to the first one that cannot be made."""
    try:
        with splitting.open_file(file.source, settings.compression) as stream:
            yield from batches(stream, settings)
    except (BadFile, BadRecord, OSError) as error:
        _fail(file, CLIENT, [f"{CLIENT}: {error}"], say)


def batches(stream: BinaryIO, settings: Settings) -> Iterator[Batch]:
    """Records as one request each, or as many per request as the payload takes. BadRecord for one that is larger than that."""
    glue = b"\n" if settings.split == "Line" else b""
    body: list[bytes] = []
    originals: list[bytes] = []
    size = 0
    for record in splitting.records(stream, settings.split):
        sent, given = _outgoing(record, settings)
        if settings.payload and len(sent) > settings.payload:
            raise BadRecord(f"A record of {len(sent)} bytes exceeds the maximum payload of {settings.payload} bytes (MaxPayloadInMB)")
        full = not settings.multi or (settings.payload and size + len(glue) + len(sent) > settings.payload)
        if body and full:
            yield Batch(glue.join(body), originals)
            body, originals, size = [], [], 0
        size += len(sent) + (len(glue) if body else 0)
        body.append(sent)
        if not settings.processing.is_plain:
            originals += given
    if body:
        yield Batch(glue.join(body), originals)


def _outgoing(record: bytes, settings: Settings) -> tuple[bytes, list[bytes]]:
    """What is sent of a record, and the rows that answers are joined to. A file that is not split still consists of rows."""
    processing = settings.processing
    if settings.split != "None" or processing.kind not in LINE_KINDS or (processing.is_plain and not processing.input_steps):
        return processing.outgoing(record), [record]
    rows = [line.rstrip(b"\r") for line in record.split(b"\n") if line.strip()]
    return b"\n".join(processing.outgoing(row) for row in rows), rows


def _finish(file: File, batch: Batch | None, future: Future[Reply] | None, settings: Settings, say: Say) -> None:
    """Write an answer, or note why there is none; after the last one of a file, its output is whole."""
    if batch is None or future is None:
        _close(file)
        return
    try:
        reply = future.result()
        body = settings.processing.answer(reply.body, batch.originals, reply.content_type)
    except Refused as refused:
        kind = CLIENT if 400 <= refused.status < 500 else ALGORITHM
        first = f"{CLIENT}: {refused.status}" if kind == CLIENT else f"Bad HTTP status received from algorithm: {refused.status}"
        _fail(file, kind, [first, "", "Message:", *refused.body.decode("utf-8", "replace").splitlines()], say)
        return
    except Silent as silent:
        _fail(file, ALGORITHM, ["Unable to get response from algorithm", "", "Message:", str(silent)], say)
        return
    except BadRecord as error:
        _fail(file, CLIENT, [f"{CLIENT}: {error}"], say)
        return
    if not file.failed:
        _write(file, body + (b"\n" if settings.assemble == "Line" and not body.endswith(b"\n") else b""))


def _write(file: File, body: bytes) -> None:
    if file.out is None:
        file.out = file.target.open("wb")
    file.out.write(body)


def _close(file: File) -> None:
    if file.failed:
        return
    _write(file, b"")
    if file.out is not None:
        file.out.close()


def _fail(file: File, kind: str, lines: list[str], say: Say) -> None:
    """The file has no output. Its first error is told, those of the batches that were under way besides are not."""
    if file.failed:
        return
    file.failed = kind
    for line in lines:
        say(f"{file.name}: {line}")
    if file.out is not None:
        file.out.close()
    file.target.unlink(missing_ok=True)
