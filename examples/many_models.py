"""Two ways to put many models on one endpoint. Nothing here but boto3, so it runs the same way on AWS.

    multi-model endpoint ── ten models below one prefix, each loaded with its first call; an eleventh comes without a deployment
    inference components ── two models with copies of their own on shared instances; one grows, the other goes down to none

With a server: `dewfall up -d; eval "$(dewfall env)"; python examples/many_models.py`. On AWS, set ROLE_ARN.
"""

from __future__ import annotations

import io
import os
import tarfile
import time
from typing import Any

import boto3
from botocore.exceptions import ClientError

session = boto3.Session()
region = session.region_name or "us-east-1"
account = session.client("sts").get_caller_identity()["Account"]
role = os.environ.get("ROLE_ARN", f"arn:aws:iam::{account}:role/DewfallExecutionRole")
s3, sagemaker, runtime = session.client("s3"), session.client("sagemaker"), session.client("sagemaker-runtime")
stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
bucket = f"many-models-{region}-{account}-{stamp}"
IMAGE = f"683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
SCRIPT = """
def model_fn(model_dir):
    return FACTOR

def input_fn(body, content_type):
    return float(body)

def predict_fn(number, model):
    return number * model

def output_fn(prediction, accept):
    return str(prediction), "text/csv"
"""


def archive(factor: int) -> bytes:
    """A model that multiplies, as model.tar.gz with its script."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        script = SCRIPT.replace("FACTOR", str(factor)).encode()
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(script)
        tar.addfile(member, io.BytesIO(script))
    return buffer.getvalue()


def put(key: str, factor: int) -> str:
    """Store a model; its URI."""
    s3.put_object(Bucket=bucket, Key=key, Body=archive(factor))
    return f"s3://{bucket}/{key}"


def deploy(name: str, variant: dict[str, Any], **members: Any) -> None:
    """An endpoint of one variant, in service."""
    whole = {"VariantName": "AllTraffic", "InitialInstanceCount": 1, "InstanceType": "ml.m5.xlarge", **variant}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[whole], **members)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)


def ask(name: str, number: int, **target: str) -> str:
    """A model's answer."""
    answer = runtime.invoke_endpoint(EndpointName=name, Body=str(number).encode(), ContentType="text/csv", **target)
    text: str = answer["Body"].read().decode()
    return text


def settled(component: str) -> dict[str, Any]:
    """A component when nothing of it is under way."""
    while True:
        found: dict[str, Any] = sagemaker.describe_inference_component(InferenceComponentName=component)
        if found["InferenceComponentStatus"] not in ("Creating", "Updating"):
            return found
        time.sleep(1)


s3.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}))

shelf = f"shelf-{stamp}"
for factor in range(1, 11):
    put(f"shelf/times-{factor}.tar.gz", factor)
container = {"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": f"s3://{bucket}/shelf/"}
sagemaker.create_model(ModelName=shelf, ExecutionRoleArn=role, PrimaryContainer=container)
deploy(shelf, {"ModelName": shelf})
print("7 ×", [ask(shelf, 7, TargetModel=f"times-{factor}.tar.gz") for factor in range(1, 11)])
put("shelf/times-11.tar.gz", 11)
print("a new model, not deployed but stored:", ask(shelf, 7, TargetModel="times-11.tar.gz"))

shared = f"shared-{stamp}"
deploy(shared, {}, ExecutionRoleArn=role)
for name, factor in (("double", 2), ("triple", 3)):
    sagemaker.create_inference_component(
        InferenceComponentName=f"{name}-{stamp}",
        EndpointName=shared,
        VariantName="AllTraffic",
        Specification={
            "Container": {"Image": IMAGE, "ArtifactUrl": put(f"components/{name}.tar.gz", factor)},
            "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": 1, "MinMemoryRequiredInMb": 256},
        },
        RuntimeConfig={"CopyCount": 1},
    )
for name in ("double", "triple"):
    print(name, settled(f"{name}-{stamp}")["InferenceComponentStatus"], ask(shared, 7, InferenceComponentName=f"{name}-{stamp}"))
for name, copies in (("double", 2), ("triple", 0)):
    sagemaker.update_inference_component_runtime_config(InferenceComponentName=f"{name}-{stamp}", DesiredRuntimeConfig={"CopyCount": copies})
    print(name, settled(f"{name}-{stamp}")["RuntimeConfig"])
try:
    ask(shared, 7, InferenceComponentName=f"triple-{stamp}")
except ClientError as error:
    print("triple:", error.response["Error"]["Message"])

for name in ("double", "triple"):
    sagemaker.delete_inference_component(InferenceComponentName=f"{name}-{stamp}")
while sagemaker.list_inference_components(EndpointNameEquals=shared)["InferenceComponents"]:
    time.sleep(1)
for name in (shelf, shared):
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
sagemaker.delete_model(ModelName=shelf)
