"""What a training job prints: shipped to CloudWatch Logs while it runs, with the metrics that its regular expressions find.

How far the log has been shipped is kept in a record of its own, in the same transaction as the events, so that a crash repeats none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.crew import host_of
from dewfall.engine.ports import Key, Record, Tx
from dewfall.services.sagemaker.trial_components import is_a_metric, job_component, measure

GROUP = "/aws/sagemaker/TrainingJobs"
NAMESPACE = "/aws/sagemaker/TrainingJobs"
CHUNK = 1024 * 1024
REGEX_LINE_LIMIT = 8192  # characters of a line that metric regexes see
FINAL_METRICS = 40
CURVE_LIMIT = 2000  # values of a tuning job's objective that are kept of each trial
TAB = "#011"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an agent's log."""

    milliseconds: int
    text: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where an agent's log goes, and the record that tells how far it has gone."""

    group: str
    stream: str
    progress: Key


def definitions(algorithm: dict[str, Any]) -> list[dict[str, str]]:
    """The request's metric definitions and those that AWS's algorithm has by itself; the user's win."""
    from dewfall.images import catalog

    mine = {definition["Name"]: definition["Regex"] for definition in algorithm.get("MetricDefinitions", ())}
    image = catalog.find(algorithm["TrainingImage"])
    own = dict(image.metric_definitions) if image else {}
    return [{"Name": name, "Regex": regex} for name, regex in (own | mine).items()]


def stream_name(document: dict[str, Any], host: str = "algo-1") -> str:
    """The log stream of one host of a job, named as AWS names it."""
    return f"{document['TrainingJobName']}/{host}-{int(document['CreationTime'].timestamp())}"


def open_stream(ctx: Ctx, document: dict[str, Any], hosts: Iterable[str] = ("algo-1",)) -> None:
    """Make a stream for each host, so that clients find it before the first line."""
    for host in hosts:
        ctx.ports.series.create_log_stream(ctx.account, ctx.region, GROUP, stream_name(document, host))


def ship(ctx: Ctx, document: dict[str, Any], agent: str, *, at_end: bool = False) -> bool:
    """Ship the next piece of an agent's log to its host's stream and measure it; True when nothing is left.

    `at_end`: a last line without newline counts too.
    """

    def look(progress: dict[str, Any], lines: list[Line]) -> None:
        _measure(ctx, document, progress, lines)

    target = Target(GROUP, stream_name(document, host_of(agent)), _progress_key(ctx, document["TrainingJobName"]))
    return ship_log(ctx, target, agent, look, at_end=at_end)


def ship_log(ctx: Ctx, target: Target, agent: str, look: Callable[[dict[str, Any], list[Line]], None] | None = None, *, at_end: bool = False) -> bool:
    """Ship the next piece of an agent's log to any stream, for `look` to see too; True when nothing is left."""
    file = ctx.ports.compute.log_file(agent)
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(target.progress) or _first_progress(tx, target.progress)
        offset = int(record.document["Offsets"].get(agent, 0))
        lines, end = read_lines(file, offset, at_end=at_end)
        if lines:
            events = [(line.milliseconds, line.text) for line in lines]
            ctx.ports.series.append_logs(ctx.account, ctx.region, target.group, target.stream, events)
            if look is not None:
                look(record.document, lines)
        if end != offset:
            record.document["Offsets"][agent] = end
            tx.records.save(record)
    left = _size(file) - end
    return left <= 0 or (not at_end and left < CHUNK)


def final_metrics(ctx: Ctx, tx: Tx, name: str) -> list[dict[str, Any]]:
    """FinalMetricDataList: the last value of every metric."""
    metrics = summaries(ctx, tx, name)
    return [{"MetricName": metric["MetricName"], "Value": metric["Last"], "Timestamp": metric["TimeStamp"]} for metric in metrics][:FINAL_METRICS]


def summaries(ctx: Ctx, tx: Tx, name: str) -> list[dict[str, Any]]:
    """Every metric's extremes, mean and last value, as a trial component shows them."""
    found: list[dict[str, Any]] = _progress(ctx, tx, name).document["Metrics"]
    return found


