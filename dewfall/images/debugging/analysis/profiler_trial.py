"""What was measured of a training job, as custom Profiler rules ask for it. Times are microseconds since the epoch, but for system metrics' own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dewfall.images.debugging.analysis.errors import NoMoreProfilerData
from dewfall.images.debugging.profile_source import ProfileSource
from dewfall.images.debugging.reading import Reading
from dewfall.ml.profiling.profile import MICROSECONDS

POLL = 1.0


@dataclass(frozen=True, slots=True)
class SystemEvent:
    """A sample; `timestamp` in seconds."""

    type: str
    name: str
    dimension: str
    value: float
    node_id: str
    timestamp: float


@dataclass(frozen=True, slots=True)
class FrameworkEvent:
    """An event of the framework."""

    event_name: str
    event_phase: str
    start_time: float
    end_time: float
    node_id: str
    event_args: Mapping[str, Any]

    @property
    def duration(self) -> float:
        """How long it took."""
        return self.end_time - self.start_time


class ProfilerTrial:
    """smdebug's ProfilerTrial."""

    def __init__(self, reader: Reading, name: str, path: str, output_dir: str) -> None:
        self.name, self.path, self.output_dir = name, path, output_dir
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        self._source = ProfileSource(reader)
        self._ended = False
        while not self._times() and not self.job_finished():
            time.sleep(POLL)
        self.first_timestamp = min(self._times(), default=0.0)

    def job_finished(self) -> bool:
        """Whether nothing more will come."""
        self._ended = self._ended or self._source.has_ended()
        return self._ended

    def get_latest_timestamp(self) -> float:
        """When the last sample was taken."""
        return max(self._times(), default=0.0)

    def wait_for_data(self, end_time: float, start_time: float) -> None:
        """Return when what lies before `end_time` is there. Raises NoMoreProfilerData when nothing comes after `start_time`."""
        while not (ended := self.job_finished()) and self.get_latest_timestamp() <= end_time:
            time.sleep(POLL)
        if ended and start_time >= self.get_latest_timestamp():
            raise NoMoreProfilerData(end_time)

    def get_system_metrics(self, start_time: float, end_time: float) -> list[SystemEvent]:
        """The samples between, in order of time."""
        found = [SystemEvent(*sample) for sample in self._source.update().samples()]
        return sorted((one for one in found if start_time <= one.timestamp * MICROSECONDS <= end_time), key=lambda one: one.timestamp)

    def get_framework_metrics(self, start_time: float, end_time: float) -> list[FrameworkEvent]:
        """The events between, in order of their start."""
        events = [
            FrameworkEvent(one.name, one.phase, one.start * MICROSECONDS, one.end * MICROSECONDS, one.node, one.arguments)
            for one in self._source.update().events
        ]
        return sorted((one for one in events if start_time <= one.start_time <= end_time), key=lambda one: one.start_time)

    def _times(self) -> list[float]:
        profile = self._source.update()
        return [float(time) * MICROSECONDS for time in profile.looks()] + [event.end * MICROSECONDS for event in profile.events]
