"""When a tuning job ends, and which trials it stops early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dewfall.services.sagemaker.tuning_decisions import ending, failure, laggards
from dewfall.services.sagemaker.tuning_status import Trial, completion_details, results
from dewfall.services.sagemaker.tuning_trials import trial_request

START = datetime(2026, 1, 1, tzinfo=UTC)


def trial(number: int, value: float | None = None, status: str = "Completed", kind: str = "Maximize") -> Trial:
    document = {
        "TrainingJobName": f"t{number}",
        "TrainingJobArn": f"arn:t{number}",
        "TuningJobArn": "arn:tuning/t",
        "CreationTime": START,
        "LastModifiedTime": START + timedelta(seconds=number),
        "TrainingJobStatus": status,
        "FailureReason": "AlgorithmError: , exit code: 1",
        "Trial": {"Number": number, "Definition": "", "Tuned": {"x": "1"}},
    }
    return Trial(document, {"Type": kind, "MetricName": "m"}, value)


def job(limits: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    standard = {"Strategy": "Bayesian", "ResourceLimits": limits or {}}
    definition = {"TuningObjective": {"Type": "Maximize", "MetricName": "m"}}
    return {"CreationTime": START, "HyperParameterTuningJobConfig": standard | config, "TrainingJobDefinition": definition}


def ends(document: dict[str, Any], trials: list[Trial], seconds: int = 0) -> bool:
    return ending(document, trials, START + timedelta(seconds=seconds)) is not None


def test_each_trial_has_checkpoints_of_its_own() -> None:
    definition = {
        "TuningObjective": {"MetricName": "m"},
        "CheckpointConfig": {"S3Uri": "s3://b/c/", "LocalPath": "/opt/ml/x"},
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 2},
        "ResourceConfig": {},
    }
    request = trial_request({"HyperParameterTuningJobName": "t"}, definition, 7, {"x": "1"}, "abc")
    assert request["CheckpointConfig"] == {"S3Uri": "s3://b/c/t-007-abc", "LocalPath": "/opt/ml/x"}
    assert request["EnableManagedSpotTraining"]
    assert request["StoppingCondition"]["MaxWaitTimeInSeconds"] == 2
    assert definition["CheckpointConfig"] == {"S3Uri": "s3://b/c/", "LocalPath": "/opt/ml/x"}


def test_time_runs_out() -> None:
    assert not ends(job({"MaxRuntimeInSeconds": 120}), [], 119)
    assert ends(job({"MaxRuntimeInSeconds": 120}), [], 120)


@pytest.mark.parametrize(
    ("kind", "value", "target", "met"), [("Maximize", 0.9, 0.8, True), ("Maximize", 0.7, 0.8, False), ("Minimize", 0.7, 0.8, True)]
)
def test_a_target_is_met(kind: str, value: float, target: float, met: bool) -> None:
    assert ends(job(TuningJobCompletionCriteria={"TargetObjectiveMetricValue": target}), [trial(1, value, kind=kind)]) is met


def test_trials_that_do_not_improve_end_the_search() -> None:
    document = job(TuningJobCompletionCriteria={"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}})
    values = [1.0, 5.0, 2.0, 3.0, 4.0]
    assert not ends(document, [trial(n, value) for n, value in enumerate(values[:-1])])
    assert ends(document, [trial(n, value) for n, value in enumerate(values)])
    assert completion_details(document, [trial(n, value) for n, value in enumerate(values)]) == {"NumberOfTrainingJobsObjectiveNotImproving": 3}


def test_convergence_tells_its_time() -> None:
    document = job(TuningJobCompletionCriteria={"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}})
    trials = [trial(n, min(n, 8.0)) for n in range(30)]
    assert ends(document, trials)
    assert not ends(job(), trials)
    assert completion_details(job(), trials)["ConvergenceDetectedTime"] == START + timedelta(seconds=19)


def test_five_failures_without_a_success_are_enough() -> None:
    failed = [trial(n, status="Failed") for n in range(5)]
    assert not ends(job(), failed[:4])
    assert not ends(job(), [trial(9, 1.0), *failed])
    found = ending(job(), failed, START)
    assert found is not None
    assert found.reason.startswith("No training job succeeded after 5 attempts.")


def test_five_trials_without_the_metric_are_enough() -> None:
    found = ending(job(), [trial(n) for n in range(5)], START)
    assert found is not None
    assert found.reason.startswith("No objective metrics found after running 5 training jobs.")


def test_the_reason_of_a_job_without_result() -> None:
    assert failure([trial(1, 1.0), trial(2, status="Failed")]) == ""
    assert failure([trial(1, status="Failed")]).startswith("All training jobs failed.")
    assert failure([trial(1), trial(2, status="Failed")]).startswith("No objective metrics found")


def test_early_stopping_ends_running_trials_that_do_worse_than_most() -> None:
    trials = [*(trial(n, float(n)) for n in range(1, 5)), trial(5, status="InProgress"), trial(6, status="InProgress")]
    curves = {"t1": [1.0, 1.0], "t2": [2.0, 2.0], "t3": [3.0, 3.0], "t4": [4.0, 4.0], "t5": [1.0, 2.4], "t6": [1.0, 2.6]}
    assert [one.name for one in laggards(job(TrainingJobEarlyStoppingType="Auto"), trials, curves)] == ["t5"]


def test_counters_and_the_best() -> None:
    lost = trial(4, status="Failed")
    lost.document["FailureReason"] = "InternalServerError: We encountered an internal error."
    trials = [trial(1, 0.5), trial(2, 0.5), trial(3, 0.1, "Stopped"), lost, trial(5, status="Failed"), trial(6, status="InProgress")]
    found = results(job(), trials, START + timedelta(seconds=90))
    assert found["TrainingJobStatusCounters"] == {"Completed": 2, "InProgress": 1, "RetryableError": 1, "NonRetryableError": 1, "Stopped": 1}
    assert found["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 1, "Failed": 2}
    assert found["BestTrainingJob"]["TrainingJobName"] == "t1"
    assert found["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"] == {"Type": "Maximize", "MetricName": "m", "Value": 0.5}
    assert found["ConsumedResources"] == {"RuntimeInSeconds": 90}
