"""What was measured while a job ran: system metrics of its hosts over time, and events of its framework.

system     {"Type": "cpu", "Name": "cpu0", "Dimension": "CPUUtilization", "Value": 50.0, "Timestamp": 1795659720.1, "NodeId": "algo-1"}
framework  a trace of Chrome's format: "M" events name phases and the trace's start, "X" events last, "B" and "E" open and close
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

CPU, GPU, GPU_MEMORY, IO_WAIT = "CPUUtilization", "GPUUtilization", "GPUMemoryUtilization", "I/OWaitPercentage"
MEMORY = "MemoryUsedPercent"  # the name, not the dimension, of memory's samples
NETWORK = "Algorithm"  # the dimension of the network's
TOGETHER = 0.02  # seconds within which samples belong to one look at the host
STEP = "Step:ModeKeys"
MICROSECONDS = 1e6
BAD = (KeyError, TypeError, ValueError, AttributeError, OverflowError)  # what a malformed entry of a trace raises

Floats = NDArray[np.float64]
Series = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class Event:
    """Something the framework did. Times in seconds since the epoch."""

    name: str
    phase: str
    start: float
    end: float
    node: str = "algo-1"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_step(self) -> bool:
        """Whether it is a step of training, evaluation or prediction."""
        return STEP in self.name or STEP in self.phase


@dataclass(slots=True)
class Profile:
    """Everything measured so far.

    >>> profile = Profile()
    >>> profile.add({"Type": "cpu", "Name": "cpu0", "Dimension": CPU, "Value": 50, "Timestamp": 7.0, "NodeId": "algo-1"})
    >>> profile.series(CPU)["algo-1", "cpu0"][1].tolist()
    [50.0]
    """

    events: list[Event] = field(default_factory=list)
    _values: dict[tuple[str, str, str], dict[float, float]] = field(default_factory=dict)  # (node, name, dimension) → time → value

    def add(self, sample: Mapping[str, Any]) -> None:
        """Take a line of a system metrics file; a line that comes again changes nothing. Raises KeyError or ValueError when it is none."""
        key = (str(sample["NodeId"]), str(sample.get("Name", "")), str(sample["Dimension"]))
        self._values.setdefault(key, {})[float(sample["Timestamp"])] = float(sample["Value"])

    def add_trace(self, trace: Iterable[Mapping[str, Any]], node: str = "algo-1") -> None:
        """Take the events of one trace file; malformed entries are passed over."""
        self.events.extend(_events(trace, node))

    def series(self, dimension: str) -> dict[tuple[str, str], Series]:
        """(node, name) → (times in seconds, values), in order of time; `dimension` may also be a sample's name."""
        found = {(node, name): values for (node, name, what), values in self._values.items() if dimension in (what, name)}
        return {key: _ordered(values) for key, values in sorted(found.items())}

    def samples(self) -> Iterator[tuple[str, str, str, float, str, float]]:
        """(type, name, dimension, value, node, time in seconds) of every sample."""
        for (node, name, what), values in self._values.items():
            kind = name.rstrip("0123456789")
            for time, value in values.items():
                yield kind, name, what, value, node, time

    def nodes(self) -> list[str]:
        """The hosts that were measured."""
        return sorted({node for node, _, _ in self._values} | {event.node for event in self.events})

    def looks(self) -> Floats:
        """The times at which hosts were looked at: samples that lie within TOGETHER count as one look."""
        times = np.unique(np.fromiter((time for values in self._values.values() for time in values), dtype=np.float64))
        if not len(times):
            return times
        starts = [times[0]]
        for time in times[1:]:
            if time - starts[-1] > TOGETHER:
                starts.append(time)
        return np.asarray(starts)

    def mean_over_names(self, dimension: str) -> dict[str, Series]:
        """node → (times, mean over its processors or GPUs at each look)."""
        nodes: dict[str, dict[float, list[float]]] = {}
        for (node, _), (times, values) in self.series(dimension).items():
            for time, value in zip(times.tolist(), values.tolist(), strict=True):
                nodes.setdefault(node, {}).setdefault(time, []).append(value)
        return {node: _ordered({time: float(np.mean(values)) for time, values in found.items()}) for node, found in nodes.items()}

    def steps(self) -> list[Event]:
        """The steps, in order of their start."""
        return sorted((event for event in self.events if event.is_step), key=lambda event: event.start)


def _ordered(values: Mapping[float, float]) -> Series:
    times = np.fromiter(values.keys(), dtype=np.float64, count=len(values))
    held = np.fromiter(values.values(), dtype=np.float64, count=len(values))
    order = np.argsort(times, kind="stable")
    return times[order], held[order]


@dataclass(slots=True)
class _Reading:
    """A trace as far as it has been read."""

    node: str
    began: float = 0.0
    phases: dict[Any, str] = field(default_factory=dict)
    opened: dict[Any, list[Mapping[str, Any]]] = field(default_factory=dict)

    def take(self, entry: Mapping[str, Any]) -> Event | None:
        """The event that an entry completes, if any. Raises BAD when it is malformed."""
        kind, place, arguments = entry.get("ph"), entry.get("pid"), entry.get("args") or {}
        if kind == "M":
            self.began = float(arguments.get("start_time_since_epoch_in_micros", self.began))
            if entry.get("name") == "process_name" and "name" in arguments:
                self.phases[place] = str(arguments["name"])
        elif kind == "B":
            self.opened.setdefault(place, []).append(entry)
        elif kind == "X" or (kind == "E" and self.opened.get(place)):  # else an E closes what was never opened
            first = self.opened[place].pop() if kind == "E" else entry
            start = (self.began + float(first["ts"])) / MICROSECONDS
            end = (self.began + float(entry["ts"])) / MICROSECONDS if kind == "E" else start + float(entry["dur"]) / MICROSECONDS
            if not math.isfinite(start + end):
                raise ValueError("ts and dur must be finite")
            named = dict(arguments or first.get("args") or {})
            return Event(str(first.get("name", "")), self.phases.get(place, "Unknown"), start, end, self.node, named)
        return None


def _events(trace: Iterable[Mapping[str, Any]], node: str) -> Iterator[Event]:
    reading = _Reading(node)
    for entry in trace:
        try:
            event = reading.take(entry)
        except BAD:
            continue
        if event is not None:
            yield event
