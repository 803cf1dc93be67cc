"""Where the hosts of a job meet."""

from __future__ import annotations

import pytest

from dewfall.images.distributions import FIRST_PORT, PORTS, meeting_port


def test_the_hosts_of_a_job_agree_and_a_job_of_the_same_name_elsewhere_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def port(hosts: str) -> int:
        monkeypatch.setenv("TRAINING_JOB_ARN", "arn:aws:sagemaker:us-east-1:000000000000:training-job/t")
        monkeypatch.setenv("DEWFALL_HOSTS", hosts)
        return meeting_port()

    ours, theirs = "algo-1=127.64.0.1,algo-2=127.64.0.2", "algo-1=127.70.9.1,algo-2=127.70.9.2"
    assert port(ours) == port(ours) != port(theirs)
    assert FIRST_PORT <= port(ours) < FIRST_PORT + PORTS
