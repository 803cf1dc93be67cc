"""kill -9 of the server while an inference recommendations job loads its endpoint: the job ends, and nothing is left of it."""

from __future__ import annotations

import io
import tarfile

import pytest

from tests.crash.world import BUCKET, ROLE, World, until

pytestmark = pytest.mark.slow

LOAD = "inference-recommendations-job.000000000000.us-east-1.sized.sm-epc-"


def payload() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("sample.csv")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"1"))
    return buffer.getvalue()


def test_a_job_lives_through_it(world: World) -> None:
    world.model("model")
    world.s3.put_object(Bucket=BUCKET, Key="payload.tar.gz", Body=payload())
    phases = [{"InitialNumberOfUsers": 1, "SpawnRate": 0, "DurationInSeconds": seconds} for seconds in (4, 4, 4)]
    config = {
        "ModelName": "model",
        "ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": f"s3://{BUCKET}/payload.tar.gz", "SupportedContentTypes": ["text/csv"]}},
        "EndpointConfigurations": [{"InstanceType": "ml.m5.large"}],
        "TrafficPattern": {"TrafficType": "PHASES", "Phases": phases},
    }
    stopping = {"FlatInvocations": "Continue"}
    world.sagemaker.create_inference_recommendations_job(
        JobName="sized", JobType="Advanced", RoleArn=ROLE, InputConfig=config, StoppingConditions=stopping
    )
    until(lambda: any(agent.startswith(LOAD) for agent in world.agents()))
    world.kill()
    world.up()
    describe = world.sagemaker.describe_inference_recommendations_job
    found = until(lambda: (job := describe(JobName="sized"))["Status"] not in ("PENDING", "IN_PROGRESS") and job, 90)
    assert (found["Status"], found["InferenceRecommendations"][0]["Metrics"]["MaxInvocations"] > 0) == ("COMPLETED", True)
    assert until(lambda: world.sagemaker.list_endpoints()["Endpoints"] == [])
