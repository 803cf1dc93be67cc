"""A training job's profile in S3: the minutes' files of system metrics, which grow, and the traces of its framework."""

from __future__ import annotations

import json
import re
from typing import Any

from dewfall.images.debugging.folder import END_OF_JOB
from dewfall.images.debugging.reading import Reading
from dewfall.ml.profiling.profile import Event, Profile

SYSTEM, FRAMEWORK = "system/", "framework/pevents/"
NODE = re.compile(r"algo-\d+")
TRACES = ("_model_timeline.json", "_pythontimeline.json", "_horovod_timeline.json", "_smdataparallel_timeline.json")
ENDINGS = ("", "]", "]}")  # what a trace lacks


class ProfileSource:
    """What is below a reader's `profiler-output/`."""

    def __init__(self, reader: Reading) -> None:
        self.reader = reader
        self.profile = Profile()
        self._read: dict[str, str] = {}
        self._traces: dict[str, list[Event]] = {}

    def has_ended(self) -> bool:
        """Whether nothing more will come. To be asked before `update`."""
        return bool(self.reader.keys(SYSTEM + END_OF_JOB))

    def update(self) -> Profile:
        """The profile with everything that is there now. Lines that are no samples are passed over: a file may be cut off."""
        for key, version in {**self.reader.versions(SYSTEM + "incremental/"), **self.reader.versions(FRAMEWORK)}.items():
            if self._read.get(key) == version:
                continue
            self._read[key] = version
            if key.startswith(SYSTEM):
                self._take_samples(self.reader.read(key).decode("utf-8", "replace"))
            elif key.endswith(TRACES):
                self._traces[key] = _events(key, self.reader.read(key).decode("utf-8", "replace"))
        self.profile.events = [event for events in self._traces.values() for event in events]
        return self.profile

    def _take_samples(self, text: str) -> None:
        for line in text.splitlines():
            try:
                self.profile.add(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue


def _events(key: str, text: str) -> list[Event]:
    """The events of a trace, which has no end as long as it is being written."""
    found = NODE.search(key.rpartition("/")[2])
    document: Any = None
    for ending in ENDINGS:
        try:
            document = json.loads((text.rstrip().rstrip(",") + ending) if ending else text)
            break
        except ValueError:
            continue
    taken = Profile()
    taken.add_trace((entry for entry in _entries(document) if isinstance(entry, dict)), found.group() if found else "algo-1")
    return taken.events


def _entries(document: Any) -> list[Any]:
    """Of Chrome's two layouts: the array, and the object around it. torch.profiler's object says from when on its times count."""
    if not isinstance(document, dict):
        return document if isinstance(document, list) else []
    entries, base = document.get("traceEvents"), document.get("baseTimeNanoseconds")
    start = [{"ph": "M", "args": {"start_time_since_epoch_in_micros": base / 1000}}] if isinstance(base, (int, float)) else []
    return [*start, *entries] if isinstance(entries, list) else []
