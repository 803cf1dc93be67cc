"""The evaluation of a Profiler rule: every `scan_interval_us`, and once more at the training job's end.

A rule ends at the first look at which its condition is met. ProfilerReport, which is all of them, looks until the job's end, and says then whether
any was met. What they found is in `profiler-output/profiler-reports/<Rule>.json` of the rule's output.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from dewfall.images.debugging.profile_source import ProfileSource
from dewfall.images.debugging.reading import Reader
from dewfall.ml.debugging.trial import Options
from dewfall.ml.profiling import RULES, evaluate_all
from dewfall.ml.profiling.profile import Profile
from dewfall.ml.profiling.report import Report

POLL = 1.0
REPORT = "ProfilerReport"
NAMES = (*RULES, REPORT)
FOLDER = "profiler-output"


def evaluate(invoked: str, options: Options, client: Any) -> tuple[int | None, str] | None:
    """(number of the look, why) when the condition is met; (None, why) when there was nothing to look at; else None."""
    _reports(invoked, Profile(), options)  # a parameter that is wrong is told at once
    source = ProfileSource(Reader(client("s3"), options.text("profile_s3_uri")))
    folder = Path(options.text("rule_output_path"), FOLDER)
    interval = max(POLL, options.number("scan_interval_us", 60e6) / 1e6)
    look, due = 0, time.monotonic() + interval
    while True:
        has_ended = source.has_ended()
        if not has_ended and time.monotonic() < due:
            time.sleep(POLL)
            continue
        reports = _reports(invoked, source.update(), options)
        _write(folder, reports)
        met = [name for name, report in reports.items() if report.triggered]
        if met and (has_ended or invoked != REPORT):
            _finish(invoked, folder, source.profile, reports, options)
            return look, f"met: {', '.join(met)}"
        if has_ended:
            _finish(invoked, folder, source.profile, reports, options)
            note = reports[invoked].note if invoked in reports else ""
            return (None, note) if note else None
        look, due = look + 1, time.monotonic() + interval


def _reports(invoked: str, profile: Profile, options: Options) -> dict[str, Report]:
    return evaluate_all(profile, options) if invoked == REPORT else {invoked: RULES[invoked](profile, options)}


def _finish(invoked: str, folder: Path, profile: Profile, reports: dict[str, Report], options: Options) -> None:
    if invoked == REPORT:
        from dewfall.images.debugging import profiler_report

        profiler_report.write(folder, profile, reports, options.text("training_job_name"))


def _write(folder: Path, reports: dict[str, Report]) -> None:
    target = folder / "profiler-reports"
    target.mkdir(parents=True, exist_ok=True)
    for name, report in reports.items():
        draft = target / f".{name}.json.draft"
        draft.write_text(json.dumps(report.document()))
        os.replace(draft, target / f"{name}.json")
