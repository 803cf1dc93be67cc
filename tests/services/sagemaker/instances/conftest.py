"""A server with room for several instances, and training jobs of several instances in one line each."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing import Server, running

ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
BUCKET = "instances"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/plain:1"
SLOTS = 3


class Jobs:
    """Clients, and jobs that run Python code on several instances."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sagemaker = server.client("sagemaker")
        self.s3 = server.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)

    def put(self, **files: str) -> None:
        """Objects in/<name>."""
        for name, text in files.items():
            self.s3.put_object(Bucket=BUCKET, Key=f"in/{name}", Body=text.encode())

    def create(self, code: str, name: str = "job", count: int = 2, *, channels: tuple[dict[str, Any], ...] = (), **members: Any) -> None:
        """A training job of `count` instances that runs the code; `channels` besides the code's own."""
        self.s3.put_object(Bucket=BUCKET, Key=f"code/{name}/main.py", Body=code.encode())
        asked = {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": [{"Name": "m", "Regex": "m=(.*)"}]},
            "InputDataConfig": [channel("code", f"code/{name}/"), *channels],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        }
        self.sagemaker.create_training_job(**(asked | members))

    def train(self, code: str, name: str = "job", count: int = 2, **members: Any) -> dict[str, Any]:
        """Create it and wait for its end."""
        self.create(code, name, count, **members)
        return self.ended(name)

    def describe(self, name: str = "job") -> dict[str, Any]:
        found: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return found

    def ended(self, name: str = "job") -> dict[str, Any]:
        """The job, once it has ended however."""
        waiter = self.sagemaker.get_waiter("training_job_completed_or_stopped")
        try:
            waiter.wait(TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 90})
        except Exception as problem:
            if "terminal failure" not in str(problem):
                raise
        return self.describe(name)

    def prints(self, text: str, name: str = "job") -> None:
        """Wait until every host of the job has printed a line of this text."""
        hosts = self.describe(name)["ResourceConfig"]["InstanceCount"]
        while sum(text in lines for lines in self.logs(name).values()) < hosts:
            pass

    def logs(self, name: str = "job") -> dict[str, list[str]]:
        """Lines by host."""
        logs, group = self.server.client("logs"), "/aws/sagemaker/TrainingJobs"
        found = {}
        try:
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        except logs.exceptions.ResourceNotFoundException:  # nobody has printed anything yet
            streams = []
        for stream in streams:
            events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)["events"]
            host = "-".join(stream["logStreamName"].rpartition("/")[2].split("-")[:2])
            found[host] = [event["message"] for event in events]
        return found

    def archive(self, what: str = "model", name: str = "job") -> dict[str, str]:
        """The files of model.tar.gz or output.tar.gz."""
        body = self.s3.get_object(Bucket=BUCKET, Key=f"out/{name}/output/{what}.tar.gz")["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            return {member.name: archive.extractfile(member).read().decode() for member in archive if member.isfile()}  # type: ignore[union-attr]


def channel(name: str, prefix: str, **source: Any) -> dict[str, Any]:
    """One of InputDataConfig; `source`: further members of S3DataSource."""
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}", **source}}}


@pytest.fixture(scope="session")
def instances_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: it must know the image, and have room."""
    images: Path = tmp_path_factory.mktemp("instances") / "images.json"
    command = ["python", "/opt/ml/input/data/code/main.py"]
    images.write_text(json.dumps({"*/plain:*": {"train": command}}))
    with running(environment={**os.environ, "DEWFALL_IMAGES": str(images), "DEWFALL_JOBS": str(SLOTS)}) as server:
        yield server


@pytest.fixture
def jobs(instances_server: Server) -> Iterator[Jobs]:
    """Empty but for a bucket."""
    yield Jobs(instances_server)
    instances_server.reset()
