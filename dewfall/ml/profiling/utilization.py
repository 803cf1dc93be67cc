"""Rules on processors, GPUs, memory and disks: system metrics alone.

A rule waits until it has seen `patience` looks at the host, for whatever starts is idle first.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from dewfall.ml.debugging.trial import Options
from dewfall.ml.profiling.profile import CPU, GPU, GPU_MEMORY, IO_WAIT, MEMORY, NETWORK, TOGETHER, Floats, Profile
from dewfall.ml.profiling.report import NO_GPU, NO_IO, Report, limits

USED = {"Network": NETWORK, "GPU": GPU, "CPU": CPU, "CPU memory": MEMORY, "GPU memory": GPU_MEMORY, "I/O": IO_WAIT}  # as AWS names them
SUMMED = ("Network",)
BINS = np.arange(0, 104, 2)


def cpu_bottleneck(profile: Profile, options: Options) -> Report:
    """A processor busier than `cpu_threshold` % while a GPU is below `gpu_threshold` %, in more than `threshold` % of the looks."""
    held = limits(options, threshold=50, cpu_threshold=90, gpu_threshold=10, patience=100)
    return _bottleneck(profile, held, CPU, held["cpu_threshold"])


def io_bottleneck(profile: Profile, options: Options) -> Report:
    """A processor waiting for I/O for more than `io_threshold` % while a GPU is below `gpu_threshold` %, in more than `threshold` % of the looks."""
    held = limits(options, threshold=50, io_threshold=50, gpu_threshold=70, patience=1000)
    return _bottleneck(profile, held, IO_WAIT, held["io_threshold"], "" if profile.series(IO_WAIT) else NO_IO)


def low_gpu_utilization(profile: Profile, options: Options) -> Report:
    """A GPU whose 95th percentile over the last `window` looks is below `threshold_p95` %, or above it with a 5th one below `threshold_p5` %."""
    held = limits(options, threshold_p95=70, threshold_p5=10, window=500, patience=1000)
    details: dict[str, Any] = {}
    found, datapoints = 0, 0
    for (node, gpu), (times, values) in profile.series(GPU).items():
        datapoints = max(datapoints, len(values))
        recent = values[-max(1, int(held["window"])) :]
        high, low = np.quantile(recent, [0.95, 0.05])
        if len(values) <= held["patience"] or (high >= held["threshold_p95"] and not (high > held["threshold_p95"] and low < held["threshold_p5"])):
            continue
        found += 1
        details.setdefault(node, {})[gpu] = {"gpu_max": float(values.max()), "gpu_95": float(high), "gpu_5": float(low), **_box(values)}
        details["last_timestamp"] = float(times[-1])
    return Report(found, found, datapoints, details, held, _no_gpu(profile))


def gpu_memory_increase(profile: Profile, options: Options) -> Report:
    """A GPU's memory, as the mean of `window` looks, that grows by more than `increase` percentage points from one look to the next."""
    held = limits(options, increase=10, patience=100, window=10)
    window = max(1, int(held["window"]))
    details: dict[str, Any] = {}
    found, datapoints = 0, 0
    for (node, gpu), (times, values) in profile.series(GPU_MEMORY).items():
        datapoints = max(datapoints, len(values))
        growth = (values[window:] - values[:-window]) / window if len(values) > window else np.zeros(0)
        above = (growth > held["increase"]) & (np.arange(window + 1, window + 1 + len(growth)) > held["patience"])
        if above.any():
            found += int(above.sum())
            largest = {"increase": float(growth[above].max()), "gpu_max": float(values.max()), "p05": float(np.quantile(values, 0.05))}
            details.setdefault(node, {})[gpu] = largest | _box(values)
            details["last_timestamp"] = float(times[-1])
    return Report(found, found, datapoints, details, held, _no_gpu(profile, GPU_MEMORY))


def load_balancing(profile: Profile, options: Options) -> Report:
    """Two GPUs whose histograms of utilization lie further apart than `threshold`, by the Jensen–Shannon distance (natural logarithm)."""
    held = limits(options, threshold=0.5, patience=10)
    series = profile.series(GPU)
    counts = {key: np.histogram(values, BINS)[0] for key, (_, values) in series.items() if len(values) > held["patience"]}
    details: dict[str, Any] = {}
    found = 0
    for (one, other), (mine, theirs) in zip(combinations(counts, 2), combinations(counts.values(), 2), strict=True):
        distance = _distance(mine / mine.sum(), theirs / theirs.sum())
        if distance > held["threshold"]:
            found += 1
            entry = details.setdefault(one[0], {"workloads": {}, "distances": {}})
            entry["workloads"] |= {one[1]: mine.tolist(), other[1]: theirs.tolist()}
            entry["distances"].setdefault(one[1], {})[other[1]] = distance
    return Report(found, found, max((len(values) for _, values in series.values()), default=0), details, held, _no_gpu(profile))


