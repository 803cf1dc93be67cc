"""kill -9 of a server whose endpoints serve many models: the next one finds them loaded, and the copies of inference components at work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.crash.world import World, tarball, until

pytestmark = pytest.mark.slow

SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ECHO = "123456789012.dkr.ecr.us-east-1.amazonaws.com/echo:latest"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
SCRIPT = b"""
import time
def model_fn(model_dir): return time.monotonic_ns()
def predict_fn(data, model): return model
"""


def test_models_stay_loaded(world: World) -> None:
    world.s3.create_bucket(Bucket="shelf")
    for name in "ab":
        world.s3.put_object(Bucket="shelf", Key=f"{name}.tar.gz", Body=tarball({"code/inference.py": SCRIPT}))
    container = {"Image": SKLEARN, "Mode": "MultiModel", "ModelDataUrl": "s3://shelf/"}
    world.sagemaker.create_model(ModelName="many", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    world.config("many", "many")
    world.sagemaker.create_endpoint(EndpointName="many", EndpointConfigName="many")
    assert world.settled("many")["EndpointStatus"] == "InService"

    def stamp(name: str) -> int:
        call: dict[str, Any] = {"EndpointName": "many", "Body": b"[1]", "ContentType": "application/json"}
        return int(json.loads(world.runtime.invoke_endpoint(**call, TargetModel=f"{name}.tar.gz")["Body"].read()))

    before = [stamp(name) for name in "ab"]
    world.kill()
    world.up()
    assert [stamp(name) for name in "ab"] == before


def test_copies_of_a_component_go_on(world: World) -> None:
    variant = {"VariantName": "AllTraffic", "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
    world.sagemaker.create_endpoint_config(EndpointConfigName="shared", ExecutionRoleArn=ROLE, ProductionVariants=[variant])
    world.sagemaker.create_endpoint(EndpointName="shared", EndpointConfigName="shared")
    world.settled("shared")
    specification = {"Container": {"Image": ECHO}, "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128}}
    component: dict[str, Any] = {"InferenceComponentName": "one", "Specification": specification, "RuntimeConfig": {"CopyCount": 2}}
    world.sagemaker.create_inference_component(EndpointName="shared", **component)

    def status() -> str:
        return str(world.sagemaker.describe_inference_component(InferenceComponentName="one")["InferenceComponentStatus"])

    def pids() -> set[int]:
        call: dict[str, Any] = {"EndpointName": "shared", "InferenceComponentName": "one", "Body": b"x"}
        return {json.loads(world.runtime.invoke_endpoint(**call)["Body"].read())["pid"] for _ in range(8)}

    until(lambda: status() == "InService")
    before = pids()
    world.sagemaker.update_inference_component_runtime_config(InferenceComponentName="one", DesiredRuntimeConfig={"CopyCount": 3})
    world.kill()
    world.up()
    until(lambda: status() == "InService")
    assert len(before) == 2
    assert before < pids()
