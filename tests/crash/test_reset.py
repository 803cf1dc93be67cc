"""A reset, or the deletion of a bucket, in the middle of work: nothing runs on, nothing dangles, and the next job is not disturbed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from dewfall.engine.processes import start_time
from tests.crash.world import BUCKET, World, until

pytestmark = pytest.mark.slow

ENDLESS = "import os, time\nprint('pid', os.getpid(), flush=True)\nwhile True: time.sleep(0.05)"
SLOW = "import time\ntime.sleep(1)\nopen('/opt/ml/model/m', 'w').write('x')"


def test_a_reset_ends_everything_that_runs(world: World) -> None:
    world.endpoint("a")
    world.job("job", ENDLESS)
    pids = [int(world.prints("job", "pid ")), world.ask("a")["pid"], *world.agents().values()]
    world.server.reset()
    until(lambda: not any(start_time(pid) for pid in pids))
    assert world.agents() == {}
    assert world.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert world.s3.list_buckets()["Buckets"] == []


def test_resets_while_jobs_and_endpoints_are_being_made(world: World) -> None:
    """At whatever moment of their lives it comes, nothing of theirs is there afterwards."""
    for turn in range(12):
        world.model("a")
        world.config("a", "a")
        world.sagemaker.create_endpoint(EndpointName="a", EndpointConfigName="a")
        for n in range(4):
            world.job(f"job{n}", ENDLESS)
        threading.Event().wait(turn * 0.05)
        world.server.reset()
        until(lambda: world.agents() == {})
        world.s3.create_bucket(Bucket=BUCKET)
        world.s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=b"x")
    until(lambda: len(world.processes()) <= 2)  # the server and a fork server


def test_a_name_is_free_again_at_once_after_a_reset(world: World) -> None:
    for _ in range(5):
        world.job("job", SLOW)
        world.reaches("job", "Training")
        world.server.reset()
        world.s3.create_bucket(Bucket=BUCKET)
    world.job("job")
    assert world.ended("job")["TrainingJobStatus"] == "Completed"
    assert [entry["Status"] for entry in world.describe("job")["SecondaryStatusTransitions"]][-1] == "Completed"


def test_objects_are_whole_or_gone_when_a_reset_comes_between(world: World) -> None:
    stop, wrong = threading.Event(), []

    def load(worker: int) -> None:
        client = world.server.session.client("s3", endpoint_url=world.server.url)
        while not stop.is_set():
            try:
                client.put_object(Bucket=BUCKET, Key=f"{worker}", Body=b"x" * 300_000)
                client.get_object(Bucket=BUCKET, Key=f"{worker}")["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("NoSuchBucket", "NoSuchKey"):
                    wrong.append(str(error))
            except BotoCoreError as error:
                wrong.append(repr(error))

    with ThreadPoolExecutor(4) as pool:
        for n in range(4):
            pool.submit(load, n)
        for _ in range(30):
            world.server.reset()
            world.s3.create_bucket(Bucket=BUCKET)
            threading.Event().wait(0.05)
        stop.set()
    assert not wrong
    assert all(item["Size"] == 300_000 for item in world.s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()))
    for item in world.s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        assert len(world.s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()) == 300_000


def test_a_bucket_deleted_under_a_job(world: World) -> None:
    world.s3.create_bucket(Bucket="out")
    world.job("job", SLOW, OutputDataConfig={"S3OutputPath": "s3://out/x"})
    world.reaches("job", "Training")
    world.s3.delete_bucket(Bucket="out")
    job = world.ended("job")
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed:NoSuchBucket")


def test_inputs_deleted_under_a_job(world: World) -> None:
    """It has what it was given; one that had not begun fails and says what is missing."""
    code = "import time\ntime.sleep(1)\nprint(open('/opt/ml/input/data/code/main.py').read())\nopen('/opt/ml/model/m', 'w').write('x')"
    for n in range(9):
        world.job(f"job{n}", code)
    world.reaches("job0", "Training")
    for n in (0, 8):
        world.s3.delete_object(Bucket=BUCKET, Key=f"code/job{n}/main.py")
    assert world.ended("job0")["TrainingJobStatus"] == "Completed"
    assert world.ended("job8")["FailureReason"].startswith("ClientError: Data download failed:No S3 objects found")


def test_a_model_deleted_under_its_endpoint(world: World) -> None:
    """As on AWS, what is in service goes on; a replica that must be started anew needs the data, and comes when it is there again."""
    pid = world.endpoint("a") and world.ask("a")["pid"]
    world.sagemaker.delete_model(ModelName="a")
    world.sagemaker.delete_endpoint_config(EndpointConfigName="a")
    world.s3.delete_object(Bucket=BUCKET, Key="model.tar.gz")
    assert world.ask("a")["pid"] == pid
    world.kill()
    world.up()
    assert world.ask("a")["pid"] == pid
