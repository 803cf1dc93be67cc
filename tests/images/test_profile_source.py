"""Traces of a job's framework as they are found: both of Chrome's layouts, being written, and with entries that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dewfall.images.debugging.analysis.trial import FolderReader
from dewfall.images.debugging.profile_source import ProfileSource
from dewfall.ml.debugging.trial import Options
from dewfall.ml.profiling import evaluate_all
from dewfall.ml.profiling.profile import Profile

STEP = {"ph": "X", "name": "Step:ModeKeys.TRAIN", "pid": 1, "ts": 2e6, "dur": 5e5, "args": {"step_num": 1}}
BROKEN: list[Any] = [
    {"ph": "X", "name": "no ts", "pid": 1, "dur": 1},
    {"ph": "X", "name": "no dur", "pid": 1, "ts": 1},
    {"ph": "X", "pid": 1, "ts": "soon", "dur": None},
    {"ph": "X", "pid": 1, "ts": float("nan"), "dur": 1},
    {"ph": "X", "pid": [1], "ts": 1, "dur": 1, "args": 7},
    {"ph": "M", "name": "process_name", "pid": 1, "args": ["x"]},
    {"ph": "M", "args": {"start_time_since_epoch_in_micros": "x"}},
    STEP | {"ts": 9e6, "dur": 9e6, "args": {"step_num": "x", "pid": []}},
    7,
]


def read(folder: Path, text: str) -> Profile:
    file = folder / "framework/pevents/2026112617/1_1-algo-2_model_timeline.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return ProfileSource(FolderReader(folder)).update()


def test_malformed_entries_are_passed_over(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps([*BROKEN, *[STEP] * 200]))
    assert {(event.start, event.end, event.node) for event in found.events if event.arguments.get("step_num") == 1} == {(2.0, 2.5, "algo-2")}
    details = evaluate_all(found, Options({}))["StepOutlier"].details
    assert details["step_details"]["algo-2"]["step_numbers"] == [-1]


@pytest.mark.parametrize("ending", ["]}", ",", ""])
def test_a_trace_may_be_an_object(tmp_path: Path, ending: str) -> None:
    base = 1_790_857_026_000_000_000
    text = f'{{"schemaVersion": 1, "baseTimeNanoseconds": {base}, "traceEvents": [{json.dumps(STEP)}{ending}'
    assert [event.start for event in read(tmp_path, text).events] == [1_790_857_028.0]


@pytest.mark.parametrize("text", ["7", "null", "{}", '{"traceEvents": 3}', "[", "nonsense", ""])
def test_what_is_no_trace_is_no_data(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).events == []
