"""The container contract as an image sees it: folders under /opt/ml, hyperparameters, channels, hosts, and how to fail.

Everything in images/ goes through here, so that a relocated /opt/ml (SAGEMAKER_BASE_DIR) works for all of them.
Standard library only: it must cost nothing to import.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

FAILURE_LIMIT = 1024 * 32
CLIENT_ERROR_EXIT = 2
FAILURE_EXIT = 1
RECORD, RECORD_MAGIC = struct.Struct("<II"), 0xCED7230A


class UserError(Exception):
    """The customer's data or settings are at fault; AWS reports it as `ClientError: <message>`."""


class AlgorithmError(Exception):
    """Training failed for a reason that its sentence says; AWS reports it as `AlgorithmError: <message>`, the traceback is in the log."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where things lie, below /opt/ml."""

    home: Path

    @property
    def config(self) -> Path:
        return self.home / "input" / "config"

    @property
    def data(self) -> Path:
        return self.home / "input" / "data"

    @property
    def model(self) -> Path:
        return self.home / "model"

    @property
    def code(self) -> Path:
        return self.home / "code"

    @property
    def output(self) -> Path:
        return self.home / "output"

    @property
    def output_data(self) -> Path:
        return self.home / "output" / "data"

    @property
    def intermediate(self) -> Path:
        return self.home / "output" / "intermediate"

    @property
    def failure(self) -> Path:
        return self.home / "output" / "failure"

    @property
    def checkpoints(self) -> Path:
        return self.home / "checkpoints"


def folders() -> Folders:
    """The folders of this container: SAGEMAKER_BASE_DIR, else /opt/ml."""
    return Folders(Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml"))


@dataclass(frozen=True, slots=True)
class Channel:
    """An input as inputdataconfig.json describes it; in Pipe mode `epoch()` reads the FIFO of that epoch."""

    name: str
    path: Path
    content_type: str = ""
    input_mode: str = "File"
    distribution: str = "FullyReplicated"
    record_wrapper: str = "None"

    def files(self) -> list[Path]:
        """Every regular file below the channel's folder, in order of path; hidden ones and _SUCCESS-like markers are left out."""
        if not self.path.is_dir():
            return []
        found = [path for path in self.path.rglob("*") if path.is_file()]
        return sorted(path for path in found if not path.name.startswith((".", "_")))

    def epoch(self, number: int = 0) -> BinaryIO:
        """Pipe mode: the stream of one epoch, FIFO `<channel>_<number>`; opening waits for the writer."""
        return open(self.path.with_name(f"{self.name}_{number}"), "rb")

    def bodies(self, number: int = 0, *, framed: bool = False) -> Iterator[bytes]:
        """The content, file by file; in Pipe mode one body, everything of the epoch, unless the platform has wrapped each file.

        `framed`: the content type is RecordIO, so that the wrapping belongs to the content.
        """
        if self.input_mode == "Pipe" and self.record_wrapper == "RecordIO" and not framed:
            yield from self.records(number)
            return
        if self.input_mode == "Pipe":
            with self.epoch(number) as stream:
                yield stream.read()
            return
        for path in self.files():
            yield path.read_bytes()

    def records(self, number: int = 0) -> Iterator[bytes]:
        """Pipe mode: the RecordIO records of an epoch, one at a time."""
        with self.epoch(number) as stream:
            while header := stream.read(RECORD.size):
                magic, size = RECORD.unpack(header) if len(header) == RECORD.size else (0, 0)
                body = stream.read(size)
                if magic != RECORD_MAGIC or len(body) < size:
                    raise UserError("Unable to parse record. Please make sure input data is in correct recordio format.")
                stream.read(-size % 4)
                yield body


@dataclass(frozen=True, slots=True)
class Cluster:
    """resourceconfig.json: who we are among the hosts of this job."""

    current_host: str = "algo-1"
    hosts: tuple[str, ...] = ("algo-1",)
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def is_leader(self) -> bool:
        return self.current_host == self.hosts[0]

    @property
    def rank(self) -> int:
        return self.hosts.index(self.current_host)


def read_config(name: str) -> dict[str, Any]:
    """A JSON file of /opt/ml/input/config, {} when there is none."""
    try:
        loaded = json.loads((folders().config / name).read_text())
    except FileNotFoundError:
        return {}
    return loaded if isinstance(loaded, dict) else {}


def hyperparameters() -> dict[str, str]:
    """hyperparameters.json as it stands: text to text."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in read_config("hyperparameters.json").items()}


def channels() -> dict[str, Channel]:
    """The inputs of inputdataconfig.json by name; folders without an entry count as File channels."""
    at = folders().data
    found = {name: _channel(at / name, name, entry) for name, entry in read_config("inputdataconfig.json").items()}
    if at.is_dir():
        for path in sorted(at.iterdir()):
            if path.is_dir() and path.name not in found:
                found[path.name] = Channel(path.name, path)
    return found


def _channel(path: Path, name: str, entry: dict[str, Any]) -> Channel:
    return Channel(
        name,
        path,
        content_type=entry.get("ContentType") or "",
        input_mode=entry.get("TrainingInputMode") or "File",
        distribution=entry.get("S3DistributionType") or "FullyReplicated",
        record_wrapper=entry.get("RecordWrapperType") or "None",
    )


def cluster() -> Cluster:
    """Who runs this job; a single algo-1 when nothing is said."""
    document = read_config("resourceconfig.json")
    hosts = tuple(document.get("hosts") or ("algo-1",))
    return Cluster(document.get("current_host") or hosts[0], hosts, document)


def write_failure(message: str) -> None:
    """Leave the reason of a failure where the platform looks for it."""
    path = folders().failure
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(message[:FAILURE_LIMIT])
    except OSError as error:
        print(f"cannot write {path}: {error}", file=sys.stderr)


def take_back_failure(message: str) -> None:
    """Remove the reason of a failure that has not come, unless another one has been left there."""
    path = folders().failure
    with contextlib.suppress(OSError):
        if path.read_bytes() == message[:FAILURE_LIMIT].encode():
            path.unlink()


def write_success() -> None:
    """Leave the empty file by which the toolkits say that all went well."""
    output = folders().output
    output.mkdir(parents=True, exist_ok=True)
    (output / "success").touch()


def fail(message: str, exit_code: int = FAILURE_EXIT) -> NoReturn:
    """Write /opt/ml/output/failure, say it on stderr and exit. The platform prefixes `AlgorithmError: ` unless the text names its kind."""
    write_failure(message)
    print(message, file=sys.stderr, flush=True)
    sys.exit(exit_code)


def run_training(train: Callable[[], None]) -> None:
    """Run an algorithm's training as AWS's containers end: UserError → `ClientError: …`, anything unforeseen → its traceback, both in failure."""
    try:
        train()
    except UserError as error:
        fail(f"ClientError: {error}", CLIENT_ERROR_EXIT)
    except AlgorithmError as error:
        traceback.print_exc()
        fail(f"AlgorithmError: {error}")
    except Exception as error:
        traceback.print_exc()
        fail(f"AlgorithmError: {error} (caused by {type(error).__name__})\n\n{traceback.format_exc()}")
