"""Agents on a Ray cluster keep the contract of Compute. Run by tests/sdk/test_ray.py, in an environment with Ray, against its cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from dewfall.engine.compute.ray import RayCompute
from tests.contract.compute import SLEEP, ComputeContract
from tests.engine.agents.jobs import Jobs, is_alive

CLUSTER = os.environ.get("DEWFALL_TEST_RAY", "")
pytestmark = [pytest.mark.skipif(not CLUSTER, reason="DEWFALL_TEST_RAY names no cluster"), pytest.mark.filterwarnings("default")]
SERVER = """
    import os, signal
    from pathlib import Path
    from dewfall.engine.compute.ray import RayCompute
    from dewfall.engine.ports import AgentSpec
    folder = Path({folder!r})
    compute = RayCompute({cluster!r}, folder, slots=4, namespaces=True, poke=folder / "run" / "poke.sock")
    compute.start(AgentSpec(id="training-job.0.r.orphan.1", kind="job", command=("python", "-c", {script!r}), environment={{}}))
    os.kill(os.getpid(), signal.SIGKILL)
"""


class RayJobs(Jobs):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.compute.close()
        self.open = lambda: RayCompute(CLUSTER, folder, slots=4, namespaces=True, poke=folder / "run" / "poke.sock")
        self.compute = self.open()
        self.compute.on_change(self._on_change)

    def agent_pid(self, agent: str) -> int:
        return int(json.loads((self.folder / "ray" / agent / "status.json").read_text())["pid"])

    def place(self, agent: str) -> dict[str, str]:
        place: dict[str, str] = json.loads((self.folder / "ray" / agent / "place.json").read_text())
        return place


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[RayJobs]:
    opened = RayJobs(tmp_path / "data")
    yield opened
    opened.close()


class TestRayCompute(ComputeContract):
    """The contract."""


def test_agents_survive_the_kill_of_their_server(tmp_path: Path) -> None:
    source = textwrap.dedent(SERVER).format(folder=str(tmp_path), cluster=CLUSTER, script=SLEEP)
    subprocess.run([sys.executable, "-c", source], check=False, timeout=60)
    jobs = RayJobs(tmp_path)
    assert jobs.wait("training-job.0.r.orphan.1", "Running").state == "Running"
    jobs.compute.stop("training-job.0.r.orphan.1")
    assert jobs.wait("training-job.0.r.orphan.1").reason == "Stopped"
    jobs.close()


def test_the_hosts_of_a_job_are_on_different_nodes(jobs: RayJobs) -> None:
    own = {
        "hosts": ("algo-1", "algo-2"),
        "addresses": ("127.64.0.1", "127.64.0.2"),
        "environment": {"DEWFALL_HOSTS": "algo-1=127.64.0.1,algo-2=127.64.0.2"},
    }
    look = "import os, socket; print(os.environ['DEWFALL_HOSTS'], socket.gethostbyname('algo-2'))"
    agents = [jobs.script(look, id="training-job.0.r.two.1", **own), jobs.script(look, id="training-job.0.r.two.1.algo-2", host="algo-2", **own)]
    addresses = [jobs.place(agent)["address"] for agent in agents]
    assert sorted(addresses) == ["127.0.0.2", "127.0.0.3"]
    for agent in agents:
        assert jobs.wait(agent).exit_code == 0
        assert jobs.log(agent).splitlines()[-1] == f"algo-1={addresses[0]},algo-2={addresses[1]} {addresses[1]}"


def test_an_agent_ends_with_its_keeper(jobs: RayJobs) -> None:
    """As it does when Ray gives up a node that still runs."""
    agent = jobs.script(SLEEP)
    jobs.wait(agent, "Running")
    pid = jobs.agent_pid(agent)
    compute = jobs.compute
    assert isinstance(compute, RayCompute)
    compute._ray.kill(compute._keepers[agent][0])
    assert jobs.wait(agent).state == "Lost"
    while is_alive(pid):
        pass


def test_what_is_no_job_of_the_cluster_runs_here(jobs: RayJobs) -> None:
    agent = jobs.start("true", id="transform-job.0.r.here.1")
    assert jobs.wait(agent).exit_code == 0
    assert (jobs.folder / "jobs" / agent).is_dir()
