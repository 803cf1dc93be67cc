"""A full disk: every answer says so, nothing that was answered is lost, and all goes on once there is room again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.crash.world import BUCKET, World, until

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20
WRITES = """
try:
    with open("/opt/ml/model/big", "wb", buffering=0) as file:
        while True: file.write(bytes(1 << 20))
except OSError as error:
    print(error); raise
"""
FLOODS = """
import os, time
while os.statvfs("/opt/ml").f_bavail > 0:
    try: open("/opt/ml/output/data/filler", "ab", buffering=0).write(bytes(1 << 16))
    except OSError: break
for n in range(20000): print("x" * 1000)
os.remove("/opt/ml/output/data/filler")
open("/opt/ml/model/m", "w").write("x")
"""
QUIET = "import os, time\nopen('/opt/ml/model/m', 'wb').write(os.urandom(1 << 20))\nprint('ready', flush=True)\ntime.sleep(2)"
ONE_SHOT = Config(retries={"total_max_attempts": 1})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own at <folder>/data."""
    data = tmp_path / "data"
    data.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", data], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield data
    subprocess.run(["umount", "-l", data], check=True)


@pytest.fixture
def small(disk: Path, tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.server.reset()
    world.down()
    assert "Traceback" not in world.log(), world.log()[-6000:]


def fill(world: World) -> Callable[[], None]:
    """Take all the room there is; the returned function gives it back."""
    filler = world.data / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (MEGABYTE, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler.unlink


def refused(act: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        act()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (500, 503)
    said: str = caught.value.response["Error"]["Message"]
    return said


def test_objects(small: World) -> None:
    s3 = small.server.client("s3", config=ONE_SHOT)
    put = []

    def until_full() -> None:
        for n in range(100):
            s3.put_object(Bucket=BUCKET, Key=f"k{n}", Body=bytes([n]) * MEGABYTE)
            put.append(n)

    assert "free" in refused(until_full).lower()
    assert len(put) > 20
    assert all(s3.get_object(Bucket=BUCKET, Key=f"k{n}")["Body"].read() == bytes([n]) * MEGABYTE for n in put)
    assert not list((small.data / "blobs" / "staging").iterdir())
    for n in put[:30]:
        s3.delete_object(Bucket=BUCKET, Key=f"k{n}")
    small.s3.put_object(Bucket=BUCKET, Key="again", Body=bytes(MEGABYTE))
    assert len(s3.list_objects_v2(Bucket=BUCKET)["Contents"]) == len(put) - 30 + 2  # and the model


def test_the_database(small: World) -> None:
    sagemaker = small.server.client("sagemaker", config=ONE_SHOT)
    sagemaker.create_experiment(ExperimentName="before")
    give_back = fill(small)
    created = ["before"]

    def until_full() -> None:
        for n in range(2000):
            sagemaker.create_experiment(ExperimentName=f"e{n}", Description="x" * 3000)
            created.append(f"e{n}")

    assert "free" in refused(until_full).lower()
    assert sagemaker.describe_experiment(ExperimentName="before")["ExperimentName"] == "before"
    give_back()
    sagemaker.create_experiment(ExperimentName="after")
    pages = sagemaker.get_paginator("list_experiments").paginate()
    assert {item["ExperimentName"] for page in pages for item in page["ExperimentSummaries"]} == {*created, "after"}


def test_a_killed_server_starts_again_on_a_full_disk(small: World) -> None:
    small.s3.put_object(Bucket=BUCKET, Key="k", Body=b"kept")
    give_back = fill(small)
    small.kill()
    small.up()
    assert small.s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"kept"
    give_back()
    small.s3.put_object(Bucket=BUCKET, Key="k2", Body=b"new")


def test_a_job_that_fills_the_disk_fails_and_says_so(small: World) -> None:
    small.job("job", WRITES)
    job = small.ended("job")
    assert job["TrainingJobStatus"] == "Failed"
    small.job("next")
    assert small.ended("next")["TrainingJobStatus"] == "Completed"


def test_a_log_that_finds_no_room_does_not_end_its_job(small: World) -> None:
    small.job("job", FLOODS)
    job = small.ended("job")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")


def test_a_job_whose_end_finds_the_disk_full_waits_for_room(small: World) -> None:
    small.job("job", QUIET)
    small.prints("job", "ready")
    give_back = fill(small)
    until(lambda: "Collecting" in status(small))
    give_back()
    job = small.ended("job")
    assert (job["TrainingJobStatus"], small.artifact(job)) == ("Completed", ["m"]), job.get("FailureReason")


def status(world: World) -> str:
    (file,) = (world.data / "jobs").glob("training-job.*-1/status.json")
    return file.read_text()


def test_an_endpoint_answers_while_the_disk_is_full(small: World) -> None:
    small.endpoint("a")
    give_back = fill(small)
    assert [small.ask("a")["body"] for _ in range(20)] == ["hello"] * 20
    give_back()
    assert small.settled("a")["EndpointStatus"] == "InService"


def test_a_reset_makes_room(small: World) -> None:
    for n in range(20):
        small.s3.put_object(Bucket=BUCKET, Key=f"k{n}", Body=bytes(MEGABYTE))
    fill(small)
    small.server.reset()
    small.s3.create_bucket(Bucket=BUCKET)
    small.s3.put_object(Bucket=BUCKET, Key="k", Body=bytes(3 * MEGABYTE))
