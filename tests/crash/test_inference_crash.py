"""kill -9 with asynchronous requests in the backlog and captured data on its way: what was accepted is answered, what was written is shipped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.crash.world import BUCKET, World, until

pytestmark = pytest.mark.slow

ASYNC = {"OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/out"}}
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": f"s3://{BUCKET}/captured",
    "CaptureOptions": [{"CaptureMode": "Input"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}


def serve(world: World, **members: Any) -> None:
    world.model("m")
    variant = {"VariantName": "AllTraffic", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    world.sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant], **members)
    world.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    assert world.settled("e")["EndpointStatus"] == "InService"


def scale(world: World, count: int) -> None:
    wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
    world.sagemaker.update_endpoint_weights_and_capacities(EndpointName="e", DesiredWeightsAndCapacities=wanted)
    world.settled("e")


def objects(world: World, prefix: str) -> list[bytes]:
    found = world.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
    return [world.s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found]


def test_a_backlog_lives_through_it(world: World) -> None:
    serve(world, AsyncInferenceConfig=ASYNC)
    scale(world, 0)
    for n in range(20):
        world.runtime.invoke_endpoint_async(EndpointName="e", Body=b"%d" % n)
    world.kill()
    world.up()
    scale(world, 1)
    world.kill()
    world.up()
    until(lambda: len(objects(world, "out/")) == 20)


def test_captured_lines_are_shipped_by_the_next_server(world: World) -> None:
    serve(world, DataCaptureConfig=CAPTURE)
    for n in range(50):
        world.runtime.invoke_endpoint(EndpointName="e", Body=b"%d" % n, ContentType="text/csv")
    spool = world.data / "capture"
    until(lambda: sum(file.read_bytes().count(b"\n") - 1 for file in spool.glob("*.part")) >= 50 or objects(world, "captured/"))
    world.kill()
    world.up()
    until(lambda: sum(body.count(b"\n") for body in objects(world, "captured/")) == 50)
    lines = [json.loads(line)["captureData"]["endpointInput"]["data"] for body in objects(world, "captured/") for line in body.splitlines()]
    assert sorted(map(int, lines)) == list(range(50))
