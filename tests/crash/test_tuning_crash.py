"""A tuning job goes on where it was when the server is killed, and ends with the trials that it would have had."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.world import BUCKET, PLAIN, ROLE, World, until

pytestmark = pytest.mark.slow

CODE = """
import json, time
x = float(json.load(open("/opt/ml/input/config/hyperparameters.json"))["x"])
time.sleep(0.3)
print("loss=%.6f" % (x - 0.3) ** 2)
"""


def tune(world: World, name: str, killed_after: tuple[int, ...] = ()) -> dict[str, Any]:
    """Run a tuning job one trial at a time, killing the server whenever so many trials have been started."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/code/"}
    world.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]},
            "RandomSeed": 5,
        },
        TrainingJobDefinition={
            "AlgorithmSpecification": {
                "TrainingImage": PLAIN,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
            },
            "RoleArn": ROLE,
            "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    )
    for count in killed_after:
        kill_after(world, name, count)
    until(lambda: describe(world, name)["HyperParameterTuningJobStatus"] != "InProgress")
    return describe(world, name)


def kill_after(world: World, name: str, count: int) -> None:
    until(lambda: len(trials(world, name)) >= count)
    world.kill()
    world.up()


def describe(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = world.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return found


def trials(world: World, name: str) -> list[dict[str, str]]:
    sagemaker = world.sagemaker
    found = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name, MaxResults=100, SortBy="CreationTime")
    return [one["TunedHyperParameters"] for one in found["TrainingJobSummaries"]]


def test_a_killed_server_changes_nothing_about_the_search(world: World) -> None:
    world.s3.put_object(Bucket=BUCKET, Key="code/main.py", Body=CODE.encode())
    plain, killed = tune(world, "plain"), tune(world, "killed", killed_after=(2, 4, 7))
    assert killed["HyperParameterTuningJobStatus"] == "Completed"
    assert killed["TrainingJobStatusCounters"] == plain["TrainingJobStatusCounters"]
    assert trials(world, "killed") == trials(world, "plain")
