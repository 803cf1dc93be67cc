"""Managed spot training and checkpoints: interrupted jobs go on from what they have saved, and the bill says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server
from tests.stories.test_training_story import BUCKET, MAIN, channel, finished, request, until

# Counts to ten, saving each number; a first attempt waits after the third.
COUNT = """
import pathlib, time
home = pathlib.Path("/opt/ml/checkpoints"); saved = home / "n"
first = int(saved.read_text()) if saved.exists() else 0
print("from", first, flush=True)
for n in range(first + 1, 11):
    (home / "new").write_text(str(n)); (home / "new").rename(saved); print("at", n, flush=True)
    while n == 3 and first == 0: time.sleep(0.05)
pathlib.Path("/opt/ml/model/n").write_text(saved.read_text())
"""
SPOT = {"EnableManagedSpotTraining": True, "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}}
CHECKPOINTS = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints"}}

Start = Callable[..., None]


@pytest.fixture
def start(dewfall: Server) -> Start:
    """Create a job that counts."""
    dewfall.client("s3").create_bucket(Bucket=BUCKET)
    dewfall.client("s3").put_object(Bucket=BUCKET, Key="code/main.py", Body=COUNT.encode())

    def create(name: str = "job", **members: Any) -> None:
        asked = request(name) | CHECKPOINTS | members
        asked["AlgorithmSpecification"]["ContainerEntrypoint"] = ["python3", MAIN]
        asked["InputDataConfig"] = [channel("code", "code/")]
        dewfall.client("sagemaker").create_training_job(**asked)

    return create


def saved(dewfall: Server, prefix: str = "checkpoints") -> str:
    try:
        body: bytes = dewfall.client("s3").get_object(Bucket=BUCKET, Key=f"{prefix}/n")["Body"].read()
    except ClientError:
        return ""
    return body.decode()


def interrupt(dewfall: Server, name: str) -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(f"{dewfall.url}/_dewfall/interrupt/{name}", method="POST"), timeout=90) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def test_an_interrupted_job_goes_on_from_its_checkpoint(dewfall: Server, start: Start) -> None:
    start(**SPOT)
    until(lambda: saved(dewfall) == "3")  # stored while it runs
    assert interrupt(dewfall, "job") == {"interrupted": "job"}
    job = finished(dewfall, "job")
    statuses = [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
    again = ["Starting", "Downloading", "Training"]
    assert statuses == [*again, "Interrupted", *again, "Uploading", "Completed"]
    assert (job["TrainingJobStatus"], saved(dewfall)) == ("Completed", "10")
    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]


def test_a_stopped_job_s_checkpoints_are_stored(dewfall: Server, start: Start) -> None:
    start()
    sagemaker = dewfall.client("sagemaker")
    until(lambda: sagemaker.describe_training_job(TrainingJobName="job")["SecondaryStatus"] == "Training" and saved(dewfall) == "3")
    sagemaker.stop_training_job(TrainingJobName="job")
    assert (finished(dewfall, "job")["TrainingJobStatus"], saved(dewfall)) == ("Stopped", "3")
    start("second")
    assert (finished(dewfall, "second")["TrainingJobStatus"], saved(dewfall)) == ("Completed", "10")


def test_a_spot_job_waits_no_longer_than_it_may(dewfall: Server, start: Start) -> None:
    start(**SPOT | {"StoppingCondition": {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}})
    job = finished(dewfall, "job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) in [("Stopped", "MaxWaitTimeExceeded"), ("Stopped", "MaxRuntimeExceeded")]


def test_only_running_spot_jobs_are_interrupted(dewfall: Server, start: Start) -> None:
    start()
    with pytest.raises(urllib.error.HTTPError) as refusal:
        interrupt(dewfall, "job")
    assert b"Only running managed spot training jobs can be interrupted" in refusal.value.read()
    dewfall.client("sagemaker").stop_training_job(TrainingJobName="job")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}},
            "only supported when EnableManagedSpotTraining",
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 2_419_201}}, "'Longest run time for a training job' is 2419200 Seconds"),
        (SPOT | {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 50}}, "greater than or equal to MaxRuntimeInSeconds"),
    ],
)
def test_limits_must_fit_together(start: Start, members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        start(**members)


@pytest.mark.slow
def test_the_example_runs(dewfall: Server) -> None:
    keys = {"AWS_ENDPOINT_URL": dewfall.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    script = Path(__file__).parents[2] / "examples" / "spot_training.py"
    done = subprocess.run([sys.executable, str(script)], env={**os.environ, **keys}, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    path, first, second, bill = done.stdout.splitlines()
    assert path.endswith("Training → Interrupted → Starting → Downloading → Training → Uploading → Completed")
    assert (first, second != first) == ("going on from epoch 0", True)
    assert bill.endswith("% saved")


def test_a_running_job_s_profiling_can_be_updated(dewfall: Server, start: Start) -> None:
    start(ProfilerConfig={"DisableProfiler": True})
    sagemaker = dewfall.client("sagemaker")
    assert "ProfilerConfig" not in sagemaker.describe_training_job(TrainingJobName="job")
    rule = {"RuleConfigurationName": "cpu", "RuleEvaluatorImage": "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"}
    profiling = {"DisableProfiler": False, "S3OutputPath": f"s3://{BUCKET}/profile"}
    sagemaker.update_training_job(TrainingJobName="job", ProfilerConfig=profiling, ProfilerRuleConfigurations=[rule])
    job = sagemaker.describe_training_job(TrainingJobName="job")
    assert job["ProfilerConfig"] == {"ProfilingIntervalInMilliseconds": 500, **profiling}
    sagemaker.update_training_job(TrainingJobName="job", ProfilerConfig={"ProfilingIntervalInMilliseconds": 1000, "ProfilingParameters": {}})
    job = sagemaker.describe_training_job(TrainingJobName="job")
    assert job["ProfilerConfig"] == {"ProfilingIntervalInMilliseconds": 1000, "ProfilingParameters": {}, **profiling}
    assert [status["RuleConfigurationName"] for status in job["ProfilerRuleEvaluationStatuses"]] == ["cpu"]
    with pytest.raises(ClientError, match="it has no warm pool"):
        sagemaker.update_training_job(TrainingJobName="job", ResourceConfig={"KeepAlivePeriodInSeconds": 60})
    sagemaker.stop_training_job(TrainingJobName="job")
