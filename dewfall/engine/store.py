"""The Store on SQLite: records, queue and outbox in one transaction, one file under the data folder.

Write-ahead logging: what was committed survives the kill of any process; with fsync=True also the loss of power. One connection
writes, under a lock; each thread reads by a connection of its own and never waits for the writer.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dewfall.context import Clock, SystemClock
from dewfall.engine.disk import is_full
from dewfall.engine.documents import dump, load
from dewfall.engine.ports import AlreadyExists, Conflict, Key, Message, Record, Task, Tx

HERE = Path(__file__).parent
SCHEMA_VERSION = 1
PRAGMAS = ("journal_mode=WAL", "temp_store=MEMORY", "cache_size=-8192", "mmap_size=268435456", "busy_timeout=30000")
SEEN = 1024  # records that are remembered
_NAME = re.compile(r"^-- name: (\w+)\n((?:--.*\n)*)", re.MULTILINE)


def read_statements(folder: Path = HERE) -> dict[str, str]:
    """Every named statement of queries*.sql."""
    found: dict[str, str] = {}
    for file in sorted(folder.glob("queries*.sql")):
        pieces = _NAME.split(file.read_text())
        for name, _comment, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            if name in found:
                raise ValueError(f"statement {name} is defined twice")
            found[name] = text.strip().rstrip(";")
    return found


def read_schema(folder: Path = HERE) -> str:
    """schema.sql and what lies beside it."""
    return "\n".join(file.read_text() for file in sorted(folder.glob("schema*.sql")))


# Migrations, in order: MIGRATIONS[n] turns a database of version n into n + 1. The schema itself is version SCHEMA_VERSION.
MIGRATIONS: Mapping[int, str] = {}


class Seen:
    """Records as the last commit left them, for those who only look: what a transaction touches is forgotten before the next one begins."""

    def __init__(self) -> None:
        self.moment = 0  # counts commits; what was read before one is not kept after it
        self._records: dict[Key, Record] = {}
        self._lock = threading.Lock()

    def get(self, key: Key) -> Record | None:
        return self._records.get(key)

    def keep(self, record: Record, moment: int) -> None:
        with self._lock:
            if moment == self.moment:
                if len(self._records) >= SEEN:
                    self._records.clear()
                self._records[record.key] = record

    def forget(self, keys: list[Key]) -> None:
        with self._lock:
            self.moment += 1
            for key in keys:
                self._records.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self.moment += 1
            self._records.clear()


class SqliteStore:
    """engine.ports.Store on one SQLite file."""

    def __init__(self, path: Path, clock: Clock | None = None, *, fsync: bool = False) -> None:
        self.path = path
        self.clock = clock or SystemClock()
        self._fsync = fsync
        self._statements = read_statements()
        self._lock = threading.RLock()
        self._local = threading.local()
        self._generation = 0
        self._seen = Seen()
        self._listeners: list[Callable[[list[Key]], None]] = []
        self.on_full: Callable[[], object] = lambda: None  # called when the disk is full
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = self._connect()
        self._migrate()

    # ------------------------------------------------------------ transactions

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Read and write. Nested use joins the outer transaction."""
        with self._lock:
            outer = getattr(self._local, "tx", None)
            if outer is not None:
                yield outer
                return
            tx = SqliteTx(self._writer, self._statements, self.clock, self._seen)
            self._local.tx = tx
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield tx
                self._writer.execute("COMMIT")
                if tx.touched:
                    self._seen.forget(tx.touched)
            except BaseException as problem:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if isinstance(problem, sqlite3.Error) and is_full(problem):
                    self.on_full()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path)) from problem
                raise
            finally:
                self._local.tx = None
        if tx.touched:
            for listener in self._listeners:
                listener(tx.touched)

    def is_idle(self) -> bool:
        """Whether nobody is writing at this moment, so that a transaction would begin at once."""
        free = self._lock.acquire(blocking=False)
        if free:
            self._lock.release()
        return free

    def peek(self, key: Key) -> Record | None:
        tx = getattr(self._local, "tx", None)
        if tx is not None:
            found: Record | None = tx.records.peek(key)
            return found
        known = self._seen.get(key)
        if known is not None:
            return known
        moment = self._seen.moment
        record: Record | None = self.look().records.get(key)
        if record is not None:
            self._seen.keep(record, moment)
        return record

    def look(self) -> Tx:
        tx: Tx | None = getattr(self._local, "tx", None) or getattr(self._local, "look", None)
        if tx is None:
            tx = self._local.look = SqliteTx(self._reader(), self._statements, self.clock)
        return tx

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """A snapshot. Inside a transaction of this thread it sees that transaction's own writes."""
        outer = getattr(self._local, "tx", None)
        if outer is not None:
            yield outer
            return
        connection = self._reader()
        connection.execute("BEGIN")
        try:
            yield SqliteTx(connection, self._statements, self.clock)
        finally:
            connection.execute("ROLLBACK")

    def on_commit(self, listener: Callable[[list[Key]], None]) -> None:
        self._listeners.append(listener)

    # ------------------------------------------------------------ queue

    def claim(self, kinds: Iterable[str], owner: str, lease: float, *, limit: int = 1) -> list[Task]:
        wanted = set(kinds)
        now = self.clock.now().timestamp()
        taken: list[Task] = []
        with self.transaction() as tx:
            for row in tx.run("queue_candidates", now=now, limit=1000):
                if row[1] in wanted and len(taken) < limit:
                    attempts = tx.run("queue_take", id=row[0], owner=owner, now=now, until=now + lease)
                    taken.append(Task(row[0], row[1], Key(*row[2:7]), json.loads(row[7]), attempts[0][0]))
        return taken

    def renew(self, task: Task, owner: str, lease: float) -> bool:
        until = self.clock.now().timestamp() + lease
        with self.transaction() as tx:
            return bool(tx.run("queue_renew", id=task.id, owner=owner, until=until))

    def finish(self, task: Task, owner: str, *, delay: float | None = None, payload: dict[str, Any] | None = None, attempts: int = 0) -> None:
        """Remove the row, or release it; a row that was woken meanwhile is always run again. `attempts` is what it counts on from."""
        now = self.clock.now().timestamp()
        with self.transaction() as tx:
            if delay is None and tx.run("queue_done", id=task.id, owner=owner):
                return
            text = json.dumps(task.payload if payload is None else payload)
            due = now + (delay or 0.0)
            tx.run("queue_release", id=task.id, owner=owner, attempts=attempts, payload=text, due=due, now=now)

    def free_leases(self, owner_prefix: str) -> None:
        """After a crash: what owners of this prefix had claimed is free again, and what they led is led by nobody."""
        with self.transaction() as tx:
            for statement in ("queue_free", "lease_free"):
                tx.run(statement, owner=owner_prefix + "%")

    def next_due(self) -> float | None:
        with self.reading() as tx:
            due = tx.run("queue_next")[0][0]
        return None if due is None else max(0.0, due - self.clock.now().timestamp())

    # ------------------------------------------------------------ outbox and leases

    def take_messages(self, limit: int) -> list[Message]:
        with self.reading() as tx:
            return [Message(row[0], row[1], row[2], row[3], json.loads(row[4])) for row in tx.run("outbox_take", limit=limit)]

    def drop_messages(self, ids: Iterable[int]) -> None:
        with self.transaction() as tx:
            for message in ids:
                tx.run("outbox_drop", id=message)

    def lead(self, name: str, owner: str, lease: float) -> bool:
        """Take or renew the named lease; False while somebody else holds it."""
        now = self.clock.now().timestamp()
        with self.transaction() as tx:
            return bool(tx.run("lease_take", name=name, owner=owner, now=now, until=now + lease))

    # ------------------------------------------------------------ life

    def reset(self, then: Callable[[], None] = lambda: None) -> None:
        """Empty every table; connections stay usable. No transaction comes between it and `then`."""
        with self._lock:
            with self.transaction() as tx:
                for (table,) in tx.run("table_names"):
                    self._writer.execute(f"DELETE FROM {table}")
            self._seen.clear()
            self._generation += 1
            then()

    def close(self) -> None:
        with self._lock:
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, cached_statements=512)
        for pragma in (*PRAGMAS, f"synchronous={'FULL' if self._fsync else 'OFF'}"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "reader", None)
        if connection is None:
            connection = self._local.reader = self._connect()
        return connection

    def _migrate(self) -> None:
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise ValueError(f"{self.path} was written by a newer Dewfall (schema {version}, this one knows {SCHEMA_VERSION}); upgrade Dewfall")
        for step in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
            self._writer.executescript(MIGRATIONS[step])
        self._writer.executescript(read_schema())
        if version != SCHEMA_VERSION:
            self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


