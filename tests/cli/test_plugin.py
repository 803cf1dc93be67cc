"""The pytest plugin: a server for the session, empty for each test, with clients that point at it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from dewfall.testing_server import Server, running, start

SUITE = """
import pytest

@pytest.mark.parametrize("turn", [1, 2])
def test_empty_each_time(dewfall, turn):
    s3 = dewfall.client("s3")
    assert s3.list_buckets()["Buckets"] == []
    s3.create_bucket(Bucket="mine")

def test_one_server_for_all(dewfall, dewfall_server):
    assert dewfall is dewfall_server
    assert dewfall.session.region_name == "us-east-1"
"""


def test_a_users_suite(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_clients_are_kept_by_their_arguments(dewfall: Server) -> None:
    assert dewfall.client("s3") is dewfall.client("s3")
    assert dewfall.client("s3") is not dewfall.client("s3", region_name="eu-west-1")


def test_programs_get_the_variables(dewfall: Server) -> None:
    program = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | dewfall.environment(), capture_output=True, text=True, timeout=90, check=True
    )
    assert done.stdout == "000000000000\n"


def test_a_server_that_does_not_start_says_why(dewfall: Server) -> None:
    with pytest.raises(RuntimeError, match="Another Dewfall server uses"):
        start(dewfall.data)


def test_reset_forgets_jobs_and_their_processes(dewfall: Server) -> None:
    from tests.cli.test_holding import create_job

    create_job(dewfall, "long", "sleep 600")
    while dewfall.ask("/_dewfall/health")["processes"] == 0:
        time.sleep(0.05)
    dewfall.reset()
    assert dewfall.ask("/_dewfall/health")["processes"] == 0
    assert dewfall.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
    assert list((dewfall.data / "blobs" / "buckets").iterdir()) == []


def test_reset_is_a_post(dewfall: Server) -> None:
    dewfall.client("s3").create_bucket(Bucket="stays")
    with pytest.raises(OSError, match="404"):
        dewfall.ask("/_dewfall/reset")
    assert len(dewfall.client("s3").list_buckets()["Buckets"]) == 1


def test_a_page_in_a_browser_cannot_reset(dewfall: Server) -> None:
    dewfall.client("s3").create_bucket(Bucket="stays")
    page = urllib.request.Request(dewfall.url + "/_dewfall/reset", method="POST", headers={"Origin": "http://evil.example"})
    with pytest.raises(OSError, match="403"):
        urllib.request.urlopen(page, timeout=90)
    assert len(dewfall.client("s3").list_buckets()["Buckets"]) == 1


def test_an_interrupted_server_ends_quietly() -> None:
    with running() as server:
        announced = json.loads((server.data / "run" / "server.json").read_text())
        assert announced == {"url": server.url, "pid": server.process.pid}
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(90) == 0
        assert "Traceback" not in (server.data.parent / "data.log").read_text()
