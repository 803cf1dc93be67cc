"""Append-only rows: log events and metric points.

Why apart from records: they come by the thousand, are never changed, and are read by time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dewfall.engine.ports import Store, Tx

LAST = "\U0010ffff"
EVENT_OVERHEAD = 26  # bytes that AWS counts per event besides its text
FOREVER = 1 << 62
DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class LogGroup:
    """A log group; `created` in milliseconds since the epoch, `retention` in days (0 = for ever)."""

    id: int
    account: str
    region: str
    name: str
    created: int
    retention: int
    document: dict[str, Any]
    size: int


@dataclass(frozen=True, slots=True)
class LogStream:
    """A log stream; times in milliseconds since the epoch, 0 where there is no event yet."""

    id: int
    name: str
    created: int
    first_event: int
    last_event: int
    last_ingestion: int
    size: int


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A line of a log; (time, id) is its place."""

    id: int
    stream: int
    time: int
    ingested: int
    text: str

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among others."""
        return self.time, self.id


@dataclass(frozen=True, slots=True)
class MetricKey:
    """Which metric: namespace, name and exactly these dimensions."""

    account: str
    region: str
    namespace: str
    name: str
    dimensions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that has points; `last_point` in seconds since the epoch."""

    id: int
    namespace: str
    name: str
    dimensions: dict[str, str]
    last_point: int


@dataclass(frozen=True, slots=True)
class Point:
    """A statistic set of a metric at a whole second. `spread`: (value, count) pairs where single values are known."""

    name: str
    dimensions: Mapping[str, str]
    time: int
    unit: str
    samples: float
    total: float
    low: float
    high: float
    spread: tuple[tuple[float, float], ...] = ()


@dataclass(slots=True)
class Bucket:
    """What a metric's points of one period and unit add up to; `start` in seconds since the epoch."""

    start: int
    unit: str
    samples: float
    total: float
    low: float
    high: float
    spread: list[tuple[float, float]] = field(default_factory=list)


START = (-1, 0)
END = (FOREVER, 0)