class SqliteTx:
    """One transaction: its own records, queue and outbox."""

    def __init__(self, connection: sqlite3.Connection, statements: Mapping[str, str], clock: Clock, seen: Seen | None = None) -> None:
        self._connection = connection
        self._statements = statements
        self.clock = clock
        self.seen = seen  # of the transaction that writes: nobody else changes anything meanwhile
        self.touched: list[Key] = []

    def run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._statements[statement], values).fetchall()

    @property
    def records(self) -> SqliteRecords:
        return SqliteRecords(self)

    @property
    def queue(self) -> SqliteQueue:
        return SqliteQueue(self)

    @property
    def outbox(self) -> SqliteOutbox:
        return SqliteOutbox(self)


class SqliteRecords:
    """ports.Records inside a transaction."""

    def __init__(self, tx: SqliteTx) -> None:
        self._tx = tx

    def get(self, key: Key) -> Record | None:
        rows = self._tx.run("record_get", **_where(key))
        return _record(key, *rows[0]) if rows else None

    def peek(self, key: Key) -> Record | None:
        seen = self._tx.seen
        if seen is None or key in self._tx.touched:
            return self.get(key)
        return seen.get(key) or self.get(key)

    def create(self, record: Record) -> Record:
        now = self._tx.clock.now()
        record.created = record.created or now
        record.modified = record.modified or record.created
        values = {"created": record.created.timestamp(), "modified": record.modified.timestamp(), **_values(record)}
        if not self._tx.run("record_create", **values):
            raise AlreadyExists(record.key)
        record.version = 1
        self._tx.touched.append(record.key)
        return record

    def save(self, record: Record) -> Record:
        record.modified = self._tx.clock.now()
        rows = self._tx.run("record_save", version=record.version, modified=record.modified.timestamp(), **_values(record))
        if not rows:
            raise Conflict(record.key)
        record.version = rows[0][0]
        self._tx.touched.append(record.key)
        return record

    def delete(self, key: Key) -> bool:
        gone = bool(self._tx.run("record_delete", **_where(key)))
        if gone:
            self._tx.touched.append(key)
        return gone

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
        where: dict[str, Any] = {"account": account, "region": region, "service": service, "kind": kind, "after": after}
        where["limit"] = -1 if status is not None or (prefix and parent is not None) else limit
        if parent is not None:
            rows = self._tx.run("record_list_parent", parent=parent, **where)
        elif prefix:
            rows = self._tx.run("record_list_prefix", prefix=prefix, end=prefix + "\U0010ffff", **where)
        else:
            rows = self._tx.run("record_list", **where)
        found = (_record(Key(account, region, service, kind, row[0]), *row[1:]) for row in rows)
        kept = [r for r in found if (status is None or r.status == status) and r.key.name.startswith(prefix)]
        return kept[:limit]

    def scan(self, service: str, kind: str, *, status: str | None = None) -> Iterator[Record]:
        name = "record_scan" if status is None else "record_scan_status"
        values = {"service": service, "kind": kind} | ({} if status is None else {"status": status})
        for account, region, name_, *rest in self._tx.run(name, **values):
            yield _record(Key(account, region, service, kind, name_), *rest)


