"""What has happened to alarms: configuration, states, actions; kept for thirty days."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from dewfall.context import Ctx, new_id
from dewfall.engine.ports import Key, Record, Tx
from dewfall.services.cloudwatch.faults import page_of
from dewfall.services.common import with_token
from dewfall.services.registry import operation

KEPT = timedelta(days=30)


@operation("cloudwatch", "DescribeAlarmHistory")
def describe_alarm_history(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "cloudwatch", "alarm-history", parent=req.get("AlarmName"))
    types = req.get("AlarmTypes") or ["MetricAlarm"] if not req.get("AlarmName") else req.get("AlarmTypes")
    kept = [r for r in records if _is_asked_for(r.document, req) and (not types or r.document["AlarmType"] in types)]
    if req.get("ScanBy", "TimestampDescending") == "TimestampDescending":
        kept.reverse()
    shown, token = page_of(kept, req, lambda record: record.key.name)
    return with_token({"AlarmHistoryItems": [record.document for record in shown]}, token)


def note(ctx: Ctx, tx: Tx, alarm: dict[str, Any], kind: str, summary: str, data: dict[str, Any]) -> None:
    """Add an item. kind: ConfigurationUpdate | StateUpdate | Action."""
    now = ctx.now()
    name = f"{int(now.timestamp() * 1_000_000):020d}-{new_id(8)}"
    document = {
        "AlarmName": alarm["AlarmName"],
        "AlarmType": alarm["AlarmType"],
        "Timestamp": now,
        "HistoryItemType": kind,
        "HistorySummary": summary,
        "HistoryData": json.dumps({"version": "1.0", **data}, default=_text),
    }
    tx.records.create(Record(Key(ctx.account, ctx.region, "cloudwatch", "alarm-history", name), document, parent=alarm["AlarmName"]))


def tick(ctx: Ctx) -> None:
    """Forget items that are too old."""
    with ctx.ports.store.reading() as tx:
        old = [record.key for record in tx.records.scan("cloudwatch", "alarm-history") if record.document["Timestamp"] < ctx.now() - KEPT]
    for key in old:
        with ctx.ports.store.transaction() as tx:
            tx.records.delete(key)


def _is_asked_for(item: dict[str, Any], req: dict[str, Any]) -> bool:
    if req.get("HistoryItemType") not in (None, item["HistoryItemType"]):
        return False
    after, before = req.get("StartDate"), req.get("EndDate")
    return (after is None or item["Timestamp"] >= after) and (before is None or item["Timestamp"] <= before)


def _text(value: object) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000" if isinstance(value, datetime) else str(value)