def objective_curve(ctx: Ctx, tx: Tx, name: str) -> list[float]:
    """The values that a tuning job's objective has had in one of its trials, in the order of their coming."""
    record = tx.records.get(_progress_key(ctx, name))
    return list(record.document.get("Curve", ())) if record else []


def drop_progress(ctx: Ctx, tx: Tx, name: str) -> None:
    """The job is being deleted."""
    tx.records.delete(_progress_key(ctx, name))


def read_lines(file: Path, offset: int, *, at_end: bool = False) -> tuple[list[Line], int]:
    """Whole lines from `offset` on, at most about one CHUNK, and the offset behind them."""
    try:
        with file.open("rb") as log:
            log.seek(offset)
            data = log.read(CHUNK)
            if len(data) == CHUNK:
                data += log.readline(CHUNK)
    except FileNotFoundError:
        return [], offset
    cut = data.rfind(b"\n") + 1
    if (cut or len(data) < CHUNK) and not (at_end and len(data) < CHUNK):
        data = data[:cut]
    lines: list[Line] = []
    for raw in data.split(b"\n"):
        if raw:
            lines.append(_line(raw, lines[-1].milliseconds if lines else 0))
    return lines, offset + len(data)


def find_metrics(patterns: list[tuple[str, re.Pattern[str]]], text: str) -> list[tuple[str, float]]:
    """Metrics of one line, the first group of each regex that matches.

    A value that is NaN or infinite is no metric: CloudWatch takes none. AWS's log pipeline writes TAB as #011, and its algorithms' regexes
    rely on that; one that was written for real tabs matches too.
    """
    line = text[:REGEX_LINE_LIMIT]
    plain = line.replace(TAB, "\t")
    found = []
    for name, pattern in patterns:
        match = pattern.search(line) or (pattern.search(plain) if plain != line else None)
        if match is None or not match.groups():
            continue
        try:
            value = float(match.group(1).partition(TAB)[0])
        except (ValueError, AttributeError):
            continue
        if is_a_metric(value):
            found.append((name, value))
    return found


def _line(raw: bytes, before: int) -> Line:
    """One line; the rest of a line too long to read at once has the time of the line before."""
    stamp, _, text = raw.decode("utf-8", "replace").partition(" ")
    if not stamp.isdigit():
        stamp, text = str(before), f"{stamp} {text}"
    return Line(int(stamp), text.rstrip("\r").replace("\t", TAB))


def _measure(ctx: Ctx, document: dict[str, Any], progress: dict[str, Any], lines: list[Line]) -> None:
    patterns = [(item["Name"], re.compile(item["Regex"])) for item in document["AlgorithmSpecification"].get("MetricDefinitions", ())]
    if not patterns:
        return
    dimensions = {"TrainingJobName": document["TrainingJobName"]}
    objective = document.get("Trial", {}).get("MetricName")
    curve: list[float] = progress.setdefault("Curve", [])
    points: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        at = datetime.fromtimestamp(line.milliseconds / 1000, UTC)
        for name, value in find_metrics(patterns, line.text):
            measure(progress, document["TrainingJobArn"].lower(), name, value, at)
            if name == objective and len(curve) < CURVE_LIMIT:
                curve.append(value)
            points.setdefault(name, []).append((line.milliseconds / 1000, value))
            ctx.ports.series.append_metric(ctx.account, ctx.region, NAMESPACE, name, dimensions, value, at)
    if points and document["AlgorithmSpecification"].get("EnableSageMakerMetricsTimeSeries"):
        from dewfall.services.sagemaker.metrics import add_points

        add_points(ctx, job_component(document, "training"), points)


def _progress(ctx: Ctx, tx: Tx, name: str) -> Record:
    key = _progress_key(ctx, name)
    return tx.records.get(key) or _first_progress(tx, key)


def _first_progress(tx: Tx, key: Key) -> Record:
    return tx.records.create(Record(key, {"Offsets": {}, "Metrics": []}))


def _progress_key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, ctx.region, "sagemaker", "training-progress", name)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
