"""What may happen next in a tuning job: whether it ends and how, and which trials are stopped early. Pure: values in, values out.

Why apart from the step: these are AWS's rules, and they are tested without a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dewfall.services.sagemaker.tuning_status import Trial, completion_details, definitions_of, hyperband_resources, in_order_of_end

ATTEMPTS = 5  # trials without a success after which a tuning job gives up
NONE_SUCCEEDED = "No training job succeeded after {count} attempts. Please take a look at the training job failures to get more details."
ALL_FAILED = "All training jobs failed. Please take a look at the training job failures to get more details."
NO_OBJECTIVE = (
    "No objective metrics found after running {count} training jobs. Please ensure that the custom algorithm is emitting the objective metric as"
    " defined by the regular expression provided."
)


@dataclass(frozen=True, slots=True)
class Ending:
    """No more trials are started, and those that run are stopped. `reason`: of a failure."""

    reason: str = ""


def ending(document: dict[str, Any], trials: Sequence[Trial], now: datetime) -> Ending | None:
    """Whether the job comes to its end before all its trials have; None while it goes on."""
    config = document["HyperParameterTuningJobConfig"]
    over = [trial for trial in trials if trial.is_over]
    scored = in_order_of_end(over)
    hopeless = _hopeless(over, scored)
    if hopeless:
        return Ending(reason=hopeless)
    runtime = config["ResourceLimits"].get("MaxRuntimeInSeconds")
    if runtime and (now - document["CreationTime"]).total_seconds() >= runtime:
        return Ending()
    return Ending() if _is_met(config.get("TuningJobCompletionCriteria", {}), scored, completion_details(document, over)) else None


def failure(trials: Sequence[Trial]) -> str:
    """Why a job whose trials are all over has failed; "" when it has a result."""
    if any(trial.value is not None for trial in trials) or not trials:
        return ""
    return ALL_FAILED if all(trial.has_failed for trial in trials) else NO_OBJECTIVE.format(count=len(trials))


def laggards(document: dict[str, Any], trials: Sequence[Trial], curves: Mapping[str, Sequence[float]]) -> list[Trial]:
    """Running trials that early stopping or Hyperband ends. `curves`: objective values by training job."""
    from dewfall.ml.tuning import Resources, falls_behind, stops_early

    config = document["HyperParameterTuningJobConfig"]
    resources = {one.get("DefinitionName", ""): Resources(*hyperband_resources(config, one)) for one in definitions_of(document)}
    found = []
    for trial in trials:
        if trial.status != "InProgress":
            continue
        others = [other for other in trials if other is not trial and other.definition == trial.definition and not other.has_failed]
        maximize = trial.objective["Type"] == "Maximize"
        if config["Strategy"] == "Hyperband":
            reached = [curves[other.name] for other in others]
            behind = falls_behind(curves[trial.name], reached, resources[trial.definition], number=trial.number, maximize=maximize)
        else:
            finished = [curves[other.name] for other in others if other.status == "Completed"]
            behind = stops_early(curves[trial.name], finished, maximize=maximize)
        if behind:
            found.append(trial)
    return found


def looks_at_curves(config: dict[str, Any]) -> bool:
    """Whether running trials may be stopped early."""
    return bool(config["Strategy"] == "Hyperband" or config.get("TrainingJobEarlyStoppingType") == "Auto")


def _hopeless(over: Sequence[Trial], scored: Sequence[Trial]) -> str:
    if scored or len(over) < ATTEMPTS:
        return ""
    if all(trial.has_failed for trial in over):
        return NONE_SUCCEEDED.format(count=ATTEMPTS)
    completed = sum(trial.status == "Completed" for trial in over)
    return NO_OBJECTIVE.format(count=completed) if completed >= ATTEMPTS else ""


def _is_met(criteria: dict[str, Any], scored: Sequence[Trial], details: dict[str, Any]) -> bool:
    """Whether a completion criterion is met. With several definitions scores are compared as they are."""
    if not criteria or not scored:
        return False
    target = criteria.get("TargetObjectiveMetricValue")
    if target is not None and max(trial.score for trial in scored) >= (target if scored[0].objective["Type"] == "Maximize" else -target):
        return True
    patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
    if patience and details["NumberOfTrainingJobsObjectiveNotImproving"] >= patience:
        return True
    return criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled" and "ConvergenceDetectedTime" in details
