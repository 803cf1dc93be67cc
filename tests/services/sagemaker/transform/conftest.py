"""A server that knows the image `batch`, and transform jobs in one line each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing import Server, running

ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
BUCKET = "batch-tests"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/batch:latest"


class Transforms:
    """Clients, a model `model`, and jobs."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sagemaker = server.client("sagemaker")
        self.logs = server.client("logs")
        self.s3 = server.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)

    def model(self, **environment: str) -> None:
        container = {"Image": IMAGE, "Environment": environment}
        self.sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, PrimaryContainer=container)

    def put(self, files: dict[str, bytes]) -> None:
        for key, body in files.items():
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def create(self, name: str = "job", source: dict[str, Any] | None = None, target: dict[str, Any] | None = None, **members: Any) -> str:
        """Over everything beneath in/, to out/; `source` and `target` are further members of TransformInput and TransformOutput."""
        data = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}
        request: dict[str, Any] = {
            "TransformJobName": name,
            "ModelName": "model",
            "TransformInput": {"DataSource": data, **(source or {})},
            "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out", **(target or {})},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        }
        arn: str = self.sagemaker.create_transform_job(**{**request, **members})["TransformJobArn"]
        return arn

    def run(self, name: str = "job", **members: Any) -> dict[str, Any]:
        """Create it and describe it when it has ended."""
        self.create(name, **members)
        return self.ended(name)

    def ended(self, name: str = "job") -> dict[str, Any]:
        from botocore.exceptions import WaiterError

        try:
            self.sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName=name)
        except WaiterError as error:
            if "Failed" not in str(error):
                raise
        found: dict[str, Any] = self.sagemaker.describe_transform_job(TransformJobName=name)
        return found

    def outputs(self) -> dict[str, bytes]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix="out/").get("Contents", [])
        return {entry["Key"]: self.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read() for entry in listed}

    def told(self) -> list[dict[str, Any]]:
        """Every answer of a container in MODE=tell, of jobs that assemble lines."""
        return [json.loads(line) for body in self.outputs().values() for line in body.splitlines()]

    def log(self, ending: str = "/data-log") -> str:
        """The text of the job's streams with this ending."""
        group = "/aws/sagemaker/TransformJobs"
        names = [stream["logStreamName"] for stream in self.logs.describe_log_streams(logGroupName=group)["logStreams"]]
        found = [self.logs.get_log_events(logGroupName=group, logStreamName=name)["events"] for name in names if name.endswith(ending)]
        return "\n".join(event["message"] for events in found for event in events)


@pytest.fixture(scope="session")
def batch_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: it must know the image."""
    file = tmp_path_factory.mktemp("batch") / "images.json"
    file.write_text(json.dumps({"*/batch:*": {"serve": ["python", str(Path(__file__).with_name("batch_model.py"))]}}))
    with running(environment={**os.environ, "DEWFALL_IMAGES": str(file)}) as server:
        yield server


@pytest.fixture
def transforms(batch_server: Server) -> Iterator[Transforms]:
    """Empty but for a bucket."""
    yield Transforms(batch_server)
    batch_server.reset()