def batch_size(profile: Profile, options: Options) -> Report:
    """Processors, a GPU and its memory all below their thresholds: the 95th percentiles of the last `window` looks."""
    held = limits(options, cpu_threshold_p95=70, gpu_threshold_p95=70, gpu_memory_threshold_p95=70, patience=100, window=500)
    window = max(1, int(held["window"]))
    gpus, memories = profile.series(GPU), profile.series(GPU_MEMORY)
    details: dict[str, Any] = {}
    found, datapoints = 0, 0
    for node, (times, values) in profile.mean_over_names(CPU).items():
        datapoints = max(datapoints, len(values))
        enough = len(values) > window and len(values) > held["patience"]
        if not enough or _high(values, window) >= held["cpu_threshold_p95"]:
            continue
        for gpu in (name for one, name in gpus if one == node and (one, name) in memories):
            used, filled = gpus[node, gpu][1], memories[node, gpu][1]
            low = _high(used, window) < held["gpu_threshold_p95"] and _high(filled, window) < held["gpu_memory_threshold_p95"]
            if low and len(used) > window:
                found += 1
                details.setdefault(node, {}).update({"cpu": _box(values), gpu: _box(used), f"{gpu}_memory": _box(filled)})
                details["last_timestamp"] = float(times[-1])
    return Report(found, found, datapoints, details, held, _no_gpu(profile))


def overall_system_usage(profile: Profile, options: Options) -> Report:
    """Maximum, 99th, 95th and 50th percentile and minimum of what each node used; it never triggers.

    Utilization is the mean over the node's processors or GPUs, the network the sum of bytes per second in both directions.
    """
    details: dict[str, dict[str, Any]] = {}
    for name, dimension in USED.items():
        count = {node: sum(1 for one, _ in profile.series(dimension) if one == node) for node in profile.nodes()}
        for node, (_, values) in profile.mean_over_names(dimension).items():
            used = values * count[node] if name in SUMMED else values
            levels = np.quantile(used, [1, 0.99, 0.95, 0.5, 0])
            details.setdefault(name, {})[node] = {
                level: round(float(value), 2) for level, value in zip(("max", "p99", "p95", "p50", "min"), levels, strict=True)
            }
    return Report(0, 0, len(profile.looks()), details)


def _bottleneck(profile: Profile, held: Mapping[str, float], dimension: str, above: float, note: str = "") -> Report:
    looks = profile.looks()
    low, high = _counts(profile, looks, GPU, below=held["gpu_threshold"]), _counts(profile, looks, dimension, above=above)
    both = (low > 0) & (high > 0)
    share = 100 * float(both.mean()) if len(both) else 0.0
    pairs = zip(looks[both].tolist(), low[both].tolist(), high[both].tolist(), strict=True)
    details = {
        "low_gpu_utilization": int((low > 0).sum()),
        "bottlenecks": {str(time): {"GPUs": int(gpus), "CPUs": int(cpus)} for time, gpus, cpus in pairs},
    }
    met = len(looks) > held["patience"] and share > held["threshold"]
    return Report(int(met), int(both.sum()), len(looks), details, held, _no_gpu(profile) or note)


def _counts(profile: Profile, looks: Floats, dimension: str, *, above: float = np.inf, below: float = -np.inf) -> Floats:
    """At each look, how many processors or GPUs lie above or below."""
    counts = np.zeros(len(looks))
    for times, values in profile.series(dimension).values():
        beyond = times[(values > above) | (values < below)]
        np.add.at(counts, np.searchsorted(looks, beyond + TOGETHER / 1e6, side="right") - 1, 1)
    return counts


def _distance(one: Floats, other: Floats) -> float:
    """The Jensen–Shannon distance of two distributions."""
    mean = (one + other) / 2
    divergences = [float((part[part > 0] * np.log(part[part > 0] / mean[part > 0])).sum()) for part in (one, other)]
    return float(np.sqrt(max(0.0, sum(divergences) / 2)))


def _high(values: Floats, window: int) -> float:
    return float(np.quantile(values[-window:], 0.95))


def _box(values: Floats) -> dict[str, float]:
    """A box plot's numbers; the whiskers reach 1.5 box lengths, but not beyond the values."""
    p25, p50, p75, p95 = (float(level) for level in np.quantile(values, [0.25, 0.5, 0.75, 0.95]))
    reach = 1.5 * (p75 - p25)
    upper, lower = min(p75 + reach, float(values.max())), max(p25 - reach, float(values.min()))
    return {"p25": p25, "p50": p50, "p75": p75, "p95": p95, "upper": upper, "lower": lower}


def _no_gpu(profile: Profile, dimension: str = GPU) -> str:
    return "" if profile.series(dimension) else NO_GPU
