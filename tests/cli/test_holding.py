"""Which reads are held: a waiter's and an SDK's, never a person's; and what ends a hold."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dewfall.holding import SDK_SECONDS, WAITER_SECONDS, WATCHED, hold_seconds, is_sagemaker_sdk, is_waiter, poll_seconds
from dewfall.testing_server import Server

PERSON = {"user-agent": "Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux lang/python#3.11 m/D,Z,b Botocore/1.40.0"}
WAITER = {"user-agent": "Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux lang/python#3.11 m/D,B,b Botocore/1.40.0"}
SDK_V2 = {"user-agent": "Boto3/1.40.0 AWS-SageMaker-Python-SDK/2.257.0 Python/3.11 m/D,b"}
SDK_V3 = {"user-agent": "Boto3/1.40.0 lib/AWS-SageMaker-Python-SDK#3.0.0 m/D,b"}
JOB = WATCHED["DescribeTrainingJob"]
OLD = {"TrainingJobStatus": "InProgress", "CreationTime": 1000.0}


@pytest.mark.parametrize(
    ("headers", "first", "seconds"),
    [
        (PERSON, True, 0.0),
        ({}, True, 0.0),
        (WAITER, False, WAITER_SECONDS),
        (WAITER | {"amz-sdk-request": "attempt=1; max=5"}, False, WAITER_SECONDS),
        (WAITER | {"amz-sdk-request": "attempt=2; max=5"}, False, 0.0),
        (SDK_V2, True, SDK_SECONDS),
        (SDK_V3, True, SDK_SECONDS),
        (SDK_V2, False, 0.0),
    ],
)
def test_who_is_held(headers: dict[str, str], first: bool, seconds: float) -> None:
    assert hold_seconds(headers, OLD, JOB, 1010.0, first=first) == seconds


def test_an_sdk_that_has_just_created_its_job_is_not_held() -> None:
    assert hold_seconds(SDK_V2, OLD, JOB, 1001.0, first=True) == 0.0


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_what_is_over_is_told_at_once(status: str) -> None:
    assert hold_seconds(WAITER, {"TrainingJobStatus": status}, JOB, 1010.0, first=True) == 0.0


def test_a_feature_that_only_begins_with_b_is_no_waiter() -> None:
    assert not is_waiter({"user-agent": "Boto3 m/D,BB,b"})
    assert not is_waiter({"user-agent": "Boto3 x/B"})
    assert not is_sagemaker_sdk(PERSON)


@pytest.mark.parametrize(("asked", "queue", "seconds"), [(5, 0, 5.0), ("5", 0, 5.0), (500, 0, 20.0), (None, 3, 3.0), (None, 0, 0.0), ("x", 9, 0.0)])
def test_long_polls(asked: object, queue: object, seconds: float) -> None:
    assert poll_seconds(asked, queue) == seconds


def held(server: Server) -> int:
    count: int = server.ask("/_dewfall/health")["held_reads"]
    return count


def create_job(server: Server, name: str, program: str) -> None:
    """A training job of our own that runs a shell line."""
    server.client("s3").create_bucket(Bucket="held")
    server.client("sagemaker").create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={
            "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["sh", "-c", program],
        },
        RoleArn="arn:aws:iam::000000000000:role/DewfallExecutionRole",
        OutputDataConfig={"S3OutputPath": "s3://held/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )


def test_a_waiter_asks_once(dewfall: Server) -> None:
    before, sagemaker, asked = held(dewfall), dewfall.client("sagemaker"), []
    create_job(dewfall, "short", "sleep 0.3")
    sagemaker.meta.events.register("before-send.sagemaker.DescribeTrainingJob", lambda **_: asked.append(1))
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="short")
    assert sagemaker.describe_training_job(TrainingJobName="short")["TrainingJobStatus"] == "Completed"
    assert len(asked) == 2
    assert held(dewfall) == before + 1


def test_a_persons_describe_is_never_held(dewfall: Server) -> None:
    before, sagemaker = held(dewfall), dewfall.client("sagemaker")
    create_job(dewfall, "long", "sleep 600")
    for _ in range(5):
        assert sagemaker.describe_training_job(TrainingJobName="long")["TrainingJobStatus"] == "InProgress"
    assert held(dewfall) == before


@contextmanager
def asking(server: Server, headers: str) -> Iterator[socket.socket]:
    """A raw DescribeTrainingJob that somebody waits for."""
    body = '{"TrainingJobName": "long"}'
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=90) as connection:
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: {host}\r\nX-Amz-Target: SageMaker.DescribeTrainingJob\r\nContent-Type: application/x-amz-json-1.1\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=0\r\n"
            f"{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        yield connection


def wait_for(condition: Any) -> None:
    """The server is asked until it says so."""
    while not condition():
        time.sleep(0.05)


def test_a_hold_ends_with_its_job(dewfall: Server) -> None:
    before = held(dewfall)
    create_job(dewfall, "long", "sleep 600")
    with asking(dewfall, f"User-Agent: {WAITER['user-agent']}\r\n") as connection:
        wait_for(lambda: held(dewfall) == before + 1)
        dewfall.client("sagemaker").stop_training_job(TrainingJobName="long")
        answer = connection.recv(65536).decode()
    assert '"TrainingJobStatus": "Stopped"' in answer or '"TrainingJobStatus":"Stopped"' in answer


def test_a_client_that_leaves_ends_its_hold(dewfall: Server) -> None:
    before = held(dewfall)
    create_job(dewfall, "long", "sleep 600")
    with asking(dewfall, f"User-Agent: {WAITER['user-agent']}\r\n"):
        wait_for(lambda: held(dewfall) == before + 1)
        assert dewfall.ask("/_dewfall/health")["holding"] == 1
    wait_for(lambda: dewfall.ask("/_dewfall/health")["holding"] == 0)