class SqliteQueue:
    """ports.Queue inside a transaction."""

    def __init__(self, tx: SqliteTx) -> None:
        self._tx = tx

    def put(self, kind: str, key: Key, payload: dict[str, Any] | None = None, *, delay: float = 0.0) -> int:
        due = self._tx.clock.now().timestamp() + delay
        self._tx.touched += (key, Key(key.account, key.region, "", "queue", kind))
        row: int = self._tx.run("queue_put", payload=json.dumps(payload or {}), due=due, **_row(kind, key))[0][0]
        return row

    def wake(self, kind: str, key: Key) -> None:
        self._tx.run("queue_wake", now=self._tx.clock.now().timestamp(), **_row(kind, key))
        self._tx.touched += (key, Key(key.account, key.region, "", "queue", kind))

    def remove(self, kind: str, key: Key) -> None:
        self._tx.run("queue_remove", **_row(kind, key))


class SqliteOutbox:
    """ports.Outbox inside a transaction."""

    def __init__(self, tx: SqliteTx) -> None:
        self._tx = tx

    def put(self, topic: str, account: str, region: str, body: dict[str, Any]) -> int:
        rows = self._tx.run("outbox_put", topic=topic, account=account, region=region, body=json.dumps(body, default=str))
        self._tx.touched.append(Key(account, region, "", "outbox", topic))
        return int(rows[0][0])


def _where(key: Key) -> dict[str, str]:
    return {"account": key.account, "region": key.region, "service": key.service, "kind": key.kind, "name": key.name}


def _row(kind: str, key: Key) -> dict[str, str]:
    where = _where(key)
    where["record_kind"] = where["kind"]
    where["kind"] = kind
    return where


def _values(record: Record) -> dict[str, Any]:
    return {**_where(record.key), "status": record.status, "parent": record.parent, "document": dump(record.document)}


def _record(key: Key, document: str, status: str, parent: str, created: float, modified: float, version: int) -> Record:
    made, changed = datetime.fromtimestamp(created, UTC), datetime.fromtimestamp(modified, UTC)
    return Record(key, load(document), status, parent, made, changed, version)
