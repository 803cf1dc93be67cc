"""Training jobs outlive the server's death; a lost agent is retried as often as the job says."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing import Server, start, stop

pytestmark = pytest.mark.slow

BUCKET = "crash"
CODE = "import time\nfor n in range(20): print(f'loss={n}', flush=True); time.sleep(0.1)\nopen('/opt/ml/model/m', 'w').write('x')"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = start(tmp_path / "data")
    s3 = server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="code/main.py", Body=CODE.encode())
    yield server
    if server.process.poll() is None:
        stop(server)


def create(server: Server, name: str, **members: Any) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/code/"}
    server.client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn="arn:aws:iam::000000000000:role/DewfallExecutionRole",
        AlgorithmSpecification={
            "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/main.py"],
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        InputDataConfig=[{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        **members,
    )


def finished(server: Server, name: str) -> dict[str, Any]:
    sagemaker = server.client("sagemaker")
    described: dict[str, Any] = {"TrainingJobStatus": "InProgress"}
    while described["TrainingJobStatus"] == "InProgress":
        described = sagemaker.describe_training_job(TrainingJobName=name)
    return described


def kill_agent(server: Server, name: str) -> None:
    sagemaker = server.client("sagemaker")
    while sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"] != "Training":
        pass
    (folder,) = (server.data / "jobs").glob(f"training-job.*.{name}.*-1")
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)


def test_jobs_do_not_notice_that_the_server_was_killed(server: Server) -> None:
    names = [f"job{n}" for n in range(5)]
    for name in names:
        create(server, name)
    server.process.kill()
    server.process.wait()
    again = start(server.data)
    try:
        assert {finished(again, name)["TrainingJobStatus"] for name in names} == {"Completed"}
        components = [again.client("sagemaker").describe_trial_component(TrialComponentName=f"{name}-aws-training-job") for name in names]
        assert [component["Metrics"][0]["Count"] for component in components] == [20] * len(names)
    finally:
        stop(again)


def test_a_lost_agent_fails_the_job(server: Server) -> None:
    create(server, "job")
    kill_agent(server, "job")
    assert finished(server, "job")["FailureReason"].startswith("InternalServerError:")


def test_a_lost_agent_is_tried_again_when_the_job_says_so(server: Server) -> None:
    create(server, "job", RetryStrategy={"MaximumRetryAttempts": 1})
    create(server, "other")
    kill_agent(server, "job")
    job = finished(server, "job")
    assert (job["TrainingJobStatus"], finished(server, "other")["TrainingJobStatus"]) == ("Completed", "Completed")
    assert "Restarting" in [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
