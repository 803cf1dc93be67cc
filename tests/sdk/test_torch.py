"""PyTorch script mode: trained and served by a server whose environment has the extra."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections import ChainMap
from pathlib import Path
from typing import Any

import pytest

from dewfall import testing_server
from tests.sdk.conftest import environment, run_against

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
TRAIN = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3.0-cpu-py311-ubuntu20.04-sagemaker"
SERVE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.3.0-cpu-py311-ubuntu20.04-sagemaker"
SCRIPT = """
import argparse, os
import numpy as np, torch

def model_fn(model_dir):
    model = torch.nn.Linear(2, 1)
    model.load_state_dict(torch.load(os.path.join(model_dir, "model.pth")))
    return model.eval()

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int)
    epochs = parser.parse_args().epochs
    torch.manual_seed(0)
    x = torch.randn(256, 2)
    y = x @ torch.tensor([[2.0], [-1.0]]) + 0.5
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    print(f"loss={loss.item():.6f};")
    torch.save(model.state_dict(), os.path.join(os.environ["SM_MODEL_DIR"], "model.pth"))
"""
TOGETHER = """
import json, os
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
x = torch.randn(256, 2)
y = x @ torch.tensor([[2.0], [-1.0]]) + 0.5
x, y = x[rank::size], y[rank::size]
model = DistributedDataParallel(torch.nn.Linear(2, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(60):
    loss = torch.nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
learned = [value for part in model.parameters() for value in part.flatten().tolist()]
with open(os.path.join(os.environ["SM_MODEL_DIR"], os.environ["SM_CURRENT_HOST"] + ".json"), "w") as file:
    json.dump(learned, file)
dist.barrier()
dist.destroy_process_group()
os._exit(0)  # gloo's threads may still drop their last work, and abort an interpreter that shuts down meanwhile
"""


def test_a_script_trains_and_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(environment("torch") / "python"))
    with testing_server.running() as server:
        sagemaker = server.client("sagemaker")
        upload(server.client("s3"), tmp_path, SCRIPT)
        job = train(sagemaker)
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        assert job["FinalMetricDataList"][0]["Value"] < 0.01
        deploy(sagemaker, job["ModelArtifacts"]["S3ModelArtifacts"])
        answer = server.client("sagemaker-runtime").invoke_endpoint(EndpointName="t", ContentType="application/json", Body=json.dumps([[1.0, 1.0]]))
        assert json.loads(answer["Body"].read())[0][0] == pytest.approx(1.5, abs=0.2)


def test_two_hosts_train_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(environment("torch") / "python"))
    with testing_server.running() as server:
        upload(server.client("s3"), tmp_path, TOGETHER)
        job = train(server.client("sagemaker"), count=2, sagemaker_torch_distributed_enabled="true")
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        body = server.client("s3").get_object(Bucket="torch", Key="out/t/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        first, second = (json.load(archive.extractfile(name)) for name in ("algo-1.json", "algo-2.json"))  # type: ignore[arg-type]
    assert first == second
    assert first == pytest.approx([2.0, -1.0, 0.5], abs=0.01)


def test_the_torchrun_of_sdk_v3_spans_two_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(environment("torch") / "python"))
    with testing_server.running() as server:
        assert run_against(server, tmp_path, "v3", "v3_torchrun.py") == [{"status": "Completed"}]
        (job,) = server.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
        described = server.client("sagemaker").describe_training_job(TrainingJobName=job["TrainingJobName"])
        bucket, key = described["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").split("/", 1)
        body = server.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert {name: archive.extractfile(name).read() for name in archive.getnames()} == {"algo-1": b"3.0", "algo-2": b"3.0"}  # type: ignore[union-attr]


def test_many_script_mode_models_share_an_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(environment("torch") / "python"))
    with testing_server.running() as server:
        told: Any = ChainMap(*run_against(server, tmp_path, "v2", "v2_torch_models.py"))
    assert told["answers"] == [2.0, -2.0, 2.0]
    assert (told["bare"], told["after"]) == ("ModelError", -2.0)
    assert "No module named 'inference'" in told["said"]


def upload(s3: Any, folder: Path, script: str) -> None:
    """The script as SDKs upload it."""
    s3.create_bucket(Bucket="torch")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        (folder / "train.py").write_text(script)
        archive.add(folder / "train.py", "train.py")
    s3.put_object(Bucket="torch", Key="source.tar.gz", Body=packed.getvalue())


def train(sagemaker: Any, *, count: int = 1, **parameters: str) -> dict[str, Any]:
    """Train and wait."""
    sagemaker.create_training_job(
        TrainingJobName="t",
        AlgorithmSpecification={
            "TrainingImage": TRAIN,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        RoleArn=ROLE,
        HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://torch/source.tar.gz", "epochs": "60", **parameters},
        OutputDataConfig={"S3OutputPath": "s3://torch/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="t")
    job: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName="t")
    return job


def deploy(sagemaker: Any, artifact: str) -> None:
    """Serve the trained model and wait."""
    variables = {"SAGEMAKER_PROGRAM": "train.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://torch/source.tar.gz"}
    container = {"Image": SERVE, "ModelDataUrl": artifact, "Environment": variables}
    sagemaker.create_model(ModelName="t", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "t", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="t", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="t", EndpointConfigName="t")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="t")
    assert sagemaker.describe_endpoint(EndpointName="t")["EndpointStatus"] == "InService"