class Series:
    """Logs and metrics over a store. Every method joins the transaction that its thread is in."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # ------------------------------------------------------------ log groups and streams

    def create_log_group(self, account: str, region: str, name: str, document: dict[str, Any] | None = None) -> bool:
        """Make a group; False when it is there."""
        with self.store.transaction() as tx:
            return bool(_add_group(tx, account, region, name, self._milliseconds(), document or {}))

    def log_group(self, account: str, region: str, name: str) -> LogGroup | None:
        """One group."""
        with self.store.reading() as tx:
            rows = tx.run("log_group_get", account=account, region=region, name=name)
        return _group(rows[0]) if rows else None

    def log_groups(self, account: str, region: str, prefix: str = "") -> list[LogGroup]:
        """Groups by name."""
        with self.store.reading() as tx:
            return [_group(row) for row in tx.run("log_group_list", account=account, region=region, prefix=prefix, end=prefix + LAST)]

    def measured_groups(self) -> list[tuple[str, str, str]]:
        """(account, region, name) of every group that has metric filters."""
        with self.store.reading() as tx:
            return [(row[0], row[1], row[2]) for row in tx.run("log_group_filtered")]

    def save_log_group(self, group: LogGroup) -> None:
        """New retention and document of a group."""
        with self.store.transaction() as tx:
            tx.run("log_group_save", id=group.id, retention=group.retention, document=json.dumps(group.document))

    def delete_log_group(self, group: LogGroup) -> None:
        """A group with its streams and events."""
        with self.store.transaction() as tx:
            for statement in ("log_group_drop_events", "log_group_drop_streams", "log_group_drop"):
                tx.run(statement, id=group.id)

    def create_log_stream(self, account: str, region: str, group: str, stream: str) -> bool:
        """Make group and stream if missing (as the platform does for a job); safe to repeat. Whether the stream is new."""
        with self.store.transaction() as tx:
            if tx.run("log_stream_find", account=account, region=region, group=group, stream=stream):
                return False
            self._open_stream(tx, account, region, group, stream)
            return True

    def log_stream(self, group: LogGroup, name: str) -> LogStream | None:
        """One stream."""
        with self.store.reading() as tx:
            rows = tx.run("log_stream_get", group=group.id, name=name)
        return LogStream(*rows[0]) if rows else None

    def log_streams(self, group: LogGroup, prefix: str = "") -> list[LogStream]:
        """A group's streams by name."""
        with self.store.reading() as tx:
            return [LogStream(*row) for row in tx.run("log_stream_list", group=group.id, prefix=prefix, end=prefix + LAST)]

    def delete_log_stream(self, stream: LogStream) -> None:
        """A stream with its events."""
        with self.store.transaction() as tx:
            tx.run("log_stream_drop_events", id=stream.id)
            tx.run("log_stream_drop", id=stream.id)

    # ------------------------------------------------------------ log events

    def append_logs(self, account: str, region: str, group: str, stream: str, lines: Iterable[tuple[int, str]]) -> None:
        """Append (milliseconds since the epoch, text) events; makes group and stream if missing."""
        events = [(time, text.encode("utf-8", "replace").decode()) for time, text in lines]
        if not events:
            return
        now = self._milliseconds()
        with self.store.transaction() as tx:
            rows = tx.run("log_stream_find", account=account, region=region, group=group, stream=stream)
            stream_id, group_id = rows[0] if rows else self._open_stream(tx, account, region, group, stream)
            for time, text in events:
                tx.run("log_event_add", group=group_id, stream=stream_id, time=time, ingested=now, text=text)
            size = sum(len(text.encode()) + EVENT_OVERHEAD for _, text in events)
            times = [time for time, _ in events]
            tx.run("log_stream_grow", id=stream_id, size=size, ingested=now, first=min(times), last=max(times))

    def read_stream(
        self,
        stream: LogStream,
        limit: int,
        *,
        after: tuple[int, int] | None = None,
        before: tuple[int, int] = END,
        start: int = 0,
        end: int = FOREVER,
    ) -> list[LogEvent]:
        """A stream's events of [start, end), oldest first: the first ones behind `after`, else the last ones before `before`."""
        values = {"stream": stream.id, "start": start, "end": end, "limit": limit}
        with self.store.reading() as tx:
            if after is not None:
                return [LogEvent(*row) for row in tx.run("log_event_forward", time=after[0], id=after[1], **values)]
            return [LogEvent(*row) for row in tx.run("log_event_backward", time=before[0], id=before[1], **values)][::-1]

    def read_group(
        self, group: LogGroup, limit: int, *, place: tuple[int, int] | None = None, newest: bool = False, start: int = 0, end: int = FOREVER
    ) -> list[LogEvent]:
        """A group's events of [start, end), oldest first behind a place; or newest first before one."""
        time, event = place or (END if newest else START)
        with self.store.reading() as tx:
            name = "log_event_group_back" if newest else "log_event_group"
            rows = tx.run(name, group=group.id, start=start, end=end, time=time, id=event, limit=limit)
        return [LogEvent(*row) for row in rows]

    def read_arrivals(self, group: LogGroup, after: int, limit: int) -> list[LogEvent]:
        """A group's events in the order of arrival, behind an id."""
        with self.store.reading() as tx:
            return [LogEvent(*row) for row in tx.run("log_event_arrived", group=group.id, id=after, limit=limit)]

    def last_arrival(self) -> int:
        """The id of the newest event."""
        with self.store.reading() as tx:
            newest: int = tx.run("log_event_last")[0][0]
        return newest

    def expire_logs(self) -> None:
        """Remove events that are older than their groups' retention."""
        with self.store.reading() as tx:
            groups = tx.run("log_group_kept")
        for group, retention in groups:
            with self.store.transaction() as tx:
                tx.run("log_event_expire", group=group, before=self._milliseconds() - retention * DAY)

    # ------------------------------------------------------------ metrics

    def append_metric(
        self, account: str, region: str, namespace: str, name: str, dimensions: dict[str, str], value: float, at: datetime, unit: str = "None"
    ) -> None:
        """Append one metric point; AWS has none that are not finite."""
        number = float(value)
        if not math.isfinite(number):
            return
        self.append_points(account, region, namespace, [Point(name, dimensions, int(at.timestamp()), unit, 1.0, number, number, number)])

    def append_points(self, account: str, region: str, namespace: str, points: Iterable[Point]) -> None:
        """Append statistic sets of one namespace."""
        with self.store.transaction() as tx:
            for point in points:
                where = {"account": account, "region": region, "namespace": namespace, "name": point.name}
                metric = _metric_id(tx, point.time, dimensions=dump_dimensions(point.dimensions), **where)
                spread = json.dumps(point.spread) if point.spread else ""
                values = {"samples": point.samples, "total": point.total, "low": point.low, "high": point.high, "spread": spread}
                tx.run("point_add", metric=metric, time=point.time, unit=point.unit, **values)

    def metrics(self, account: str, region: str, namespace: str | None = None, *, since: int = 0) -> list[Metric]:
        """Metrics with a point since a time (seconds since the epoch), by namespace, name and dimensions."""
        where: dict[str, Any] = {"account": account, "region": region, "since": since}
        with self.store.reading() as tx:
            rows = tx.run("metric_list", **where) if namespace is None else tx.run("metric_list_namespace", namespace=namespace, **where)
        return [Metric(row[0], row[1], row[2], dict(json.loads(row[3])), row[4]) for row in rows]

    def buckets(self, key: MetricKey, start: int, end: int, period: int, *, spread: bool = False) -> list[Bucket]:
        """A metric's points of [start, end) added up per period and unit, oldest first; with their single values if asked for."""
        where = {"account": key.account, "region": key.region, "namespace": key.namespace, "name": key.name}
        where["dimensions"] = dump_dimensions(key.dimensions)
        with self.store.reading() as tx:
            found = tx.run("metric_find", **where)
            if not found:
                return []
            span = {"metric": found[0][0], "start": start, "end": end, "period": period}
            if not spread:
                return [Bucket(start + row[0] * period, *row[1:]) for row in tx.run("point_buckets", **span)]
            rows = tx.run("point_spreads", **span)
        return _gather(rows, start, period)

    def expire_metrics(self, before: int) -> None:
        """Remove points older than a time in seconds since the epoch."""
        with self.store.transaction() as tx:
            tx.run("point_expire", before=before)

    # ------------------------------------------------------------ private

    def _milliseconds(self) -> int:
        return int(self.store.clock.now().timestamp() * 1000)

    def _open_stream(self, tx: Tx, account: str, region: str, group: str, stream: str) -> tuple[int, int]:
        now = self._milliseconds()
        group_id = _add_group(tx, account, region, group, now, {})
        if group_id is None:
            group_id = tx.run("log_group_get", account=account, region=region, name=group)[0][0]
        stream_id: int = tx.run("log_stream_add", group=group_id, name=stream, created=now)[0][0]
        return stream_id, group_id


