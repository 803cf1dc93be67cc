"""Many clients at the same thing at once: exactly one wins, the others get AWS's error, and nothing is left in between."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.crash.world import BUCKET, ECHO, PLAIN, ROLE, World, channel, request, until

pytestmark = pytest.mark.slow

THREADS = 16
ENDLESS = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.02)"
ONE_SHOT = Config(retries={"total_max_attempts": 1}, max_pool_connections=THREADS)


def together(act: Callable[[int], Any], count: int = THREADS) -> Counter[str]:
    """Run it in that many threads at the same moment; how they ended."""
    barrier, ends = threading.Barrier(count), Counter[str]()

    def one(n: int) -> None:
        barrier.wait()
        try:
            act(n)
            ends["done"] += 1
        except ClientError as error:
            ends[error.response["Error"]["Code"]] += 1

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))
    return ends


@pytest.fixture
def sagemaker(world: World) -> Any:
    return world.server.client("sagemaker", config=ONE_SHOT)


def test_a_name_has_one_winner(world: World, sagemaker: Any) -> None:
    world.s3.put_object(Bucket=BUCKET, Key="code/main.py", Body=b"open('/opt/ml/model/m', 'w').write('x')")
    asked = request("job", PLAIN, channel("code", "code/"))
    assert together(lambda n: sagemaker.create_training_job(**asked)) == {"done": 1, "ResourceInUse": THREADS - 1}
    container = {"Image": ECHO, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
    taken = {"done": 1, "ValidationException": THREADS - 1}
    assert together(lambda n: sagemaker.create_model(ModelName="a", ExecutionRoleArn=ROLE, PrimaryContainer=container)) == taken
    variant = {"VariantName": "v", "ModelName": "a", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    assert together(lambda n: sagemaker.create_endpoint_config(EndpointConfigName="a", ProductionVariants=[variant])) == taken
    assert together(lambda n: sagemaker.create_endpoint(EndpointName="a", EndpointConfigName="a")) == taken
    world.settled("a")
    assert len([agent for agent in world.agents() if agent.startswith("endpoint.")]) == 1
    assert world.ended("job")["TrainingJobStatus"] == "Completed"


def test_buckets_and_conditional_writes_have_one_winner(world: World) -> None:
    s3 = world.server.client("s3", config=ONE_SHOT)
    other = world.server.client("s3", config=ONE_SHOT, region_name="eu-west-1")
    ends = together(lambda n: other.create_bucket(Bucket="race", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}))
    assert ends == {"done": 1, "BucketAlreadyOwnedByYou": THREADS - 1}
    ends = together(lambda n: s3.put_object(Bucket=BUCKET, Key="once", Body=f"{n}".encode(), IfNoneMatch="*"))
    assert ends["done"] == 1
    assert set(ends) <= {"done", "PreconditionFailed", "ConditionalRequestConflict"}
    etag = s3.head_object(Bucket=BUCKET, Key="once")["ETag"]
    assert together(lambda n: s3.put_object(Bucket=BUCKET, Key="once", Body=b"new%d" % n, IfMatch=etag))["done"] == 1


def test_writers_of_one_key_leave_one_whole_object(world: World) -> None:
    s3 = world.server.client("s3", config=ONE_SHOT)
    bodies = [bytes([n]) * 300_000 for n in range(THREADS)]
    assert together(lambda n: s3.put_object(Bucket=BUCKET, Key="k", Body=bodies[n])) == {"done": THREADS}
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() in bodies
    assert together(lambda n: s3.delete_object(Bucket=BUCKET, Key="k")) == {"done": THREADS}


def test_readers_and_writers_and_deleters_of_one_key(world: World) -> None:
    s3 = world.server.client("s3", config=ONE_SHOT)
    bodies = {bytes([n]) * size for n in range(THREADS) for size in (10, 300_000)}
    s3.put_object(Bucket=BUCKET, Key="k", Body=next(iter(bodies)))

    def act(n: int) -> None:
        for _ in range(20):
            if n % 4 == 0:
                s3.put_object(Bucket=BUCKET, Key="k", Body=bytes([n]) * (10 if n % 8 else 300_000))
            elif n % 4 == 1:
                s3.delete_object(Bucket=BUCKET, Key="k")
            else:
                try:
                    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() in bodies
                except s3.exceptions.NoSuchKey:
                    continue

    assert together(act) == {"done": THREADS}


def test_updates_and_deletion_of_an_endpoint(world: World, sagemaker: Any) -> None:
    for _ in range(3):
        world.endpoint("a")
        world.config("b", "a", 2)

        def act(n: int) -> None:
            if n % 2:
                sagemaker.update_endpoint(EndpointName="a", EndpointConfigName="b")
            else:
                sagemaker.delete_endpoint(EndpointName="a")

        ends = together(act)
        assert ends == {"done": 1, "ValidationException": THREADS - 1}
        until(lambda: states(world) in ([], ["InService"]))
        if states(world):
            sagemaker.delete_endpoint(EndpointName="a")
        until(lambda: not states(world) and not world.agents())
        for name in ("a", "b"):
            sagemaker.delete_endpoint_config(EndpointConfigName=name)
        sagemaker.delete_model(ModelName="a")


def states(world: World) -> list[str]:
    return [entry["EndpointStatus"] for entry in world.sagemaker.list_endpoints()["Endpoints"]]


def test_an_endpoint_made_again_as_soon_as_it_is_gone(world: World, sagemaker: Any) -> None:
    world.endpoint("a")
    for _ in range(4):
        sagemaker.delete_endpoint(EndpointName="a")
        until(lambda: not states(world))
        sagemaker.create_endpoint(EndpointName="a", EndpointConfigName="a")
        assert world.settled("a")["EndpointStatus"] == "InService"
        assert world.ask("a")["body"] == "hello"
    assert len(world.agents()) == 1


@pytest.mark.parametrize("phase", ["Starting", "Pending", "Downloading", "Training", "Uploading"])
def test_a_stop_in_every_phase(world: World, sagemaker: Any, phase: str) -> None:
    """Wherever it meets the job, the job ends Stopped (or had ended already), and its slot is free again."""
    code = "open('/opt/ml/model/m', 'wb').write(b'x' * (50 << 20))\n" if phase == "Uploading" else ENDLESS
    count = {"Pending": 10, "Downloading": 1}.get(phase, 4)
    if phase == "Downloading":
        world.s3.put_object(Bucket=BUCKET, Key="zeros.gz", Body=gzip.compress(bytes(400 << 20), 1))
    inputs = (channel("m", "zeros.gz", CompressionType="Gzip"),) if phase == "Downloading" else ()
    for n in range(count):
        world.job(f"job{n}", code, channels=inputs)
    last = f"job{count - 1}"
    assert world.reaches(last, phase)["SecondaryStatus"] == phase or phase in ("Starting", "Uploading")
    ends = together(lambda n: sagemaker.stop_training_job(TrainingJobName=last), 4)
    assert set(ends) <= {"done", "ValidationException"}
    assert world.ended(last)["TrainingJobStatus"] in (("Stopped", "Completed") if phase == "Uploading" else ("Stopped",))
    for n in range(count - 1):
        sagemaker.stop_training_job(TrainingJobName=f"job{n}") if phase != "Uploading" else None
    assert {world.ended(f"job{n}")["TrainingJobStatus"] for n in range(count)} <= {"Stopped", "Completed"}
    until(lambda: not world.agents())


def test_a_name_used_again_at_once_is_another_job(world: World, sagemaker: Any) -> None:
    for n in range(15):
        world.job("job", f"open('/opt/ml/model/m{n}', 'w').write('x')")
        job = world.ended("job")
        assert (job["TrainingJobStatus"], world.artifact(job)) == ("Completed", [f"m{n}"])
        sagemaker.delete_training_job(TrainingJobName="job")


def test_a_stop_right_after_the_creation(world: World, sagemaker: Any) -> None:
    for n in range(12):
        world.job(f"job{n}", ENDLESS)
        threading.Event().wait(n * 0.02)
        sagemaker.stop_training_job(TrainingJobName=f"job{n}")
    assert {world.ended(f"job{n}")["TrainingJobStatus"] for n in range(12)} == {"Stopped"}
    until(lambda: not world.agents())
