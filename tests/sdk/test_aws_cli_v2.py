"""Version 2 of the AWS CLI, where it is installed: the commands that version 1 does not have."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dewfall.testing_server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Aws = Callable[..., "subprocess.Popen[bytes]"]
GROUP = "/aws/sagemaker/TrainingJobs"


def version_2() -> str:
    """The path of an `aws` of version 2, "" where there is none."""
    for found in ("/usr/bin/aws", "/usr/local/bin/aws", shutil.which("aws")):
        if found and os.access(found, os.X_OK):
            told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
            if told.startswith("aws-cli/2"):
                return found
    return ""


@pytest.fixture
def aws(sdk_server: Server, tmp_path: Path) -> Iterator[Aws]:
    """Start `aws …` of version 2 against the server; its output goes to a file `said` in the test's folder."""
    program = version_2()
    if not program:
        pytest.skip("no AWS CLI of version 2 is installed")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "", "PYTHONUNBUFFERED": "1"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))} | keys | {"HOME": str(tmp_path)}
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "said").open("wb") as out:
            command = [program, "--endpoint-url", sdk_server.url, *words]
            started.append(subprocess.Popen(command, env=clean, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
        return started[-1]

    sdk_server.reset()
    yield start
    for process in started:
        process.kill()
        process.wait()


def say(server: Server, stream: str, message: str) -> None:
    """A line into a stream, made when it is not there."""
    logs = server.client("logs")
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
    logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=[{"timestamp": time.time_ns() // 1_000_000, "message": message}])


def said(aws: Aws, folder: Path, *words: str) -> str:
    """What a command prints that ends by itself."""
    assert aws(*words).wait(300) == 0, (folder / "said").read_text()
    return (folder / "said").read_text()


def test_logs_tail(aws: Aws, sdk_server: Server, tmp_path: Path) -> None:
    sdk_server.client("logs").create_log_group(logGroupName=GROUP)
    for stream in ("job/algo-1-1", "other/algo-1-1"):
        say(sdk_server, stream, f"from {stream}")
    lines = said(aws, tmp_path, "logs", "tail", GROUP, "--since", "1h").splitlines()
    assert sorted(line.split(" ", 1)[1] for line in lines) == ["job/algo-1-1 from job/algo-1-1", "other/algo-1-1 from other/algo-1-1"]
    some = said(aws, tmp_path, "logs", "tail", GROUP, "--log-stream-name-prefix", "job/", "--format", "short")
    assert some.rstrip().endswith("from job/algo-1-1")


def test_logs_tail_follows(aws: Aws, sdk_server: Server, tmp_path: Path) -> None:
    sdk_server.client("logs").create_log_group(logGroupName=GROUP)
    say(sdk_server, "s", "first")
    aws("logs", "tail", GROUP, "--follow", "--since", "1h")
    end = time.monotonic() + 240
    for message in ("first", "later"):
        while message not in (tmp_path / "said").read_text():
            assert time.monotonic() < end, (tmp_path / "said").read_text()
            time.sleep(0.2)
        say(sdk_server, "s", "later")


def test_s3(aws: Aws, sdk_server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    said(aws, tmp_path, "s3", "mb", "s3://cli")
    said(aws, tmp_path, "s3", "cp", "file", "s3://cli/key")
    assert said(aws, tmp_path, "s3", "cp", "s3://cli/key", "-") == "hello"
