"""kill -9 of the server: jobs and replicas go on, and the next server takes everything up again."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.crash.world import BUCKET, World, until

pytestmark = pytest.mark.slow

TWO_SECONDS = """
import time
for n in range(20):
    print(f"loss={n}", flush=True)
    time.sleep(0.1)
open("/opt/ml/model/m", "w").write("x")
"""
ONCE = "import time; time.sleep(0.5)\nopen('/opt/ml/model/m', 'w').write('x')"


def holds_more(things: list[Any], count: int) -> bool:
    """Whether there are more of them by now."""
    return len(things) > count


def test_twenty_jobs_and_three_endpoints_live_through_it(world: World) -> None:
    jobs, endpoints = [f"job{n}" for n in range(20)], ["a", "b", "c"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(world.endpoint, endpoints))
        list(pool.map(lambda name: world.job(name, TWO_SECONDS), jobs))
    pids = {name: world.ask(name)["pid"] for name in endpoints}
    world.reaches("job0", "Training")
    world.kill()
    world.up()
    assert {name: world.ask(name)["pid"] for name in endpoints} == pids
    ended = [world.ended(name) for name in jobs]
    assert [(job["TrainingJobStatus"], world.artifact(job)) for job in ended] == [("Completed", ["m"])] * 20
    assert {name: world.settled(name)["EndpointStatus"] for name in endpoints} == dict.fromkeys(endpoints, "InService")
    assert all(sorted(line for line in world.lines(name) if "loss" in line) == sorted(f"loss={n}" for n in range(20)) for name in jobs[:3])


def test_killed_while_nothing_waits_for_it(world: World) -> None:
    """Again and again at any moment, with jobs in every phase: what was answered with success is there."""
    known: list[str] = []
    for turn in range(10):
        for n in range(2):
            known.append(f"job-{turn}-{n}")
            world.job(known[-1], ONCE)
            world.s3.put_object(Bucket=BUCKET, Key=f"kept/{known[-1]}", Body=known[-1].encode() * 10_000)
        world.kill()
        world.up()
    ended = [world.ended(name) for name in known]
    assert not [job for job in ended if job["TrainingJobStatus"] != "Completed"], world.log()[-3000:]
    assert [world.artifact(job) for job in ended] == [["m"]] * len(known)
    for name in known:
        assert world.s3.get_object(Bucket=BUCKET, Key=f"kept/{name}")["Body"].read() == name.encode() * 10_000


def test_ten_restarts_under_load_lose_nothing(world: World) -> None:
    world.endpoint("a")
    stop, put, wrong = threading.Event(), [], []

    def load(worker: int) -> None:
        count = 0
        client = world.server.session.client("s3", endpoint_url=world.server.url)
        while not stop.is_set():
            count += 1
            key = f"load/{worker}-{count}"
            try:
                client.put_object(Bucket=BUCKET, Key=key, Body=key.encode() * 5000)
                put.append(key)
                if client.get_object(Bucket=BUCKET, Key=key)["Body"].read() != key.encode() * 5000:
                    wrong.append(key)
            except (ClientError, BotoCoreError) as error:
                if isinstance(error, ClientError) and error.response["Error"]["Code"] not in ("503", "500"):
                    wrong.append(f"{key}: {error}")

    with ThreadPoolExecutor(4) as pool:
        for n in range(4):
            pool.submit(load, n)
        for turn in range(10):
            before = len(put)
            until(partial(holds_more, put, before + 20))
            (world.kill if turn % 2 else world.down)()
            world.up()
            assert world.ask("a")["body"] == "hello"
        stop.set()
    found = listed(world, "load/")
    assert not wrong
    assert set(put) <= found.keys()
    assert all(world.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode() * 5000 for key in put[-50:])


def test_an_update_goes_on_where_the_dead_server_left_it(world: World) -> None:
    world.endpoint("a", NAME="old")
    world.model("next", NAME="new")
    world.config("next", "next", 2)
    world.sagemaker.update_endpoint(EndpointName="a", EndpointConfigName="next")
    world.kill()
    world.up()
    assert until(lambda: world.ask("a")["name"] == "new")
    assert world.settled("a")["EndpointConfigName"] == "next"
    until(lambda: len(world.agents()) == 2)


def test_deletions_are_finished_by_the_next_server(world: World) -> None:
    for name in ("a", "b"):
        world.endpoint(name)
    world.sagemaker.delete_endpoint(EndpointName="a")
    world.kill()
    world.up()
    until(lambda: [e["EndpointName"] for e in world.sagemaker.list_endpoints()["Endpoints"]] == ["b"])
    until(lambda: len(world.agents()) == 1)


def listed(world: World, prefix: str) -> dict[str, Any]:
    pages = world.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return {item["Key"]: item for page in pages for item in page.get("Contents", ())}


def test_a_killed_server_s_staging_is_swept(world: World) -> None:
    upload = world.s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]
    world.s3.upload_part(Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=1, Body=b"x" * 6_000_000)
    (world.data / "blobs" / "staging" / "orphan").write_bytes(b"left")
    orphan = world.data / "blobs" / "buckets" / BUCKET / "never@17"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"left")
    world.kill()
    world.up()
    until(lambda: not orphan.exists())
    assert not (world.data / "blobs" / "staging" / "orphan").exists()
    part = {"PartNumber": 1, "ETag": world.s3.list_parts(Bucket=BUCKET, Key="big", UploadId=upload)["Parts"][0]["ETag"]}
    world.s3.complete_multipart_upload(Bucket=BUCKET, Key="big", UploadId=upload, MultipartUpload={"Parts": [part]})
    assert world.s3.head_object(Bucket=BUCKET, Key="big")["ContentLength"] == 6_000_000
    assert json.loads((world.data / "run" / "server.json").read_text())["pid"] == world.server.process.pid
