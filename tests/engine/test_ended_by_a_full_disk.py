"""Replays and export tasks that meet a full disk end as FAILED and say why: one that stayed open would keep later ones waiting for ever."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from dewfall.context import Ctx, HandClock
from dewfall.engine.ports import Key, Message, Ports, Record
from dewfall.engine.series import Series
from dewfall.engine.store import SqliteStore
from dewfall.services.events import replays
from dewfall.services.logs import exports

WHO = ("000000000000", "us-east-1")
FULL = "No space left on device"


def keep(store: SqliteStore, service: str, kind: str, name: str, document: dict[str, Any], **more: Any) -> Key:
    key = Key(*WHO, service, kind, name)
    with store.transaction() as tx:
        tx.records.create(Record(key, document, **more))
    return key


def found(store: SqliteStore, key: Key) -> Record:
    with store.reading() as tx:
        record = tx.records.get(key)
    assert record is not None
    return record


def test_a_replay_that_finds_the_disk_full_has_failed(store: SqliteStore, make_ctx: Callable[[str, str], Ctx], clock: HandClock) -> None:
    event = {"time": clock.now().isoformat(), "detail": "x" * 500_000}
    keep(store, "events", "archived-event", "1", {"Event": event}, parent="a")
    span = {"EventStartTime": clock.now() - timedelta(hours=1), "EventEndTime": clock.now() + timedelta(hours=1)}
    document = {"EventSourceArn": "arn/a", "Destination": {"Arn": "event-bus/default"}, "State": "STARTING", **span}
    key = keep(store, "events", "replay", "again", document, status="STARTING")
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages + 20}")
    replays.run(make_ctx(*WHO), Message(1, "events.replay", *WHO, {"ReplayName": "again"}))
    record = found(store, key)
    assert (record.status, record.document["StateReason"], "ReplayEndTime" in record.document) == ("FAILED", FULL, True)


def test_an_export_that_finds_the_disk_full_has_failed(store: SqliteStore, make_ctx: Callable[[str, str], Ctx]) -> None:
    def refuse(uri: str, body: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), uri)

    series = Series(store)
    series.append_logs(*WHO, "g", "s", [(5, "line")])
    ports = cast(Ports, SimpleNamespace(store=store, series=series, objects=SimpleNamespace(put=refuse)))
    task = {"logGroupName": "g", "_streams": "", "from": 0, "to": 10, "destination": "b", "destinationPrefix": "p", "executionInfo": {}}
    key = keep(store, "logs", "export-task", "t", task, status="PENDING")
    exports.run(replace(make_ctx(*WHO), ports=ports), Message(1, "logs.export", *WHO, {"taskId": "t"}))
    record = found(store, key)
    assert (record.status, record.document["status"]) == ("FAILED", {"code": "FAILED", "message": FULL})
