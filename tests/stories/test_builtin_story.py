"""Built-in algorithms from end to end with a real client: sparse records through a pipe, metrics of the catalog, refusals as AWS's."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import WaiterError
from scipy.sparse import csr_matrix

from dewfall.images.recordio import write_matrix
from dewfall.testing import Server

REGISTRY = "382416733822.dkr.ecr.us-east-1.amazonaws.com"
BUCKET = "builtin-stories"


def trained(dewfall: Server, image: str, given: dict[str, str], body: bytes, content_type: str, mode: str = "File") -> dict[str, Any]:
    """The record of a job that has ended; its data is both train and test."""
    s3, sagemaker = dewfall.client("s3"), dewfall.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="data/part", Body=body)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/data/", "S3DataDistributionType": "FullyReplicated"}}
    sagemaker.create_training_job(
        TrainingJobName="job",
        AlgorithmSpecification={"TrainingImage": f"{REGISTRY}/{image}", "TrainingInputMode": mode},
        RoleArn="arn:aws:iam::000000000000:role/DewfallExecutionRole",
        HyperParameters=given,
        InputDataConfig=[{"ChannelName": name, "ContentType": content_type, "DataSource": source} for name in ("train", "test")],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out/"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 120},
    )
    with contextlib.suppress(WaiterError):  # a failed job ends the waiting too
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="job", WaiterConfig={"Delay": 1, "MaxAttempts": 90})
    return dict(sagemaker.describe_training_job(TrainingJobName="job"))


def test_factorization_machines_through_a_pipe(dewfall: Server) -> None:
    rows = csr_matrix((np.random.default_rng(0).random((600, 20)) < 0.3).astype(np.float32))
    labels = np.asarray(rows[:, [0]].toarray()).ravel()
    given = {"feature_dim": "20", "num_factors": "2", "predictor_type": "binary_classifier", "epochs": "10", "mini_batch_size": "50"}
    job = trained(
        dewfall, "factorization-machines:1", given | {"linear_lr": "0.05"}, write_matrix(rows, labels), "application/x-recordio-protobuf", "Pipe"
    )
    assert job["TrainingJobStatus"] == "Completed"
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert metrics["test:binary_classification_accuracy"] > 0.95
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith("/model.tar.gz")


def test_a_refusal_is_the_customers_error(dewfall: Server) -> None:
    job = trained(dewfall, "lda:1", {"num_topics": "0", "feature_dim": "2", "mini_batch_size": "1"}, b"1,2\n", "text/csv")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Unable to initialize the algorithm.")
    assert "0 is less than the minimum of 1 for 'num_topics'" in job["FailureReason"]


def test_an_image_without_its_library_says_which(dewfall: Server) -> None:

    if find_spec("autogluon"):
        pytest.skip("AutoGluon is installed")
    sagemaker = dewfall.client("sagemaker")
    with pytest.raises(sagemaker.exceptions.ClientError, match=r"needs AutoGluon, which is not installed.*pip install 'autogluon\.tabular'"):
        trained(dewfall, "autogluon:1", {}, b"1,2\n", "text/csv")
