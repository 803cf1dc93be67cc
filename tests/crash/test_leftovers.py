"""What is left when a server ends: running jobs after `dewfall down`, nothing after an ephemeral one."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dewfall.engine.processes import start_time
from dewfall.testing import start, stop
from tests.crash.world import BUCKET, SKLEARN, World, channel, processes_of, request, run, script_mode, until

pytestmark = pytest.mark.slow

ENDLESS = "import os, time\nprint('pid', os.getpid(), flush=True)\nwhile True: time.sleep(0.05)"


def test_down_leaves_running_jobs_alone_and_nothing_else(world: World) -> None:
    world.endpoint("a")
    world.job("job", ENDLESS)
    world.job("warm", ENDLESS, **script_mode())
    pid = int(world.prints("job", "pid "))
    jobs = {agent: number for agent, number in world.agents().items() if agent.startswith("training-job.")}
    assert run("down", "--port", str(world.port)).returncode == 0
    world.server.process.wait(90)
    until(lambda: not [line for number, line in world.processes().items() if number not in family(jobs.values())])
    assert start_time(pid)
    assert world.agents().keys() == jobs.keys()
    world.up()
    assert world.describe("job")["TrainingJobStatus"] == "InProgress"
    assert world.ask("a")["body"] == "hello"


def family(agents: object) -> set[int]:
    """Agents and what descends from them."""
    from dewfall.engine.processes import descendants

    found: set[int] = set(agents)  # type: ignore[call-overload]
    return found | {pid for agent in found for pid in descendants(agent)}


def is_training(sagemaker: Any, name: str) -> bool:
    """Whether a job's command runs."""
    return bool(sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"] == "Training")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_ephemeral_server_takes_everything_along(tmp_path: Path, how: int) -> None:
    server = start(tmp_path / "data", "--ephemeral")
    s3, sagemaker = server.client("s3"), server.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="code/main.py", Body=ENDLESS.encode())
    for name in ("a", "b"):
        asked = request(name, SKLEARN, channel("code", "code/")) | script_mode()
        sagemaker.create_training_job(**asked)
        until(partial(is_training, sagemaker, name))
    server.process.send_signal(how)
    server.process.wait(90)
    assert not server.data.exists()
    until(lambda: not processes_of(server.data))


def test_an_ephemeral_server_that_is_killed_does_not_leave_jobs_for_ever(tmp_path: Path) -> None:
    """Nobody will come back for them."""
    server = start(tmp_path / "data", "--ephemeral")
    s3, sagemaker = server.client("s3"), server.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="code/main.py", Body=ENDLESS.encode())
    sagemaker.create_training_job(**request("job", SKLEARN, channel("code", "code/")) | script_mode())
    until(lambda: sagemaker.describe_training_job(TrainingJobName="job")["SecondaryStatus"] == "Training")
    assert len(processes_of(server.data)) >= 3
    server.process.kill()
    server.process.wait()
    until(lambda: not processes_of(server.data))
    until(lambda: not server.data.exists())


def test_a_second_server_on_the_same_folder_is_refused(world: World) -> None:
    with pytest.raises(RuntimeError, match="Another Dewfall server uses"):
        start(world.data)
    world.job("job")
    assert world.ended("job")["TrainingJobStatus"] == "Completed"


def test_agents_that_belong_to_nothing_end_with_the_next_start(world: World) -> None:
    """A server that was killed between the end of a job's record and the end of its agent."""
    import sqlite3

    world.job("job", ENDLESS)
    pid = int(world.prints("job", "pid "))
    world.kill()
    with sqlite3.connect(world.data / "dewfall.db") as database:
        database.execute("DELETE FROM records WHERE kind = 'training-job'")
        database.execute("DELETE FROM queue")
    world.up()
    until(lambda: not start_time(pid))
    until(lambda: not world.agents())


def test_stop_is_idempotent(tmp_path: Path) -> None:
    server = start(tmp_path / "data")
    os.kill(server.process.pid, signal.SIGTERM)
    os.kill(server.process.pid, signal.SIGTERM)
    assert server.process.wait(90) == 0
    stop(server)
