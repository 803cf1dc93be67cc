"""Processes on this machine keep the contract of Compute, with namespaces and without, and also when the server is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from dewfall.engine.agentstatus import STATUS
from dewfall.engine.compute.local import LocalCompute, machine_environment
from dewfall.engine.ports import AgentSpec
from tests.contract.compute import SLEEP, ComputeContract
from tests.engine.agents.jobs import Jobs

SERVER = """
    import os, signal
    from pathlib import Path
    from dewfall.engine.compute.local import LocalCompute
    from dewfall.engine.ports import AgentSpec
    folder = Path({folder!r})
    compute = LocalCompute(folder / "jobs", slots=4, namespaces=True, poke=folder / "run" / "poke.sock")
    compute.start(AgentSpec(id="training-job.0.r.orphan.1", kind="job", command=("python", "-c", {script!r}), environment={{}}))
    os.kill(os.getpid(), signal.SIGKILL)
"""


class TestLocalCompute(ComputeContract):
    @pytest.fixture(params=[True, False], ids=["namespaces", "plain"])
    def jobs(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Jobs]:
        opened = Jobs(tmp_path / "data", namespaces=request.param)
        yield opened
        opened.close()


def test_commands_get_the_machines_part_of_an_environment() -> None:
    found = machine_environment({"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x", "LC_ALL": "C", "http_proxy": "p"})
    assert found == {"PATH": "/bin", "LC_ALL": "C", "http_proxy": "p", "OMP_WAIT_POLICY": "PASSIVE"}
    assert machine_environment({"OMP_WAIT_POLICY": "ACTIVE"}) == {"OMP_WAIT_POLICY": "ACTIVE"}


def test_agents_survive_the_kill_of_their_server(tmp_path: Path) -> None:
    source = textwrap.dedent(SERVER).format(folder=str(tmp_path), script=SLEEP)
    subprocess.run([sys.executable, "-c", source], check=False, timeout=180)
    jobs = Jobs(tmp_path)
    assert jobs.wait("training-job.0.r.orphan.1", "Running").state == "Running"
    jobs.compute.stop("training-job.0.r.orphan.1")
    assert jobs.wait("training-job.0.r.orphan.1").reason == "Stopped"
    jobs.close()


def test_a_deep_data_folder_is_no_obstacle(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / ("long" * 30) / ("deep" * 30))
    assert jobs.run("true").exit_code == 0
    jobs.close()


def test_an_agent_that_is_still_on_its_way_is_not_lost(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    compute = jobs.compute
    assert isinstance(compute, LocalCompute)
    zygote = compute.zygote("tabular")
    zygote.begin()
    os.kill(zygote.pid, signal.SIGSTOP)  # as slow as can be
    spec = AgentSpec(id="training-job.0.r.late.1", kind="job", command=("true",), environment={}, preload="tabular")
    compute.start(spec)
    os.utime(tmp_path / "jobs" / spec.id / STATUS, (1, 1))
    status = compute.status(spec.id)
    assert (status and status.state, compute.jobs()) == ("Starting", 1)
    os.kill(zygote.pid, signal.SIGCONT)
    assert jobs.wait(spec.id).exit_code == 0
    jobs.close()


def test_a_discarded_agent_is_owed_no_longer_and_others_are_still_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(tmp_path)
    compute = jobs.compute
    assert isinstance(compute, LocalCompute)
    zygote = compute.zygote("tabular")
    zygote.begin()
    os.kill(zygote.pid, signal.SIGSTOP)
    gone, removed, late = (f"training-job.0.r.{name}.1" for name in ("gone", "removed", "late"))
    try:
        for agent in (gone, removed, late):
            compute.start(AgentSpec(id=agent, kind="job", command=("true",), environment={}, preload="tabular"))
        compute.discard(gone)
        assert not zygote.owes(gone)
        (tmp_path / "jobs" / removed).rename(tmp_path / "elsewhere")
        monkeypatch.setattr("dewfall.engine.compute.zygote.PATIENCE", 0.0)
        assert jobs.wait(late).exit_code == 0  # launched and noticed by the thread that had met the missing one before
    finally:
        os.kill(zygote.pid, signal.SIGCONT)
        jobs.close()
