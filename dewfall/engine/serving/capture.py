"""Data capture: what clients sent and what models answered, as JSON lines in S3.

    a request has been answered ─ note (a list's append) ─ thread: lines into a file of the spool ─ tick: whole files into S3

Why a spool on the disk: the data path writes nothing, a killed server loses the last moments only, and what a stopped server has not
shipped, the next one ships.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dewfall.engine.disk import leave_room
from dewfall.engine.serving.table import CaptureRule, EndpointKey
from dewfall.errors import AwsError

if TYPE_CHECKING:
    from dewfall.context import Ctx
    from dewfall.engine.objects import Objects

log = logging.getLogger(__name__)

FOLDER = "capture"
GATHER_SECONDS = 0.2  # between an answer and its line on the disk
QUIET_SECONDS = 1.0  # a file is shipped when nothing has been added for that long,
FILE_SECONDS = 10.0  # is that old,
FILE_BYTES = 8 * 1024 * 1024  # or that large
PENDING_BYTES = 256 * 1024 * 1024  # beyond that, answers go uncaptured
OPEN, WHOLE = ".part", ".jsonl"
GENERAL_TYPE = "application/octet-stream"
SENT_HEADERS = ("content-type", "x-amzn-sagemaker-inference-id", "x-amzn-sagemaker-custom-attributes")
SENT = {name: re.compile(rb"\r\n" + name.encode() + rb": ([^\r]*)\r\n", re.I) for name in SENT_HEADERS}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as the container got it (`head` with its headers), and its answer."""

    key: EndpointKey
    variant: str
    rule: CaptureRule
    head: bytes
    body: bytes
    answer_type: bytes
    answer: bytes
    at: float


def is_sampled(rule: CaptureRule) -> bool:
    """Whether this request is one of those to capture."""
    return rule.percentage >= 100.0 or random.random() * 100.0 < rule.percentage