def dump_dimensions(dimensions: Mapping[str, str]) -> str:
    """Dimensions as the key that they are stored under."""
    return json.dumps(sorted(dimensions.items()), separators=(",", ":"), ensure_ascii=False)


def _add_group(tx: Tx, account: str, region: str, name: str, now: int, document: dict[str, Any]) -> int | None:
    rows = tx.run("log_group_add", account=account, region=region, name=name, created=now, document=json.dumps(document))
    return rows[0][0] if rows else None


def _group(row: tuple[Any, ...]) -> LogGroup:
    group, account, region, name, created, retention, document, size = row
    return LogGroup(group, account, region, name, created, retention, json.loads(document), size)


def _metric_id(tx: Tx, time: int, **where: str) -> int:
    rows = tx.run("metric_find", **where)
    if not rows:
        rows = tx.run("metric_add", time=time, **where)
    elif rows[0][1] < time:
        tx.run("metric_seen", id=rows[0][0], time=time)
    found: int = rows[0][0]
    return found


def _gather(rows: list[tuple[Any, ...]], start: int, period: int) -> list[Bucket]:
    buckets: dict[tuple[int, str], Bucket] = {}
    for place, unit, samples, total, low, high, spread in rows:
        bucket = buckets.setdefault((place, unit), Bucket(start + place * period, unit, 0.0, 0.0, low, high))
        bucket.samples += samples
        bucket.total += total
        bucket.low, bucket.high = min(bucket.low, low), max(bucket.high, high)
        if spread:
            bucket.spread += [(value, count) for value, count in json.loads(spread)]
        elif low == high or samples == 1:
            bucket.spread.append((total / samples if samples else low, samples))
        else:
            bucket.spread.append((float("nan"), samples))
    return [buckets[key] for key in sorted(buckets)]
