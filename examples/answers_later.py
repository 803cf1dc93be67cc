"""An endpoint that answers later and has no instance while nothing waits. Nothing here but boto3, so it runs the same way on AWS.

    train (built-in XGBoost) → asynchronous endpoint → scaled to no instance → requests wait → an instance → answers in S3

With a server: `dewfall up -d; eval "$(dewfall env)"; python examples/answers_later.py`. On AWS, set ROLE_ARN.
"""

from __future__ import annotations

import io
import os
import time

import boto3
import numpy as np
from sklearn.datasets import load_breast_cancer

session = boto3.Session()
region = session.region_name or "us-east-1"
account = session.client("sts").get_caller_identity()["Account"]
role = os.environ.get("ROLE_ARN", f"arn:aws:iam::{account}:role/DewfallExecutionRole")
s3, sagemaker, runtime = session.client("s3"), session.client("sagemaker"), session.client("sagemaker-runtime")
name = f"later-{time.strftime('%Y-%m-%d-%H-%M-%S')}"
bucket = f"{name}-{account}"
IMAGE = f"683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-xgboost:1.7-1"


def as_csv(table: np.ndarray) -> bytes:
    """SageMaker's CSV: no header."""
    text = io.StringIO()
    np.savetxt(text, np.atleast_2d(table), delimiter=",", fmt="%.6g")
    return text.getvalue().encode()


def train(rows: np.ndarray, labels: np.ndarray) -> None:
    """A model by the job's name."""
    s3.put_object(Bucket=bucket, Key="train/train.csv", Body=as_csv(np.column_stack([labels, rows])))
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/train/"}}
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=role,
        HyperParameters={"objective": "binary:logistic", "num_round": "20"},
        InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": source}],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)
    artifact = sagemaker.describe_training_job(TrainingJobName=name)["ModelArtifacts"]["S3ModelArtifacts"]
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": artifact}, ExecutionRoleArn=role)


def serve() -> None:
    """The endpoint, with one instance at first."""
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}],
        AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": f"s3://{bucket}/answers", "S3FailurePath": f"s3://{bucket}/failures"}},
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)


def scale(instances: int) -> None:
    """What automatic scaling does by alarms on HasBacklogWithoutCapacity and ApproximateBacklogSizePerInstance."""
    wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": instances}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wanted)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)


def ask(number: int, row: np.ndarray) -> str:
    """Where the answer will lie."""
    s3.put_object(Bucket=bucket, Key=f"in/{number}.csv", Body=as_csv(row), ContentType="text/csv")
    asked = runtime.invoke_endpoint_async(EndpointName=name, InputLocation=f"s3://{bucket}/in/{number}.csv", ContentType="text/csv")
    location: str = asked["OutputLocation"]
    return location.removeprefix(f"s3://{bucket}/")


def main() -> None:
    """The whole story."""
    rows, labels = load_breast_cancer(return_X_y=True)
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **where)
    train(rows, labels)
    serve()
    scale(0)
    keys = [ask(number, row) for number, row in enumerate(rows[:20])]
    scale(1)
    scores = []
    for key in keys:
        s3.get_waiter("object_exists").wait(Bucket=bucket, Key=key)
        scores.append(float(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    right = ((np.array(scores) > 0.5) == labels[:20]).mean()
    print(f"{len(scores)} answers that waited for an instance, {right:.0%} right")
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": found["Key"]} for found in page.get("Contents", [])]})
    s3.delete_bucket(Bucket=bucket)


if __name__ == "__main__":
    main()
