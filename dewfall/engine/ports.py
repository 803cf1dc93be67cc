"""The engine's ports: Store, Blobs and Compute as Protocols, with the values that pass through them.

Services, loops and job steps know only these; an implementation is chosen by URL or name at start-up.

    Store    records, queue and outbox that change together in one transaction
    Blobs    immutable files
    Compute  processes: agents of jobs and replicas
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from dewfall.context import Clock
    from dewfall.engine.objects import Objects
    from dewfall.engine.series import Series
    from dewfall.engine.serving.router import Router
    from dewfall.settings import Settings

# ---------------------------------------------------------------- Store


@dataclass(frozen=True, slots=True)
class Key:
    """Whose record, of what kind, by what name. `region` is "" where the service has none."""

    account: str
    region: str
    service: str
    kind: str
    name: str


@dataclass(slots=True)
class Record:
    """What AWS would answer about a resource (`document`, AWS's member names, datetimes aware), with its indexed columns.

    `version` is 0 for a record that was never saved; saving compares and swaps on it.
    """

    key: Key
    document: dict[str, Any]
    status: str = ""
    parent: str = ""
    created: datetime | None = None
    modified: datetime | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A queue row: work on a record that must be done, by one worker at a time, also after a crash."""

    id: int
    kind: str
    key: Key
    payload: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class Message:
    """An outbox row: what others should learn. Topics: `aws.events` (an EventBridge event), `s3.event` (a notification)."""

    id: int
    topic: str
    account: str
    region: str
    body: dict[str, Any]


class Conflict(Exception):
    """Somebody else saved the record in between; load it again and decide anew."""


class AlreadyExists(Exception):
    """A record of this key is there."""


class Records(Protocol):
    """Documents by key."""

    def get(self, key: Key) -> Record | None: ...

    def peek(self, key: Key) -> Record | None:
        """The same for somebody who only looks: the record may be shared, and is never changed or saved."""
        ...

    def create(self, record: Record) -> Record:
        """Insert; AlreadyExists when the key is taken. `created` and `modified` default to the store's now."""
        ...

    def save(self, record: Record) -> Record:
        """Update where the version still matches, else Conflict. `modified` is set to the store's now; returns the new record."""
        ...

    def delete(self, key: Key) -> bool: ...

    def list(
        self,
        account: str,
        region: str,
        service: str,
        kind: str,
        *,
        parent: str | None = None,
        status: str | None = None,
        prefix: str = "",
        after: str = "",
        limit: int = 1_000_000,
    ) -> list[Record]:
        """By name ascending. `after` is exclusive. Other orders are the caller's (services/common.py)."""
        ...

    def scan(self, service: str, kind: str, *, status: str | None = None) -> Iterator[Record]:
        """Over every account and region; for loops and recovery."""
        ...


class Queue(Protocol):
    """Work to do, claimed under a lease."""

    def put(self, kind: str, key: Key, payload: dict[str, Any] | None = None, *, delay: float = 0.0) -> int: ...

    def wake(self, kind: str, key: Key) -> None:
        """Make the row due now."""
        ...

    def remove(self, kind: str, key: Key) -> None: ...


class Outbox(Protocol):
    """Messages that leave with the transaction."""

    def put(self, topic: str, account: str, region: str, body: dict[str, Any]) -> int:
        """The message's number."""
        ...


class Tx(Protocol):
    """One transaction. Short: no computing and no waiting inside."""

    @property
    def records(self) -> Records: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def outbox(self) -> Outbox: ...

    def run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """A named statement of queries.sql, for the tables that are not records (objects, series, leases)."""
        ...


class Store(Protocol):
    """State. What a transaction committed survives the kill of any process."""

    @property
    def clock(self) -> Clock:
        """The time that it puts on records and judges leases by."""
        ...

    def transaction(self) -> AbstractContextManager[Tx]:
        """Read and write; serialized with other writers. Raising inside rolls back."""
        ...

    def peek(self, key: Key) -> Record | None:
        """`records.peek` without a transaction around it: the record as the last commit left it."""
        ...

    def look(self) -> Tx:
        """For single statements that read: each sees the moment at which it runs."""
        ...

    def reading(self) -> AbstractContextManager[Tx]:
        """Read only, a consistent snapshot, never blocked by writers."""
        ...

    def claim(self, kinds: Iterable[str], owner: str, lease: float, *, limit: int = 1) -> list[Task]:
        """Take due rows whose lease is free or has run out; attempts counts the takings."""
        ...

    def renew(self, task: Task, owner: str, lease: float) -> bool: ...

    def finish(self, task: Task, owner: str, *, delay: float | None = None, payload: dict[str, Any] | None = None, attempts: int = 0) -> None:
        """Remove the row, or with `delay` release it to be due again then, with a new payload; `attempts` is what it counts on from."""
        ...

    def free_leases(self, owner_prefix: str) -> None:
        """After a crash: what owners of this prefix had claimed is free again, and what they led is led by nobody."""
        ...

    def lead(self, name: str, owner: str, lease: float) -> bool:
        """Take or renew the named lease; False while somebody else holds it."""
        ...

    def next_due(self) -> float | None:
        """Seconds until a row is due, for the worker's sleep; None when the queue is empty."""
        ...

    def take_messages(self, limit: int) -> list[Message]: ...

    def drop_messages(self, ids: Iterable[int]) -> None: ...

    def on_commit(self, listener: Callable[[list[Key]], None]) -> None:
        """`listener(keys saved, created or deleted)` after each commit of this process: wakes held reads and the worker.

        A queue row put or woken is told besides as Key(account, region, "", "queue", its kind), a message as Key(…, "", "outbox", its topic).
        """
        ...

    def close(self) -> None: ...


# ---------------------------------------------------------------- Compute


@dataclass(frozen=True, slots=True)
class FileLink:
    """A stored file as it appears in a channel: `path` relative to the channel's folder, `source` an absolute file.

    In a pipe it may be a `text` instead; `name` is what the user calls it, where that is not the path.
    """

    path: str
    source: str
    size: int
    text: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Channel:
    """An input: `name` "train", mounted at `target` ("/opt/ml/input/data/train"); mode File | FastFile | Pipe | Folder.

    Pipe: each file is a RecordIO record where `wrapper` says so; `width` files make one record of a manifest; a `seed` shuffles the records anew
    in every epoch; `shard` (rank, hosts) says which of them this host gets. Folder: a folder of this machine, which the job shares.
    """

    name: str
    target: str
    mode: str
    files: tuple[FileLink, ...]
    compression: str = "None"
    wrapper: str = "None"
    width: int = 1
    seed: int | None = None
    shard: tuple[int, int] = (0, 1)
    folder: str = ""
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Archive:
    """A stored tar.gz that is unpacked (safely) before the command runs: a model at /opt/ml/model."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Output:
    """A folder collected when the command has ended: name "model.tar.gz", source "/opt/ml/model".

    Format `tar.gz` packs it to one file, `files` keeps the tree. An empty folder gives no output unless `always`.
    """

    name: str
    source: str
    format: str = "tar.gz"
    always: bool = False


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """Everything an agent needs, as JSON in its folder. Paths that begin with /opt/ml are the container's."""

    id: str
    kind: str  # job | replica | watcher: a job that takes no slot, because it looks at one that has one
    command: tuple[str, ...]
    environment: dict[str, str]
    host: str = "algo-1"
    hosts: tuple[str, ...] = ("algo-1",)
    addresses: tuple[str, ...] = ()  # of the hosts, loopback addresses of their own; none: all are 127.0.0.1
    working_directory: str = "/opt/ml/code"
    files: dict[str, str] = field(default_factory=dict)  # absolute container path → text, written before the start
    channels: tuple[Channel, ...] = ()
    archives: tuple[Archive, ...] = ()
    outputs: tuple[Output, ...] = ()
    port: int = 0  # of a replica that insists on this TCP port: it gets a network of its own, and the agent relays to it
    shared: bool = False  # of a replica that other agents talk to: its socket lies where all of them see it
    shelf: bool = False  # of a replica that is given models while it runs: /opt/ml/models is a folder that the server writes to
    preload: str = ""  # family of libraries a warm process has imported already ("" = a plain new process)
    memory_bytes: int = 0  # 0 = no limit
    cpus: float = 0.0  # 0 = all
    max_runtime: float = 0.0  # seconds of the command, 0 = no limit
    grace: float = 120.0  # seconds between SIGTERM and SIGKILL
    log_limit: int = 256 * 1024 * 1024  # bytes of log kept; beyond, the rest is dropped with a last line that says so
    notes: tuple[str, ...] = ()  # lines written to the log first (which version really runs, what is not isolated)


@dataclass(frozen=True, slots=True)
class Collected:
    """An output that lies ready in the agent's folder for the worker to commit to S3 by renaming, not copying."""

    name: str
    path: str  # a file, or a folder where the Output's format is `files`
    size: int


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """An agent's own word, read off its status.json; `lost` when its process is gone without a last word.

    phases: [("Downloading", t), ("Training", t), ("Uploading", t), ("Exited", t)], seconds since the epoch.
    reason, once exited: "" | "MaxRuntimeExceeded" | "Stopped" | "OutOfMemory" | "InputError" | "InternalError".
    """

    id: str
    state: str  # Starting | Preparing | Running | Collecting | Exited | Lost
    phases: tuple[tuple[str, float], ...] = ()
    exit_code: int | None = None
    reason: str = ""
    message: str = ""  # /opt/ml/output/failure, else what the agent has to say about its failure
    log_tail: str = ""  # the last lines of the log, when the command failed
    outputs: tuple[Collected, ...] = ()
    address: str = ""  # of a replica: "unix:/path" or "tcp:127.0.0.1:port", once its GET /ping has answered 200


@dataclass(frozen=True, slots=True)
class Usage:
    """What an agent's processes use: processors on average since the last question, and bytes of memory.

    Bytes read, written, received and sent are counted since the processes' start; the last two are those of their network.
    """

    processors: float
    memory_bytes: int
    read_bytes: int = 0
    written_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


class Compute(Protocol):
    """Processes. Every method may be called again after a crash and means the same."""

    def start(self, spec: AgentSpec) -> None:
        """Start an agent, or do nothing when one of this id is alive or has ended."""
        ...

    def status(self, agent: str) -> AgentStatus | None:
        """None when no such agent was ever started (or it was discarded)."""
        ...

    def has_room(self, agents: int = 1) -> bool:
        """Whether a job of so many agents may start now (Settings.job_slots); one that would never fit may when nothing else runs.

        Replicas never wait for room.
        """
        ...

    def stop(self, agent: str) -> None:
        """Ask for an end with grace (SIGTERM, then SIGKILL); returns at once."""
        ...

    def discard(self, agent: str) -> None:
        """Kill what is left and remove the agent's folder."""
        ...

    def usage(self, agent: str) -> Usage | None:
        """What the agent and everything it started use; None when it does not run. The first answer is the average since its start."""
        ...

    def log_file(self, agent: str) -> Path:
        """Lines `<milliseconds since the epoch> <text>`, append-only."""
        ...

    def written(self, agent: str, path: str) -> Path:
        """Where what the agent's command writes beneath a container path (/opt/ml/…) can be read while it runs; it may not be there yet."""
        ...

    def agents(self) -> list[str]:
        """Ids of every agent that has a folder, for adoption and sweeping."""
        ...

    def on_change(self, listener: Callable[[str], None]) -> None:
        """`listener(agent id)` soon after an agent's status changed (a poke; the worker polls besides)."""
        ...

    def close(self) -> None:
        """Let go of everything without ending an agent."""
        ...


# ---------------------------------------------------------------- all of them


@dataclass(frozen=True, slots=True)
class Ports:
    """What ctx.ports holds."""

    settings: Settings
    store: Store
    objects: Objects
    series: Series
    compute: Compute
    serving: Router
