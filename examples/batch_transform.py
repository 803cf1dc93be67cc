"""Score a folder of files with a model, and keep each score beside its record. Nothing here but boto3, so it runs the same way on AWS.

    train (built-in XGBoost) → model → transform job: drop the id, score, join, keep id and score → read the results

With a server: `dewfall up -d; eval "$(dewfall env)"; python examples/batch_transform.py`. On AWS, set ROLE_ARN.
"""

from __future__ import annotations

import io
import os
import time

import boto3
import numpy as np
from sklearn.datasets import load_breast_cancer

FILES, ROWS = 4, 25_000
session = boto3.Session()
region = session.region_name or "us-east-1"
account = session.client("sts").get_caller_identity()["Account"]
role = os.environ.get("ROLE_ARN", f"arn:aws:iam::{account}:role/DewfallExecutionRole")
s3, sagemaker = session.client("s3"), session.client("sagemaker")
stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
name, bucket = f"batch-{stamp}", f"batch-{region}-{account}-{stamp}"
IMAGE = f"683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-xgboost:1.7-1"


def as_csv(table: np.ndarray) -> bytes:
    """SageMaker's CSV: no header."""
    text = io.StringIO()
    np.savetxt(text, table, delimiter=",", fmt="%.6g")
    return text.getvalue().encode()


def folder(prefix: str) -> dict[str, dict[str, str]]:
    """A data source of everything beneath a prefix."""
    return {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{prefix}/"}}


def train(rows: np.ndarray, labels: np.ndarray) -> None:
    """A model by the job's name."""
    s3.put_object(Bucket=bucket, Key="train/train.csv", Body=as_csv(np.column_stack([labels, rows])))
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=role,
        HyperParameters={"objective": "binary:logistic", "num_round": "40"},
        InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": folder("train")}],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)
    artifact = sagemaker.describe_training_job(TrainingJobName=name)["ModelArtifacts"]["S3ModelArtifacts"]
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": artifact}, ExecutionRoleArn=role)


def transform() -> float:
    """Score every file beneath `in`; the seconds it took."""
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        BatchStrategy="MultiRecord",
        MaxPayloadInMB=2,
        MaxConcurrentTransforms=2,
        TransformInput={"DataSource": folder("in"), "ContentType": "text/csv", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": f"s3://{bucket}/scores", "Accept": "text/csv", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName=name)
    job = sagemaker.describe_transform_job(TransformJobName=name)
    if job["TransformJobStatus"] != "Completed":
        raise SystemExit(f"{job['TransformJobStatus']}: {job.get('FailureReason')}")
    seconds: float = (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds()
    return seconds


def main() -> None:
    """The whole story."""
    rows, labels = load_breast_cancer(return_X_y=True)
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **where)
    train(rows, labels)
    drawn = np.random.default_rng(0).integers(len(rows), size=FILES * ROWS)
    for number, part in enumerate(np.split(np.arange(FILES * ROWS), FILES)):
        s3.put_object(Bucket=bucket, Key=f"in/part-{number}.csv", Body=as_csv(np.column_stack([part, rows[drawn[part]]])))
    seconds = transform()
    scored = [
        np.loadtxt(io.BytesIO(s3.get_object(Bucket=bucket, Key=f"scores/part-{n}.csv.out")["Body"].read()), delimiter=",") for n in range(FILES)
    ]
    ids, scores = np.vstack(scored).T
    assert (ids == np.arange(FILES * ROWS)).all()
    print(f"{len(ids)} records in {seconds:.1f} s, {((scores > 0.5) == labels[drawn]).mean():.1%} right; id and score of the first: {scored[0][0]}")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": found["Key"]} for found in page.get("Contents", [])]})
    s3.delete_bucket(Bucket=bucket)
    sagemaker.delete_model(ModelName=name)


if __name__ == "__main__":
    main()
