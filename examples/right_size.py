"""Find the cheapest instance that a model needs: a package of the registry, load-tested on real endpoints, and deployed as recommended.

    train ─ register ─ approve ─ recommendations job (three instance types, one or two threads) ─ ranked ─ the best is deployed

With a server: `dewfall up -d; eval "$(dewfall env)"; python examples/right_size.py`. On AWS, set ROLE_ARN; there each phase lasts two minutes
at least, so set PHASE_SECONDS=120.
"""

from __future__ import annotations

import io
import os
import tarfile
import time
from typing import Any

import boto3

PHASE = int(os.environ.get("PHASE_SECONDS", "2"))
LONGEST = 3600.0  # seconds to wait for the job
session = boto3.Session()
region = session.region_name or "us-east-1"
account = session.client("sts").get_caller_identity()["Account"]
role = os.environ.get("ROLE_ARN", f"arn:aws:iam::{account}:role/DewfallExecutionRole")
s3, sagemaker, runtime = session.client("s3"), session.client("sagemaker"), session.client("sagemaker-runtime")
stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
name, bucket = f"right-size-{stamp}", f"right-size-{region}-{account}-{stamp}"
IMAGE = f"683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-xgboost:1.7-1"
ROWS = "\n".join(f"{n % 2},{n % 2 + n % 7 / 10},{n % 5},{n % 3}" for n in range(300))


def main() -> None:
    """Register a model, measure it, deploy the best."""
    s3.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}))
    s3.put_object(Bucket=bucket, Key="train/rows.csv", Body=ROWS.encode())
    s3.put_object(Bucket=bucket, Key="payload.tar.gz", Body=payload())
    package = register(train())
    print("registered", package)
    best = recommend(package)
    deploy(package, best)


def train() -> str:
    """A small classifier; where it lies."""
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/train/"}}
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=role,
        HyperParameters={"num_round": "50", "objective": "binary:logistic"},
        InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": source}],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)
    data: str = sagemaker.describe_training_job(TrainingJobName=name)["ModelArtifacts"]["S3ModelArtifacts"]
    return data


def register(data: str) -> str:
    """A version of a model package group, approved."""
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    package: str = sagemaker.create_model_package(
        ModelPackageGroupName=name,
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": data}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        SamplePayloadUrl=f"s3://{bucket}/payload.tar.gz",
        Domain="MACHINE_LEARNING",
        Task="OTHER",
    )["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved", ApprovalDescription="looks good")
    return package


def recommend(package: str) -> dict[str, Any]:
    """Measure the candidates; the best of them."""
    threads = {"CategoricalParameterRanges": [{"Name": "OMP_NUM_THREADS", "Value": ["1", "2"]}]}
    candidates: list[dict[str, Any]] = [{"InstanceType": "ml.c5.large", "EnvironmentParameterRanges": threads}]
    candidates += [{"InstanceType": "ml.m5.large"}, {"InstanceType": "ml.m5.24xlarge"}]
    phases = [{"InitialNumberOfUsers": users, "SpawnRate": 0, "DurationInSeconds": PHASE} for users in (1, 4, 8)]
    sagemaker.create_inference_recommendations_job(
        JobName=name,
        JobType="Advanced",
        RoleArn=role,
        InputConfig={
            "ModelPackageVersionArn": package,
            "EndpointConfigurations": candidates,
            "TrafficPattern": {"TrafficType": "PHASES", "Phases": phases},
            "ResourceLimit": {"MaxNumberOfTests": 4, "MaxParallelOfTests": 2},
        },
        StoppingConditions={"ModelLatencyThresholds": [{"Percentile": "P95", "ValueInMilliseconds": 500}]},
    )
    until = time.monotonic() + LONGEST
    while (job := sagemaker.describe_inference_recommendations_job(JobName=name))["Status"] in ("PENDING", "IN_PROGRESS"):
        assert time.monotonic() < until, "the job takes too long"
        time.sleep(0.5)
    for step in sagemaker.list_inference_recommendations_job_steps(JobName=name)["Steps"]:
        benchmark = step["InferenceBenchmark"]
        print(step["Status"], benchmark["EndpointConfiguration"]["InstanceType"], benchmark.get("Metrics") or benchmark.get("FailureReason"))
    best: dict[str, Any] = job["InferenceRecommendations"][0]
    return best


def deploy(package: str, best: dict[str, Any]) -> None:
    """The recommendation as it is: instance type, count and environment."""
    environment = {one["Key"]: one["Value"] for one in best["ModelConfiguration"].get("EnvironmentParameters", ())}
    endpoint = best["EndpointConfiguration"]
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"ModelPackageName": package, "Environment": environment})
    variant = {"VariantName": "AllTraffic", "ModelName": name}
    variant |= {member: endpoint[member] for member in ("InstanceType", "InitialInstanceCount")}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=b"1.2,3,1")["Body"].read().decode()
    print("best", endpoint["InstanceType"], environment, "answers", answer.strip())
    sagemaker.delete_endpoint(EndpointName=name)


def payload() -> bytes:
    """A sample request as a tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        row = b"1.2,3,1\n"
        member = tarfile.TarInfo("sample.csv")
        member.size = len(row)
        archive.addfile(member, io.BytesIO(row))
    return buffer.getvalue()


if __name__ == "__main__":
    main()
