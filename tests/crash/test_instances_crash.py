"""A job of several instances outlives the server; when one of its agents is lost, the job is, and nothing of it is left."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.world import World, until

pytestmark = pytest.mark.slow

TWO: dict[str, Any] = {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}}
COUNTS = """
import json, os, time
host = json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"]
for n in range(20): print(host, n, flush=True); time.sleep(0.1)
open(f"/opt/ml/model/{host}", "w").write("x")
"""
WAITS = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)\n"


def test_a_killed_server_finds_all_hosts_again(world: World) -> None:
    world.job("job", COUNTS, **TWO)
    until(lambda: any("algo-2" in line for line in world.lines("job")))
    world.kill()
    world.up()
    assert world.ended("job")["TrainingJobStatus"] == "Completed"
    printed = [line for line in world.lines("job") if line.startswith("algo-")]
    assert sorted(printed) == sorted(f"{host} {n}" for host in ("algo-1", "algo-2") for n in range(20))
    assert sorted(world.artifact(world.describe("job"))) == ["algo-1", "algo-2"]


def test_a_host_that_was_not_started_yet_is_started(world: World) -> None:
    """What a server leaves that is killed between two starts: one agent runs, of the other nothing is known."""
    world.job("job", COUNTS, **TWO)
    until(lambda: any("algo-2" in line for line in world.lines("job")))
    world.kill()
    (second,) = (agent for agent in world.agents() if agent.endswith("algo-2"))
    world.kill_agent(second)
    (world.data / "jobs" / second).rename(world.data / "gone")
    world.up()
    assert world.ended("job")["TrainingJobStatus"] == "Completed"
    assert sorted(world.artifact(world.describe("job"))) == ["algo-1", "algo-2"]


@pytest.mark.parametrize("host", ["algo-1", "algo-2"])
def test_a_lost_host_fails_the_job(world: World, host: str) -> None:
    world.job("job", WAITS, **TWO)
    until(lambda: world.lines("job").count("ready") == 2)
    (agent,) = (one for one in world.agents() if one.endswith("algo-2") == (host == "algo-2"))
    world.kill_agent(agent)
    job = world.ended("job")
    assert (job["TrainingJobStatus"], job["FailureReason"][:20]) == ("Failed", "InternalServerError:")
    until(lambda: not world.agents())


def test_retries_start_all_hosts_anew(world: World) -> None:
    world.job("job", COUNTS, RetryStrategy={"MaximumRetryAttempts": 1}, **TWO)
    until(lambda: any("algo-2" in line for line in world.lines("job")))
    (agent,) = (one for one in world.agents() if one.endswith("algo-2"))
    world.kill_agent(agent)
    job = world.ended("job")
    assert job["TrainingJobStatus"] == "Completed"
    assert "Restarting" in [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
    assert sorted(world.artifact(job)) == ["algo-1", "algo-2"]
