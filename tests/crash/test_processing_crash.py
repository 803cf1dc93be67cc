"""A processing job does not notice that the server is killed, and its outputs are all there at its end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.world import BUCKET, ROLE, SKLEARN, World, until

pytestmark = pytest.mark.slow

ROOT = "/opt/ml/processing"
CODE = f"""
import pathlib, time
out = pathlib.Path("{ROOT}/output")
for n in range(30):
    (out / f"{{n:02d}}.txt").write_text(str(n))
    print("wrote", n, flush=True)
    time.sleep(0.1)
"""


def process(world: World, name: str, mode: str) -> None:
    world.s3.put_object(Bucket=BUCKET, Key="code/main.py", Body=CODE.encode())
    source = {"S3Uri": f"s3://{BUCKET}/code/", "LocalPath": f"{ROOT}/input/code", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    output = {"S3Uri": f"s3://{BUCKET}/{name}", "LocalPath": f"{ROOT}/output", "S3UploadMode": mode}
    world.sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": SKLEARN, "ContainerEntrypoint": ["python3", f"{ROOT}/input/code/main.py"]},
        ProcessingInputs=[{"InputName": "code", "S3Input": source}],
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": output}]},
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
    )


def describe(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = world.sagemaker.describe_processing_job(ProcessingJobName=name)
    return found


def lines(world: World, name: str) -> list[str]:
    group = "/aws/sagemaker/ProcessingJobs"
    events = world.server.client("logs").filter_log_events(logGroupName=group, logStreamNamePrefix=f"{name}/")["events"]
    return [event["message"] for event in events if event["message"].startswith("wrote")]


@pytest.mark.parametrize("mode", ["EndOfJob", "Continuous"])
def test_a_killed_server_loses_no_output_and_no_line(world: World, mode: str) -> None:
    process(world, "job", mode)
    for _ in range(2):
        until(lambda: "ProcessingStartTime" in describe(world, "job"))
        world.kill()
        world.up()
    until(lambda: describe(world, "job")["ProcessingJobStatus"] != "InProgress")
    assert describe(world, "job")["ProcessingJobStatus"] == "Completed"
    found = world.s3.list_objects_v2(Bucket=BUCKET, Prefix="job/")["Contents"]
    assert [one["Key"] for one in found] == [f"job/{n:02d}.txt" for n in range(30)]
    assert lines(world, "job") == [f"wrote {n}" for n in range(30)]
