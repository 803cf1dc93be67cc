"""Profiler's rules on profiles whose trouble is plain to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from dewfall.ml.debugging.trial import Options
from dewfall.ml.profiling import RULES, evaluate_all
from dewfall.ml.profiling.profile import CPU, GPU, GPU_MEMORY, IO_WAIT, MEMORY, NETWORK, Profile
from dewfall.ml.profiling.report import NO_GPU, NO_STEPS, Report

START = 1_600_000_000.0
RNG = np.random.default_rng(7)


def profile(**series: Sequence[float]) -> Profile:
    """Looks a second apart; a name such as `gpu1_memory` says what is measured."""
    found = Profile()
    for name, values in series.items():
        dimension = GPU_MEMORY if name.endswith("_memory") else IO_WAIT if name.endswith("_wait") else GPU if name.startswith("gpu") else CPU
        for number, value in enumerate(values):
            sample = {"Type": name[:3], "Name": name.partition("_")[0], "Dimension": dimension, "Value": value, "NodeId": "algo-1"}
            found.add({**sample, "Timestamp": START + number})
    return found


def steps(durations: Sequence[float], first: float = START, **arguments: Any) -> list[dict[str, Any]]:
    """A trace of steps, the times in seconds."""
    named = {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "Step:ModeKeys.TRAIN"}}
    begins = np.cumsum([0.0, *durations])
    return [
        {"ph": "M", "name": "process_name", "pid": 0, "args": {"start_time_since_epoch_in_micros": first * 1e6}},
        named,
        *(
            {"ph": "X", "name": "Step:ModeKeys.TRAIN", "pid": 1, "ts": begin * 1e6, "dur": took * 1e6, "args": {"step_num": number, **arguments}}
            for number, (begin, took) in enumerate(zip(begins, durations, strict=False))
        ),
    ]


def ask(rule: str, seen: Profile, **parameters: str) -> Report:
    return RULES[rule](seen, Options(parameters))


def test_a_busy_processor_beside_an_idle_gpu_is_a_bottleneck() -> None:
    seen = profile(cpu0=[95.0] * 60 + [10.0] * 40, cpu1=[0.0] * 100, gpu0=[5.0] * 80 + [50.0] * 20)
    found = ask("CPUBottleneck", seen, patience="10")
    assert (found.triggered, found.violations, found.datapoints) == (1, 60, 100)
    assert found.details["low_gpu_utilization"] == 80
    assert found.details["bottlenecks"][str(START)] == {"GPUs": 1, "CPUs": 1}
    assert not ask("CPUBottleneck", seen, patience="10", threshold="60").triggered
    assert not ask("CPUBottleneck", seen, patience="100").triggered


def test_waiting_for_disks_counts_only_while_a_gpu_is_idle() -> None:
    seen = profile(cpu0_wait=[80.0] * 20, gpu0=[5.0] * 15 + [90.0] * 5)
    assert ask("IOBottleneck", seen, patience="5").violations == 15
    assert ask("IOBottleneck", profile(gpu0=[5.0] * 9)).note.startswith("No I/O wait data")


def test_a_gpu_is_used_little_or_on_and_off() -> None:
    low, switching, good = [30.0] * 50, [95.0, 0.0] * 25, [90.0] * 50
    found = ask("LowGPUUtilization", profile(gpu0=low, gpu1=switching, gpu2=good), patience="10")
    assert (found.triggered, sorted(found.details["algo-1"])) == (2, ["gpu0", "gpu1"])
    assert found.details["algo-1"]["gpu0"] | {"p50": 30.0, "upper": 30.0, "gpu_max": 30.0} == found.details["algo-1"]["gpu0"]
    assert not ask("LowGPUUtilization", profile(gpu0=low), patience="50").triggered


def test_growing_memory_is_the_growth_of_a_moving_mean() -> None:
    values = [10.0] * 20 + [80.0] * 20
    means = [np.mean(values[i - 5 : i]) for i in range(5, 41)]
    found = ask("GPUMemoryIncrease", profile(gpu0_memory=values), increase="10", patience="5", window="5")
    assert found.violations == int((np.diff(means) > 10).sum()) == 5
    assert found.details["algo-1"]["gpu0"]["increase"] == pytest.approx(np.diff(means).max())


def test_gpus_are_compared_by_their_histograms() -> None:
    values = {f"gpu{n}": RNG.uniform(low, low + 40, 50).tolist() for n, low in enumerate((10, 12, 60))}
    found = ask("LoadBalancing", profile(**values))
    bins = np.arange(0, 104, 2)
    one, other = (np.histogram(values[name], bins)[0] for name in ("gpu0", "gpu2"))
    assert found.details["algo-1"]["distances"]["gpu0"]["gpu2"] == pytest.approx(float(jensenshannon(one, other)))
    assert found.violations == 2


def test_a_batch_is_too_small_where_nothing_is_used_much() -> None:
    idle = profile(cpu0=[20.0] * 30, gpu0=[20.0] * 30, gpu0_memory=[20.0] * 30)
    full = profile(cpu0=[20.0] * 30, gpu0=[20.0] * 30, gpu0_memory=[90.0] * 30)
    small = {"patience": "10", "window": "20"}
    assert ask("BatchSize", idle, **small).triggered == 1
    assert not ask("BatchSize", full, **small).triggered


def test_system_usage_is_the_mean_of_processors_and_the_sum_of_the_network() -> None:
    seen = profile(cpu0=[0.0, 50.0], cpu1=[100.0, 50.0])
    for number, name in enumerate(("ReceiveBytesPerSecond", "TransmitBytesPerSecond")):
        seen.add({"Name": name, "Dimension": NETWORK, "Value": 100 * (number + 1), "NodeId": "algo-1", "Timestamp": START})
    seen.add({"Name": MEMORY, "Dimension": MEMORY, "Value": 12.5, "NodeId": "algo-2", "Timestamp": START})
    details = ask("OverallSystemUsage", seen).details
    assert details["CPU"]["algo-1"] == dict.fromkeys(("max", "p99", "p95", "p50", "min"), 50.0)
    assert details["Network"]["algo-1"]["p50"] == 300
    assert details["CPU memory"] == {"algo-2": dict.fromkeys(("max", "p99", "p95", "p50", "min"), 12.5)}
    assert "GPU" not in details


def test_steps_that_take_long_are_counted() -> None:
    durations = [0.01] * 110
    durations[5::10] = [1.0] * 11
    seen = Profile()
    seen.add_trace(steps(durations))
    found = ask("StepOutlier", seen, stddev="2", n_outliers="10")
    entry = found.details["step_details"]["algo-1"]
    assert (found.triggered, entry["number_of_outliers"], entry["step_numbers"][:2]) == (1, 11, [5, 15])
    assert entry["step_stats"]["mean"] == pytest.approx(np.mean(durations), rel=1e-3)
    assert not ask("StepOutlier", seen, stddev="2", n_outliers="11").triggered


def test_the_first_step_may_come_late() -> None:
    seen = profile(cpu0=[1.0])
    assert ask("MaxInitializationTime", seen).note == NO_STEPS
    seen.add_trace(steps([1.0, 1.0], START + 120))
    assert ask("MaxInitializationTime", seen, threshold="1").triggered
    assert not ask("MaxInitializationTime", seen, threshold="3").triggered
    assert ask("MaxInitializationTime", seen).details["step_num"] == {"first": (START + 120) * 1e6, "last": (START + 121) * 1e6}


def test_the_framework_s_time_is_shared_out() -> None:
    seen = Profile()
    seen.add_trace(steps([1.0, 1.0]))
    named = [
        {"ph": "M", "name": "process_name", "pid": number, "args": {"name": f"{kind}-SubModuleInternal"}}
        for number, kind in ((1, "Forward"), (2, "Backward"))
    ]
    passes = [{"ph": "B", "name": "x", "pid": 1, "ts": 0}, {"ph": "E", "pid": 1, "ts": 10}, {"ph": "X", "name": "y", "pid": 2, "ts": 0, "dur": 30}]
    seen.add_trace([*named, *passes, {"ph": "E", "pid": 9, "ts": 1}])
    details = ask("OverallFrameworkMetrics", seen).details
    assert details["forward_backward"] == {"Forward pass": pytest.approx(25), "Backward pass": pytest.approx(75)}
    assert details["phase"] == {"Step:ModeKeys.TRAIN": pytest.approx(100), "others": pytest.approx(0, abs=1e-3)}


def test_too_few_processes_load_data() -> None:
    seen = profile(**{f"cpu{n}": [1.0] for n in range(4)})
    named = {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "DataLoaderWorker"}}
    seen.add_trace([named, *({"ph": "X", "name": "load", "pid": 1, "ts": n * 1e6, "dur": 5, "args": {"pid": 77}} for n in range(20))])
    found = ask("Dataloader", seen)
    assert (found.triggered, found.details["cores"], found.details["dataloaders"]) == (1, 4, 1)
    assert not ask("Dataloader", seen, min_threshold="25").triggered


def test_without_data_nothing_is_triggered_and_reports_say_why() -> None:
    reports = evaluate_all(Profile(), Options({}))
    assert sorted(reports) == sorted(RULES)
    assert not any(report.triggered or report.datapoints for report in reports.values())
    assert reports["LowGPUUtilization"].note == NO_GPU


def test_a_report_has_the_form_of_aws() -> None:
    options = Options({"cpubottleneck_cpu_threshold": "80", "StepOutlier_stddev": "2"})
    document = evaluate_all(Profile(), options)["CPUBottleneck"].document()
    assert document["RuleParameters"] == "threshold:50\ncpu_threshold:80\ngpu_threshold:10\npatience:100"
    assert sorted(document) == ["Datapoints", "Details", "RuleParameters", "RuleTriggered", "Violations"]


@pytest.mark.parametrize("value", ["many", "-1", "nan"])
def test_a_wrong_parameter_is_named(value: str) -> None:
    with pytest.raises(ValueError, match="patience"):
        ask("BatchSize", Profile(), patience=value)
