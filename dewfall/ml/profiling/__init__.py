"""Rules that look at how a training job used its instances, as AWS's Profiler names and parameterizes them.

`RULES[name](profile, options)` looks at everything measured so far and gives a Report; ProfilerReport is all of them.

>>> from dewfall.ml.profiling.profile import Profile
>>> RULES["LowGPUUtilization"](Profile(), Options()).triggered
0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dewfall.ml.debugging.trial import Options
from dewfall.ml.profiling import timing, utilization
from dewfall.ml.profiling.profile import Profile
from dewfall.ml.profiling.report import Report

Rule = Callable[[Profile, Options], Report]

RULES: Mapping[str, Rule] = {
    "BatchSize": utilization.batch_size,
    "CPUBottleneck": utilization.cpu_bottleneck,
    "Dataloader": timing.dataloader,
    "GPUMemoryIncrease": utilization.gpu_memory_increase,
    "IOBottleneck": utilization.io_bottleneck,
    "LoadBalancing": utilization.load_balancing,
    "LowGPUUtilization": utilization.low_gpu_utilization,
    "MaxInitializationTime": timing.max_initialization_time,
    "OverallFrameworkMetrics": timing.overall_framework_metrics,
    "OverallSystemUsage": utilization.overall_system_usage,
    "StepOutlier": timing.step_outlier,
}


def options_of(rule: str, options: Options) -> Options:
    """What ProfilerReport's options say to one of its rules: those that begin with the rule's name, in letters of any case.

    >>> options_of("CPUBottleneck", Options({"cpubottleneck_cpu_threshold": "80", "BatchSize_window": "9"})).given
    {'cpu_threshold': '80'}
    """
    mine = {name: value for name, value in options.given.items() if name.lower().startswith(f"{rule.lower()}_")}
    return Options({name[len(rule) + 1 :]: value for name, value in mine.items()})


def evaluate_all(profile: Profile, options: Options) -> dict[str, Report]:
    """Every rule's report by its name, with ProfilerReport's options. Raises ValueError naming a parameter that is wrong."""
    return {name: rule(profile, options_of(name, options)) for name, rule in RULES.items()}
