"""TensorFlow script mode, and the trained SavedModel behind TensorFlow Serving's interface."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dewfall import testing_server
from tests.sdk.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
TRAIN, SERVE = f"{REGISTRY}/tensorflow-training:2.16.2-cpu-py310", f"{REGISTRY}/tensorflow-inference:2.16.1-cpu"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
SCRIPT = """
import os, numpy as np, tensorflow as tf
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 2)).astype("float32")
y = x @ np.array([[2.0], [-1.0]], "float32") + 0.5
model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
model.compile(tf.keras.optimizers.SGD(0.1), "mse")
model.fit(x, y, epochs=20, verbose=0)
print("loss=%.6f;" % model.evaluate(x, y, verbose=0))
model.export(os.path.join(os.environ["SM_MODEL_DIR"], "1"))
"""


def test_a_script_trains_and_its_model_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(environment("tensorflow") / "python"))
    with testing_server.running() as server:
        artifact = train(server)
        deploy(server.client("sagemaker"), artifact)
        assert ask(server, {"instances": [[1.0, 1.0], [0.0, 0.0]]})["predictions"] == [[pytest.approx(1.5, abs=0.1)], [pytest.approx(0.5, abs=0.1)]]
        assert ask(server, {"inputs": [[1.0, 1.0]]})["outputs"] == [[pytest.approx(1.5, abs=0.1)]]
        assert ask(server, "1,1\n", kind="text/csv")["predictions"] == [[pytest.approx(1.5, abs=0.1)]]


def ask(server: Any, body: Any, kind: str = "application/json") -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = server.client("sagemaker-runtime").invoke_endpoint(EndpointName="t", ContentType=kind, Body=text)
    return json.loads(answer["Body"].read())


def train(server: Any) -> str:
    """Train and wait; the model's artifact."""
    s3, sagemaker = server.client("s3"), server.client("sagemaker")
    s3.create_bucket(Bucket="tensorflow")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size = len(SCRIPT.encode())
        archive.addfile(member, io.BytesIO(SCRIPT.encode()))
    s3.put_object(Bucket="tensorflow", Key="source.tar.gz", Body=packed.getvalue())
    sagemaker.create_training_job(
        TrainingJobName="t",
        AlgorithmSpecification={"TrainingImage": TRAIN, "TrainingInputMode": "File"},
        RoleArn=ROLE,
        HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://tensorflow/source.tar.gz"},
        OutputDataConfig={"S3OutputPath": "s3://tensorflow/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="t")
    job = sagemaker.describe_training_job(TrainingJobName="t")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    return str(job["ModelArtifacts"]["S3ModelArtifacts"])


def deploy(sagemaker: Any, artifact: str) -> None:
    """Serve the trained model and wait."""
    sagemaker.create_model(ModelName="t", PrimaryContainer={"Image": SERVE, "ModelDataUrl": artifact}, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "t", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="t", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="t", EndpointConfigName="t")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="t")
