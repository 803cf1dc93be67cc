"""Batch transform with real models: AWS's XGBoost algorithm and a scikit-learn script, trained here, over files in S3."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from dewfall.testing import Server

ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
XGBOOST = f"{REGISTRY}/sagemaker-xgboost:1.7-1"
SKLEARN = f"{REGISTRY}/sagemaker-scikit-learn:1.2-1-cpu-py3"
BUCKET = "transform-stories"
SCRIPT = """
import json, os
import joblib, numpy as np
from sklearn.linear_model import LinearRegression

def model_fn(folder):
    return joblib.load(os.path.join(folder, "model.joblib"))

def input_fn(body, content_type):
    return np.array([json.loads(line)["features"] for line in body.splitlines()])

def output_fn(prediction, accept):
    return "\\n".join(json.dumps({"predicted": round(float(value), 6)}) for value in prediction), accept

def execution_parameters_fn():
    return {"MaxConcurrentTransforms": 2, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 1}

if __name__ == "__main__":
    data = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), delimiter=",")
    joblib.dump(LinearRegression().fit(data[:, 1:], data[:, 0]), os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
"""

Train = Callable[..., None]
Transform = Callable[..., dict[str, bytes]]


@pytest.fixture
def train(dewfall: Server) -> Train:
    """Train on rows of label, a, b, and make the model `model`."""
    s3, sagemaker = dewfall.client("s3"), dewfall.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)

    def run(image: str, rows: str, hyperparameters: dict[str, str], environment: dict[str, str]) -> None:
        s3.put_object(Bucket=BUCKET, Key="train/train.csv", Body=rows.encode())
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/"}
        sagemaker.create_training_job(
            TrainingJobName="train",
            AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
            RoleArn=ROLE,
            HyperParameters=hyperparameters,
            InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}],
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/models"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 600},
        )
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="train")
        data = sagemaker.describe_training_job(TrainingJobName="train")["ModelArtifacts"]["S3ModelArtifacts"]
        container = {"Image": image, "ModelDataUrl": data, "Environment": environment}
        sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, PrimaryContainer=container)

    return run


@pytest.fixture
def transform(dewfall: Server) -> Transform:
    """Transform files line by line; the outputs by name."""
    s3, sagemaker = dewfall.client("s3"), dewfall.client("sagemaker")

    def run(files: dict[str, str], kind: str, **members: Any) -> dict[str, bytes]:
        for name, text in files.items():
            s3.put_object(Bucket=BUCKET, Key=f"batch/{name}", Body=text.encode())
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/batch"}}
        sagemaker.create_transform_job(
            TransformJobName="transform",
            ModelName="model",
            TransformInput={"DataSource": source, "ContentType": kind, "SplitType": "Line"},
            TransformOutput={"S3OutputPath": f"s3://{BUCKET}/scored/", "Accept": kind, "AssembleWith": "Line"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
            **members,
        )
        sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName="transform")
        return {name: s3.get_object(Bucket=BUCKET, Key=f"scored/{name}.out")["Body"].read() for name in files}

    return run


@pytest.mark.slow
def test_xgboost_scores_each_row_beside_its_id(train: Train, transform: Transform) -> None:
    rows = "".join(f"{int(a > 5)},{a},{b}\n" for a in range(10) for b in range(10))
    train(XGBOOST, rows, {"num_round": "5", "objective": "binary:logistic"}, {})
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    scored = transform({"a.csv": "id-1,1,5\nid-2,9,5\n", "deep/b.csv": "id-3,8,1"}, "text/csv", DataProcessing=processing)
    low, high = (line.split(b",") for line in scored["a.csv"].splitlines())
    (last,) = (line.split(b",") for line in scored["deep/b.csv"].splitlines())
    assert [row[0] for row in (low, high, last)] == [b"id-1", b"id-2", b"id-3"]
    assert float(low[1]) < 0.5 < float(high[1])
    assert float(last[1]) == float(high[1])


@pytest.mark.slow
def test_a_scikit_learn_script_scores_json_lines(dewfall: Server, train: Train, transform: Transform) -> None:
    dewfall.client("s3").create_bucket(Bucket="transform-code")
    dewfall.client("s3").put_object(Bucket="transform-code", Key="source.tar.gz", Body=tarball("code.py", SCRIPT))
    uri = "s3://transform-code/source.tar.gz"
    settings = {"sagemaker_program": json.dumps("code.py"), "sagemaker_submit_directory": json.dumps(uri)}
    environment = {"SAGEMAKER_PROGRAM": "code.py", "SAGEMAKER_SUBMIT_DIRECTORY": uri}
    train(SKLEARN, "".join(f"{2 * a + 3 * b + 1},{a},{b}\n" for a in range(6) for b in range(6)), settings, environment)
    lines = "".join(json.dumps({"id": n, "features": [n, 1]}) + "\n" for n in range(500))
    processing = {"JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"}
    scored = transform({"a.jsonl": lines}, "application/jsonlines", DataProcessing=processing)
    assert [json.loads(line) for line in scored["a.jsonl"].splitlines()] == [
        {"id": n, "SageMakerOutput": {"predicted": 2.0 * n + 4}} for n in range(500)
    ]


def tarball(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text.encode())
        archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()
