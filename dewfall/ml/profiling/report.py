"""What a profiler rule has found, in the form that AWS's rules leave in `profiler-reports/<Rule>.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dewfall.ml.debugging.trial import Options

NO_GPU = "No GPU data: the job's instances have no GPU that is measured, so this rule is not triggered."
NO_IO = "No I/O wait data: what is measured of the job's instances does not say how long they wait for their disks."
NO_STEPS = "No step data: the job's framework has left no steps in profiler-output/framework."
NO_LOADERS = "No data loading metrics: the job's framework has left none in profiler-output/framework."


@dataclass(frozen=True, slots=True)
class Report:
    """A rule's findings. `triggered`: how often its condition was met; `violations`: measurements beyond its limits, of `datapoints`."""

    triggered: int = 0
    violations: int = 0
    datapoints: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""  # why it could not look

    def document(self) -> dict[str, Any]:
        """The report as AWS writes it.

        >>> Report(datapoints=3, parameters={"threshold": 20.0}).document()["RuleParameters"]
        'threshold:20'
        """
        told = [f"{name}:{value:g}" if isinstance(value, float) else f"{name}:{value}" for name, value in self.parameters.items()]
        return {
            "RuleTriggered": self.triggered,
            "Violations": self.violations,
            "Details": dict(self.details),
            "Datapoints": self.datapoints,
            "RuleParameters": "\n".join(told),
        }


def limits(options: Options, **defaults: float) -> dict[str, float]:
    """The rule's parameters that are numbers, by name. Raises ValueError naming one that is none, or is negative."""
    found = {name: options.number(name, default) for name, default in defaults.items()}
    for name, value in found.items():
        if not value >= 0:
            raise ValueError(f"{name} must be a number of at least 0, not {value:g}")
    return found