def line(exchange: Exchange) -> str:
    """The exchange as AWS writes it."""
    rule, data = exchange.rule, {}
    if rule.takes_input:
        data["endpointInput"] = _side("INPUT", _sent(exchange, "content-type"), exchange.body, rule)
    if rule.takes_output:
        data["endpointOutput"] = _side("OUTPUT", exchange.answer_type.decode("latin-1"), exchange.answer, rule)
    metadata: dict[str, Any] = {"eventId": str(uuid.uuid4())}
    if inference := _sent(exchange, "x-amzn-sagemaker-inference-id"):
        metadata["inferenceId"] = inference
    if attributes := _sent(exchange, "x-amzn-sagemaker-custom-attributes"):
        metadata["customAttributes"] = [attributes]
    metadata["inferenceTime"] = datetime.fromtimestamp(exchange.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def place(exchange: Exchange) -> str:
    """The prefix that the exchange's file lies under: destination, endpoint (also of an inference component), variant, hour."""
    hour = datetime.fromtimestamp(exchange.at, UTC).strftime("%Y/%m/%d/%H")
    return f"{exchange.rule.destination.rstrip('/')}/{exchange.key[2].partition('/')[0]}/{exchange.variant}/{hour}"


def ship(folder: Path, objects: Objects) -> int:
    """Put the spool's whole files into S3, oldest first; how many went. One that S3 refuses for good is given up, with a word in the log."""
    shipped = 0
    for file in sorted(folder.glob("*" + WHOLE)):
        try:
            first, _, lines = file.read_bytes().partition(b"\n")
            if lines := lines[: lines.rfind(b"\n") + 1]:
                objects.put(json.loads(first)["uri"], lines, content_type="application/jsonl")
                shipped += 1
        except AwsError as problem:
            log.warning("captured data could not be stored file=%s problem=%s", file.name, problem.message)
            if problem.code == "InternalError":  # the disk is full; later
                return shipped
        except OSError as problem:  # a reset took it, or the disk is full
            log.warning("captured data waits file=%s problem=%s", file.name, problem)
            return shipped
        except ValueError:  # a kill left half a line
            log.warning("captured data is damaged file=%s", file.name)
        file.unlink(missing_ok=True)
    return shipped


def tick(ctx: Ctx) -> None:
    """Ship what is whole."""
    ship(ctx.ports.settings.data / FOLDER, ctx.ports.objects)


class Spool:
    """Takes exchanges from the data path and writes them down in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pending: deque[Exchange] = deque()
        self._taken = self._done = 0  # bytes, each counted by one thread alone: the loop's, and the writer's
        self._files: dict[str, _File] = {}
        self._something = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write from now on; files that a killed server left open are closed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("*" + OPEN):
            file.rename(file.with_suffix(WHOLE))
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)
        self._thread.start()

    def add(self, exchange: Exchange) -> None:
        """Capture an exchange. From the loop: an append, and nothing that waits."""
        size = len(exchange.body) + len(exchange.answer)
        if self._taken + size - self._done > PENDING_BYTES:
            return
        self._taken += size
        self._pending.append(exchange)
        if not self._something.is_set():
            self._something.set()

    def flush(self) -> None:
        """Everything so far is in whole files."""
        with self._lock:
            self._write()
            self._close_files(all_of_them=True)

    def stop(self) -> None:
        """Write what is there, and end."""
        self._stopping = True
        self._something.set()
        if self._thread is not None:
            self._thread.join(10)
        self.flush()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._drop_pending()
            self._close_files(all_of_them=True)
            for file in self.folder.glob("*"):
                file.unlink(missing_ok=True)

    def _work(self) -> None:
        while not self._stopping:
            self._something.wait(QUIET_SECONDS if self._files else None)
            if not self._stopping:
                time.sleep(GATHER_SECONDS)
            self._something.clear()
            with self._lock:
                self._write()
                self._close_files()

    def _write(self) -> None:
        touched = set()
        try:
            leave_room(self.folder)
            while self._pending:
                exchange = self._pending.popleft()
                self._done += len(exchange.body) + len(exchange.answer)
                file = self._file(place(exchange))
                file.stream.write(line(exchange) + "\n")
                file.used = time.monotonic()
                touched.add(file)
                time.sleep(0)  # the loop goes first
            for file in touched:
                file.stream.flush()
        except OSError as problem:
            log.warning("data capture stops problem=%s dropped=%d", problem, len(self._pending))
            self._drop_pending()

    def _drop_pending(self) -> None:
        while self._pending:
            exchange = self._pending.popleft()
            self._done += len(exchange.body) + len(exchange.answer)

    def _file(self, prefix: str) -> _File:
        file = self._files.get(prefix)
        if file is None:
            file = self._files[prefix] = _File.open(self.folder, prefix)
        return file

    def _close_files(self, *, all_of_them: bool = False) -> None:
        now = time.monotonic()
        for prefix, file in list(self._files.items()):
            is_due = now - file.used >= QUIET_SECONDS or now - file.began >= FILE_SECONDS or file.stream.tell() >= FILE_BYTES
            if all_of_them or is_due:
                del self._files[prefix]
                file.stream.close()
                file.path.rename(file.path.with_suffix(WHOLE))


@dataclass(slots=True, eq=False)
class _File:
    path: Path
    stream: IO[str]
    began: float
    used: float

    @classmethod
    def open(cls, folder: Path, prefix: str) -> _File:
        """A new file; its first line says where in S3 the rest goes."""
        name, now = str(uuid.uuid4()), datetime.now(UTC)
        path = folder / f"{now.strftime('%Y%m%d%H%M%S%f')}-{name}{OPEN}"
        stream = path.open("w", encoding="utf-8")
        stream.write(json.dumps({"uri": f"{prefix}/{now.strftime('%M-%S')}-{now.microsecond // 1000:03d}-{name}.jsonl"}) + "\n")
        return cls(path, stream, time.monotonic(), time.monotonic())


def _sent(exchange: Exchange, name: str) -> str:
    found = SENT[name].search(exchange.head)
    return found[1].decode("utf-8", "replace") if found else ""


def _side(mode: str, content_type: str, data: bytes, rule: CaptureRule) -> dict[str, str]:
    encoding = _encoding(content_type, rule)
    if encoding != "BASE64":
        try:
            text = data.decode()
        except UnicodeDecodeError:
            encoding = "BASE64"
    if encoding == "BASE64":
        text = base64.b64encode(data).decode()
    return {"observedContentType": content_type or GENERAL_TYPE, "mode": mode, "data": text, "encoding": encoding}


def _encoding(content_type: str, rule: CaptureRule) -> str:
    media = content_type.partition(";")[0].strip().lower()
    return "CSV" if media in rule.csv_types else "JSON" if media in rule.json_types else "BASE64"


def media_types(names: Iterable[str]) -> frozenset[str]:
    """Content types of a CaptureContentTypeHeader as they are compared."""
    return frozenset(name.lower() for name in names)
