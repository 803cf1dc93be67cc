"""What an analysis leaves: its JSON files, its exit message, and its metrics in CloudWatch."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dewfall.images import contract
from dewfall.images.monitor.settings import Settings

AT_ONCE = 500  # metrics of a PutMetricData call
OLDEST, LATEST = timedelta(days=14) - timedelta(hours=1), timedelta(hours=1, minutes=55)  # CloudWatch takes no other times
LARGEST = 2.0**360  # what stands for infinity in CloudWatch, which takes no greater number


@dataclass(frozen=True, slots=True)
class Metric:
    """A value or a statistic set, with what is beside Endpoint and MonitoringSchedule in its dimensions."""

    name: str
    value: float | None = None
    statistics: dict[str, float] | None = None
    dimensions: tuple[tuple[str, str], ...] = ()


def write(folder: Path, name: str, document: Any) -> None:
    """A JSON file of the output."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(document, indent=1))


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity."""
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}


def finish(violations: list[dict[str, str]] | None) -> None:
    """The exit message, which says whether constraints were violated; None where none were evaluated."""
    text = "Completed: Job completed successfully with no violations."
    if violations:
        text = f"CompletedWithViolations: Job completed successfully with {len(violations)} violations."
    output = contract.folders().output
    output.mkdir(parents=True, exist_ok=True)
    (output / "message").write_text(text)
    print(text, flush=True)


def publish(settings: Settings, kind: str, metrics: list[Metric], session: Any) -> None:
    """The metrics as lines for the platform, and in CloudWatch under AWS's names. `kind`: data, model, bias or explainability."""
    if not settings.publish or not settings.schedule:
        return
    entries = write_lines(settings, metrics)
    _put(session.create_client("cloudwatch"), namespace(settings, kind), entries)


def write_lines(settings: Settings, metrics: list[Metric]) -> list[dict[str, Any]]:
    """CloudWatch's entries of the metrics that are numbers, also written as the platform's lines."""
    at = _told_at(settings.end, datetime.now(UTC))
    entries = [_entry(settings, metric, at) for metric in metrics if metric.value is None or not math.isnan(metric.value)]
    folder = contract.folders().output / "metrics" / "cloudwatch"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cloudwatch_metrics.jsonl").write_text(
        "".join(json.dumps({**e, "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ")}) + "\n" for e in entries)
    )
    return entries


def _put(client: Any, place: str, entries: list[dict[str, Any]]) -> None:
    """A server that stays away costs the metrics, not the analysis: their lines lie in the job's folder all the same."""
    from botocore.exceptions import ConnectionError as Unreachable
    from botocore.exceptions import HTTPClientError

    try:
        for start in range(0, len(entries), AT_ONCE):
            client.put_metric_data(Namespace=place, MetricData=entries[start : start + AT_ONCE])
    except (Unreachable, HTTPClientError) as error:
        print(f"Metrics were not published: {error}", file=sys.stderr, flush=True)


def _told_at(end: datetime | None, now: datetime) -> datetime:
    """The window's end, where CloudWatch takes so early or late a time."""
    return end if end is not None and now - OLDEST < end <= now + LATEST else now


def namespace(settings: Settings, kind: str) -> str:
    """AWS's namespace of a kind of monitoring; that of data has a leading slash."""
    place = "Endpoints" if settings.endpoint else "ModelMonitoring"
    return f"{'/' if kind == 'data' else ''}aws/sagemaker/{place}/{kind}-metrics"


def _entry(settings: Settings, metric: Metric, at: datetime) -> dict[str, Any]:
    dimensions = [("Endpoint", settings.endpoint)] if settings.endpoint else []
    dimensions += [("MonitoringSchedule", settings.schedule), *metric.dimensions]
    entry: dict[str, Any] = {"MetricName": metric.name[:255], "Dimensions": [{"Name": n, "Value": v} for n, v in dimensions], "Timestamp": at}
    if metric.statistics is not None:
        return entry | {"StatisticValues": metric.statistics}
    value = float(metric.value or 0.0)
    return entry | {"Value": value if math.isfinite(value) else math.copysign(LARGEST, value)}
