"""Managed spot training when everything dies: the server, the agent, or by chance; nothing is lost that was saved."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.world import BUCKET, World, until

pytestmark = pytest.mark.slow

# Counts to thirty by tenths of a second, saving each number and saying where it began.
COUNT = """
import pathlib, time
home = pathlib.Path("/opt/ml/checkpoints"); saved = home / "n"
first = int(saved.read_text()) if saved.exists() else 0
print("from", first, flush=True)
for n in range(first + 1, 31):
    time.sleep(0.1); (home / "new").write_text(str(n)); (home / "new").rename(saved); print("at", n, flush=True)
"""
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
    "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints"},
}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[World] = []

    def world(**environment: str) -> World:
        made.append(World(tmp_path, **environment))
        return made[-1]

    yield world
    for one in made:
        one.down()


def interrupt(world: World, job: str) -> None:
    request = urllib.request.Request(f"{world.server.url}/_dewfall/interrupt/{job}", method="POST")
    urllib.request.urlopen(request, timeout=90).close()


def beginnings(world: World, job: str) -> list[int]:
    """Where each attempt went on; no attempt may have lost more than the number it was at."""
    lines = [line.split() for line in world.lines(job) if line.startswith(("from ", "at "))]
    found, last = [], 0
    for word, number in lines:
        if word == "from":
            assert int(number) >= last - 1
            found.append(int(number))
        last = int(number)
    return found


def statuses(job: dict[str, Any]) -> list[str]:
    return [entry["Status"] for entry in job["SecondaryStatusTransitions"]]


def test_a_server_killed_in_an_interruption_ends_it(make: Any) -> None:
    world = make()
    world.job("job", COUNT, **SPOT)
    world.prints("job", "at 5")
    interrupt(world, "job")
    world.kill()
    world.up()
    job = world.ended("job")
    assert (job["TrainingJobStatus"], statuses(job).count("Interrupted"), len(beginnings(world, "job"))) == ("Completed", 1, 2)


def test_a_killed_agent_s_checkpoints_are_not_lost(make: Any) -> None:
    world = make()
    world.job("job", COUNT, **SPOT, RetryStrategy={"MaximumRetryAttempts": 1})
    world.prints("job", "at 9")
    world.kill_agent(next(iter(world.agents())))
    job = world.ended("job")
    assert (job["TrainingJobStatus"], "Restarting" in statuses(job)) == ("Completed", True)
    assert beginnings(world, "job")[1] >= 8


def test_chance_interrupts_and_the_job_completes(make: Any) -> None:
    world = make(DEWFALL_SPOT_RATE="1800", DEWFALL_SPOT_SEED="3")
    world.job("job", COUNT, **SPOT)
    job = world.ended("job")
    assert job["TrainingJobStatus"] == "Completed"
    assert statuses(job).count("Interrupted") == len(beginnings(world, "job")) - 1 >= 1
    assert world.s3.get_object(Bucket=BUCKET, Key="checkpoints/n")["Body"].read() == b"30"


def test_a_job_that_needs_the_room_gets_it(make: Any) -> None:
    world = make(DEWFALL_JOBS="1")
    world.job("spot", COUNT, **SPOT)
    world.prints("spot", "at 5")
    world.job("other")
    assert world.ended("other")["TrainingJobStatus"] == "Completed"
    assert world.describe("spot")["TrainingJobStatus"] == "InProgress"
    job = until(lambda: (found := world.describe("spot")) and found["TrainingJobStatus"] != "InProgress" and found)
    assert (job["TrainingJobStatus"], statuses(job).count("Interrupted")) == ("Completed", 1)
