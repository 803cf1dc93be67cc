"""What of this machine a job's host gets."""

from __future__ import annotations

import os

import pytest

from dewfall.engine.ports import AgentSpec
from dewfall.services.sagemaker.job_hosts import hosts_of, on_host


@pytest.mark.parametrize(("beside", "given", "threads"), [(1, {}, None), (2, {}, "2"), (9, {}, "1"), (2, {"OMP_NUM_THREADS": "3"}, "3")])
def test_jobs_side_by_side_share_the_processors(monkeypatch: pytest.MonkeyPatch, beside: int, given: dict[str, str], threads: str | None) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    hosts = hosts_of({"InstanceType": "ml.m5.xlarge", "InstanceCount": 1}, "job")
    spec = on_host(AgentSpec("job", "job", ("true",), environment=given), hosts, hosts[0], "config", beside=beside)
    assert spec.environment.get("OMP_NUM_THREADS") == threads
