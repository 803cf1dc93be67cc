"""Jobs on a Ray cluster: a head and a worker on this machine, the contract of Compute, and training on two instances through the server."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dewfall import testing_server
from dewfall.testing_server import Server
from tests.engine.agents import cluster as clusters
from tests.engine.agents.cluster import Cluster
from tests.sdk.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
RING = """
import json, os, pathlib, socket, time
config = json.loads(pathlib.Path("/opt/ml/input/config/resourceconfig.json").read_text())
me, (other,) = config["current_host"], [host for host in config["hosts"] if host != config["current_host"]]
print("waiting", flush=True)
while not os.path.exists(os.environ["GO"]): time.sleep(0.05)
server = socket.create_server((me, 5000))
for _ in range(1000):
    try:
        client = socket.create_connection((other, 5000)); break
    except OSError: time.sleep(0.05)
client.sendall(me.encode()); client.close()
heard = server.accept()[0].recv(100).decode()
pathlib.Path(os.environ["SM_MODEL_DIR"], me).write_text(f"{socket.gethostbyname(me)} heard {heard}")
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with clusters.running(environment("ray")) as cluster:
        yield cluster


@pytest.fixture
def server(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Of the environment that has Ray. It may be killed and started again."""
    monkeypatch.setattr(sys, "executable", str(environment("ray") / "python"))
    opened = start(tmp_path / "data", cluster)
    yield opened
    testing_server.stop(opened)


def start(data: Path, cluster: Cluster) -> Server:
    return testing_server.start(data, environment={**os.environ, **cluster.token, "DEWFALL_COMPUTE": cluster.url}, seconds=START_SECONDS)


def train(server: Server) -> None:
    """Begin a job of two instances that goes on when the file run/go is there, and wait until both run."""
    s3, packed = server.client("s3"), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size = len(RING)
        archive.addfile(member, io.BytesIO(RING.encode()))
    s3.create_bucket(Bucket="ray")
    s3.put_object(Bucket="ray", Key="source.tar.gz", Body=packed.getvalue())
    server.client("sagemaker").create_training_job(
        TrainingJobName="t",
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=ROLE,
        HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://ray/source.tar.gz"},
        OutputDataConfig={"S3OutputPath": "s3://ray/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        Environment={"GO": str(server.data / "run" / "go")},
    )
    while sum("waiting" in log.read_text() for log in (server.data / "ray").glob("*/log")) < 2:
        pass


def end(server: Server) -> dict[str, Any]:
    """The job, when it is over."""
    sagemaker = server.client("sagemaker")
    while (job := sagemaker.describe_training_job(TrainingJobName="t"))["TrainingJobStatus"] == "InProgress":
        pass
    return dict(job)


def test_the_contract_of_compute(cluster: Cluster) -> None:
    command = [str(environment("ray") / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_ray_compute.py"]
    variables = {**os.environ, **cluster.token, "DEWFALL_TEST_RAY": cluster.url}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "skipped" not in done.stdout


def test_two_nodes_train_while_the_server_is_killed(server: Server, cluster: Cluster) -> None:
    train(server)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    (server.data / "run" / "go").touch()
    again = start(server.data, cluster)
    server.process, server.url = again.process, again.url
    job = end(again)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    body = again.client("s3").get_object(Bucket="ray", Key="out/t/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        told = {name: archive.extractfile(name).read().decode().split() for name in archive.getnames()}  # type: ignore[union-attr]
    assert {name: words[1:] for name, words in told.items()} == {"algo-1": ["heard", "algo-2"], "algo-2": ["heard", "algo-1"]}
    assert {words[0] for words in told.values()} == {clusters.HEAD, clusters.WORKER}


def test_a_node_is_lost(server: Server, cluster: Cluster) -> None:
    train(server)
    cluster.lose_worker()
    job = end(server)
    cluster.add_worker()
    assert (job["TrainingJobStatus"], job["FailureReason"][:19]) == ("Failed", "InternalServerError")
