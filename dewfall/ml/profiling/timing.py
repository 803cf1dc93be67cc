"""Rules on the time that a framework takes: steps, phases, data loading. Their data are the framework's own events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dewfall.ml.debugging.trial import Options
from dewfall.ml.profiling.profile import BAD, CPU, MICROSECONDS, Event, Floats, Profile
from dewfall.ml.profiling.report import NO_LOADERS, NO_STEPS, Report, limits

FEWEST = 100  # steps until their spread says something
HISTOGRAM = 100
LOADERS = ("DataLoaderWorker", "DataLoaderIter")
PASSES = {"Forward pass": "Forward-SubModuleInternal", "Backward pass": "Backward-SubModuleInternal"}
SETTINGS = ("pin_memory", "num_workers")  # which a data loader's first event tells


def step_outlier(profile: Profile, options: Options) -> Report:
    """More than `n_outliers` steps of one mode that took longer than their mean and `stddev` standard deviations.

    `mode` names the events to look at instead of all steps. Durations are in seconds.
    """
    held = limits(options, stddev=5, n_outliers=10)
    mode = "" if options.text("mode") in ("", "None") else options.text("mode")
    steps = sorted((event for event in profile.events if event.name == mode), key=lambda event: event.start) if mode else profile.steps()
    details: dict[str, Any] = {}
    found, triggered = 0, 0
    for node, phase in dict.fromkeys((event.node, event.name) for event in steps):
        mine = [event for event in steps if (event.node, event.name) == (node, phase)]
        durations = np.asarray([event.end - event.start for event in mine])
        if len(durations) <= FEWEST:
            continue
        far = durations > durations.mean() + held["stddev"] * durations.std()
        details[node] = _spread(durations, far) | {"phase": phase, "step_numbers": [_number(mine[i]) for i in np.flatnonzero(far)]}
        if far.sum() > held["n_outliers"]:
            found, triggered = found + int(far.sum()), triggered + 1
    told = {"threshold": held["stddev"], "mode": mode or None, "n_outliers": held["n_outliers"], "stddev": held["stddev"]}
    return Report(triggered, found, len(steps), {"step_details": details}, told, "" if steps else NO_STEPS)


def max_initialization_time(profile: Profile, options: Options) -> Report:
    """The first step begins later than `threshold` minutes after the first measurement. Without any steps, there is nothing to say.

    `job_start` and `job_end` are seconds since the epoch, `step_num`'s `first` and `last` microseconds, as AWS has them.
    """
    held = limits(options, threshold=20)
    steps, looks = profile.steps(), profile.looks()
    details: dict[str, Any] = {"step_num": {}}
    if len(looks):
        details |= {"job_start": float(looks[0]), "job_end": float(looks[-1])}
    if steps:
        details["step_num"] = {"first": steps[0].start * MICROSECONDS, "last": steps[-1].start * MICROSECONDS}
    late = bool(steps) and len(looks) > 0 and steps[0].start - looks[0] > 60 * held["threshold"]
    return Report(int(late), int(late), len(steps), details, held, "" if steps else NO_STEPS)


def overall_framework_metrics(profile: Profile, options: Options) -> Report:
    """Which share of the time went where, in percent; it never triggers.

    phase             steps by mode, and what lies between them
    forward_backward  the two passes
    general           every other phase of the framework
    """
    steps, details = profile.steps(), dict[str, Any]()
    if steps:
        modes = _seconds((event.name, event) for event in steps)
        nodes = len({event.node for event in steps})
        whole = max(event.end for event in steps) - steps[0].start
        details["phase"] = _shares(modes | {"others": max(0.0, whole - sum(modes.values()) / nodes)})
        details["phase_time"] = modes
    passes = _seconds((name, event) for event in profile.events for name, phase in PASSES.items() if event.phase == phase)
    if passes:
        details["forward_backward"] = _shares(passes)
    others = _seconds((event.phase, event) for event in profile.events if not event.is_step and event.phase not in PASSES.values())
    if others:
        details["general"] = _shares(others)
    return Report(0, 0, len(profile.events), details, {}, "" if profile.events else NO_STEPS)


def dataloader(profile: Profile, options: Options) -> Report:
    """Fewer processes load data than `min_threshold` % of the processors, or more than `max_threshold` %.

    Their number is the median, over the seconds with events, of processes with events.
    """
    held = limits(options, min_threshold=70, max_threshold=200)
    events = [event for event in profile.events if event.phase in LOADERS or event.name in LOADERS]
    cores = len({name for _, name in profile.series(CPU)})
    if not events or not cores:
        return Report(0, 0, len(events), {}, held, NO_LOADERS)
    processes: dict[int, set[str]] = {}
    for event in events:
        processes.setdefault(int(event.start), set()).add(str(event.arguments.get("pid", event.node)))
    median = int(np.median([len(found) for found in processes.values()]))
    taken = np.asarray([event.end - event.start for event in events])
    counts, edges = np.histogram(taken, HISTOGRAM)
    times = {"p25": 0.25, "p50": 0.5, "p95": 0.95}
    details = {name: event.arguments[name] for event in profile.events for name in SETTINGS if name in event.arguments} | {
        "cores": cores,
        "dataloaders": median,
        "dataloading_time": {name: float(np.quantile(taken, level)) for name, level in times.items()}
        | {"probs": counts.tolist(), "binedges": edges.tolist()},
    }
    wrong = len(processes) > 10 and not held["min_threshold"] <= 100 * median / cores <= held["max_threshold"]
    return Report(int(wrong), int(wrong), len(events), details, held)


def _spread(durations: Floats, far: Any) -> dict[str, Any]:
    levels = {"p99": 0.99, "p95": 0.95, "p50": 0.5}
    statistics = {"mean": float(durations.mean()), "max": float(durations.max()), "min": float(durations.min())}
    counts, edges = np.histogram(durations[~far], HISTOGRAM)
    return {
        "step_stats": statistics | {name: float(np.quantile(durations, level)) for name, level in levels.items()},
        "number_of_outliers": int(far.sum()),
        "stddev": float(durations.std()),
        "probs": counts.tolist(),
        "binedges": edges.tolist(),
    }


def _number(event: Event) -> int:
    try:
        return int(event.arguments.get("step_num", -1))
    except BAD:
        return -1


def _seconds(events: Iterable[tuple[str, Event]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, event in events:
        found[name] = found.get(name, 0.0) + event.end - event.start
    return found


def _shares(seconds: Mapping[str, float]) -> dict[str, float]:
    total = sum(seconds.values())
    return {name: 100 * value / total if total else 0.0 for name, value in seconds.items()}
