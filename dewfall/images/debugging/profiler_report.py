"""profiler-report.html and profiler-report.ipynb: the job's times, what its hosts used, what each rule says and advises."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dewfall.ml.plots import learning
from dewfall.ml.profiling.profile import CPU, GPU, MEMORY, MICROSECONDS, Profile
from dewfall.ml.profiling.report import Report
from dewfall.ml.reports import html, notebook
from dewfall.ml.reports.document import Block, Chart, Heading, Table, Text
from dewfall.ml.reports.document import Report as Page

LEVELS = ("max", "p99", "p95", "p50", "min")
UNITS = {"Network": "bytes/s"}
DRAWN = {"Processors (%)": CPU, "Memory (%)": MEMORY, "GPUs (%)": GPU}
SHARES = {"phase": "Steps and what lies between them", "forward_backward": "Forward and backward passes", "general": "Other phases"}
# What a rule looks for, and what to try when it fires.
ADVICE = {
    "BatchSize": ("GPUs, their memory and processors that are all little used", "a larger batch, or a smaller instance type"),
    "CPUBottleneck": ("GPUs that wait for processors", "more data loader processes, or data that are prepared beforehand"),
    "Dataloader": ("too few or too many processes that load data", "as many data loader processes as there are processors"),
    "GPUMemoryIncrease": ("GPU memory that keeps growing", "a GPU with more memory, or a search for what is not released"),
    "IOBottleneck": ("GPUs that wait for disks", "FastFile mode, a faster file system, or data in fewer files"),
    "LoadBalancing": ("GPUs that are used unequally", "shards of equal size, or a strategy that shares the work evenly"),
    "LowGPUUtilization": ("GPUs that are little used, or on and off", "a larger batch, less waiting for processors and between hosts"),
    "MaxInitializationTime": ("a first step that comes late", "data by FastFile or Pipe mode instead of File mode"),
    "OverallFrameworkMetrics": ("which share of the time goes where", "–"),
    "OverallSystemUsage": ("what each host used", "–"),
    "StepOutlier": ("steps that take much longer than the others", "a look at what happens in them: checkpoints, evaluation, loading"),
}


def write(folder: Path, profile: Profile, reports: Mapping[str, Report], job: str) -> None:
    """Leave both in the folder."""
    page = Page(
        f"Profiler report of {job}", [*_summary(reports), *_usage(profile, reports), *_framework(reports), *_rules(reports)], _subtitle(profile)
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profiler-report.html").write_text(html.write(page))
    (folder / "profiler-report.ipynb").write_text(notebook.write(page))


def _subtitle(profile: Profile) -> str:
    looks, hosts = len(profile.looks()), len(profile.nodes())
    return f"{looks} looks at {hosts} host{'' if hosts == 1 else 's'}, {len(profile.events)} events of the framework"


def _summary(reports: Mapping[str, Report]) -> list[Block]:
    """AWS's table of times; what lies before the first step and after the last one is known where there are steps."""
    details = reports["MaxInitializationTime"].details
    if "job_start" not in details:
        return [Text("The job was over before it could be measured: there is nothing to say about its instances.")]
    start, end = details["job_start"], details["job_end"]
    rows: list[list[Any]] = [["start_time", _time(start)], ["end_time", _time(end)], ["job_duration_in_seconds", end - start]]
    if details["step_num"]:
        first, last = (details["step_num"][name] / MICROSECONDS for name in ("first", "last"))
        rows += [["training_loop_start", _time(first)], ["training_loop_end", _time(last)], ["training_loop_duration_in_seconds", last - first]]
        rows += [["initialization_in_seconds", max(0.0, first - start)], ["finalization_in_seconds", max(0.0, end - last)]]
    return [Heading("Training job summary"), Table(["", ""], rows), Text("Times are those of the first and the last measurement.")]


def _usage(profile: Profile, reports: Mapping[str, Report]) -> list[Block]:
    used = reports["OverallSystemUsage"].details
    if not used:
        return []
    rows = [
        [node, name, UNITS.get(name, "percent"), *(levels[one] for one in LEVELS)] for name, nodes in used.items() for node, levels in nodes.items()
    ]
    blocks: list[Block] = [Heading("System usage statistics"), Table(["node", "metric", "unit", *LEVELS], rows)]
    begin = float(profile.looks()[0])
    for title, dimension in DRAWN.items():
        lines = {node: ((times - begin).tolist(), values.tolist()) for node, (times, values) in profile.mean_over_names(dimension).items()}
        if lines:
            blocks.append(Chart(learning.series(lines, title, x="Seconds", y=title)))
    return blocks


def _framework(reports: Mapping[str, Report]) -> list[Block]:
    report = reports["OverallFrameworkMetrics"]
    blocks: list[Block] = [Heading("Framework metrics summary")]
    if report.note:
        return [*blocks, Text(report.note)]
    for name, title in SHARES.items():
        if name in report.details:
            blocks += [Heading(title, 2), Table(["", "percent of the time"], [[what, share] for what, share in report.details[name].items()])]
    steps = reports["StepOutlier"].details["step_details"]
    if steps:
        levels = ("mean", "min", "p50", "p95", "p99", "max")
        rows = [[node, found["phase"], *(found["step_stats"][one] for one in levels), found["number_of_outliers"]] for node, found in steps.items()]
        blocks += [Heading("Steps (seconds)", 2), Table(["node", "mode", *levels, "outliers"], rows)]
    return blocks


def _rules(reports: Mapping[str, Report]) -> list[Block]:
    """What fired comes first."""
    order = sorted(reports, key=lambda name: (-reports[name].triggered, name))
    rows = [
        [name, *ADVICE[name], reports[name].triggered, reports[name].datapoints, _parameters(reports[name]), reports[name].note] for name in order
    ]
    columns = ["rule", "looks for", "what to try", "times triggered", "datapoints", "parameters", "note"]
    fired = [name for name in order if reports[name].triggered]
    told = Text(f"Issues found: {', '.join(fired)}.", "bad") if fired else Text("No rule found an issue.", "good")
    return [Heading("Rules summary"), told, Table(columns, rows, frozenset(range(len(fired))))]


def _parameters(report: Report) -> str:
    return str(report.document()["RuleParameters"]).replace("\n", ", ")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S %m/%d/%Y UTC")
