"""Batch transform while its parts are killed: the server, the record loop, the container."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.crash.world import BUCKET, World, until

pytestmark = pytest.mark.slow

ROWS = 2000
AGENT = "transform-job.000000000000.us-east-1.batch"


@pytest.fixture
def batch(world: World) -> World:
    """A job of many requests that is under way."""
    world.model("model")
    world.s3.put_object(Bucket=BUCKET, Key="in/a.csv", Body="".join(f"{n}\n" for n in range(ROWS)).encode())
    world.s3.put_object(Bucket=BUCKET, Key="in/b.csv", Body=b"x")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}
    world.sagemaker.create_transform_job(
        TransformJobName="batch",
        ModelName="model",
        BatchStrategy="SingleRecord",
        TransformInput={"DataSource": source, "SplitType": "Line"},
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/out", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    until(lambda: f"{AGENT}.driver" in world.agents() and (world.data / "run" / f"{AGENT}.replicas.json").exists())
    return world


def ended(world: World) -> dict[str, Any]:
    found: dict[str, Any] = until(
        lambda: (job := world.sagemaker.describe_transform_job(TransformJobName="batch"))["TransformJobStatus"] != "InProgress" and job
    )
    return found


def test_the_server_is_killed_and_nothing_is_lost_or_doubled(batch: World) -> None:
    for _ in range(3):
        batch.kill()
        batch.up()
    assert ended(batch)["TransformJobStatus"] == "Completed"
    answers = [json.loads(line) for line in batch.s3.get_object(Bucket=BUCKET, Key="out/a.csv.out")["Body"].read().splitlines()]
    assert [answer["body"] for answer in answers] == [str(n) for n in range(ROWS)]
    assert len({answer["pid"] for answer in answers}) == 1
    assert until(lambda: not [agent for agent in batch.agents() if agent.startswith(AGENT)])


def test_the_record_loop_is_killed(batch: World) -> None:
    batch.kill_agent(f"{AGENT}.driver")
    job = ended(batch)
    assert job["FailureReason"] == "InternalServerError: We encountered an internal error. Please try again."


def test_the_container_is_killed(batch: World) -> None:
    batch.kill_agent(f"{AGENT}.1-1")
    assert ended(batch)["FailureReason"] == "AlgorithmError: See job logs for more information"
