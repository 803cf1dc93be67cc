"""Warm pools: what one job leaves in its cache the next matching one finds, and the statuses that tell of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.rules.warm_pools import is_kept, status_at, traits
from dewfall.testing import Server
from tests.stories.test_training_story import BUCKET, channel, finished, log_of, request

CODE = (
    "import os; at = os.environ['SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY']; print('cache', sorted(os.listdir(at)), flush=True); "
    "open(f'{at}/{os.environ[\"TRAINING_JOB_NAME\"]}', 'w').close()"
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)

Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(dewfall: Server) -> Train:
    """Run a job that lists the pool's cache and leaves a file there."""
    dewfall.client("s3").create_bucket(Bucket=BUCKET)
    dewfall.client("s3").put_object(Bucket=BUCKET, Key="data/x", Body=b"x")

    def run(name: str, keep: int = 600, **members: Any) -> dict[str, Any]:
        asked = request(name) | {"InputDataConfig": [channel("train", "data/")]} | members
        asked["AlgorithmSpecification"]["ContainerEntrypoint"] = ["python3", "-c", CODE]
        asked["ResourceConfig"]["KeepAlivePeriodInSeconds"] = keep
        dewfall.client("sagemaker").create_training_job(**asked)
        job = finished(dewfall, name)
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        return job

    return run


def cache(dewfall: Server, name: str) -> list[str]:
    return [line for line in log_of(dewfall, name) if line.startswith("cache")]


def test_a_matching_job_takes_the_pool_over(dewfall: Server, train: Train) -> None:
    assert train("first")["WarmPoolStatus"] == {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 0}
    assert train("second")["WarmPoolStatus"]["Status"] == "Available"
    first = dewfall.client("sagemaker").describe_training_job(TrainingJobName="first")["WarmPoolStatus"]
    assert (first["Status"], first["ReusedByJob"]) == ("Reused", "second")
    assert (cache(dewfall, "first"), cache(dewfall, "second")) == (["cache []"], ["cache ['first']"])
    listed = dewfall.client("sagemaker").list_training_jobs(WarmPoolStatusEquals="Available")["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in listed] == ["second"]


def test_another_role_gets_instances_of_its_own(dewfall: Server, train: Train) -> None:
    train("first")
    train("second", RoleArn="arn:aws:iam::000000000000:role/Another")
    assert cache(dewfall, "second") == ["cache []"]


def test_an_update_ends_the_pool_and_lets_the_job_be_deleted(dewfall: Server, train: Train) -> None:
    train("first")
    sagemaker = dewfall.client("sagemaker")
    with pytest.raises(ClientError, match="retains a warm pool"):
        sagemaker.delete_training_job(TrainingJobName="first")
    sagemaker.update_training_job(TrainingJobName="first", ResourceConfig={"KeepAlivePeriodInSeconds": 0})
    assert sagemaker.describe_training_job(TrainingJobName="first")["WarmPoolStatus"]["Status"] == "Terminated"
    with pytest.raises(ClientError, match="cannot be updated because its warm pool is in status Terminated"):
        sagemaker.update_training_job(TrainingJobName="first", ResourceConfig={"KeepAlivePeriodInSeconds": 60})
    sagemaker.delete_training_job(TrainingJobName="first")
    train("second")
    assert cache(dewfall, "second") == ["cache []"]


def test_spot_capacity_is_not_kept(train: Train) -> None:
    with pytest.raises(ClientError, match="KeepAlivePeriodInSeconds is not supported"):
        train("job", EnableManagedSpotTraining=True, StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60})


def test_a_pool_is_over_with_its_period() -> None:
    available = {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 0}
    assert status_at(available, NOW, 60, NOW + timedelta(seconds=59)) == {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 59}
    assert status_at(available, NOW, 60, NOW + timedelta(seconds=60)) == {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 60}


def test_instances_that_failed_are_not_kept() -> None:
    job = {"ResourceConfig": {"KeepAlivePeriodInSeconds": 60}}
    assert is_kept(job | {"FailureReason": "AlgorithmError: no"})
    assert not is_kept(job | {"FailureReason": "InternalServerError: no"})


def test_size_and_network_must_match() -> None:
    job = {"RoleArn": "r", "ResourceConfig": {"InstanceType": "a"}, "EnableInterContainerTrafficEncryption": False, "EnableNetworkIsolation": False}
    assert traits(job) == traits(job | {"ResourceConfig": {"InstanceType": "a", "KeepAlivePeriodInSeconds": 9}})
    assert traits(job) != traits(job | {"VpcConfig": {"Subnets": ["s"], "SecurityGroupIds": []}})
