"""The algorithms on PyTorch in an environment that has it: their own tests, jobs and an endpoint of a server, a language model as a script."""

from __future__ import annotations

import io
import json
import math
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dewfall import testing_server
from dewfall.images.builtin.pictures import pack
from dewfall.images.recordio import frame
from tests.sdk.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
ROOT = Path(__file__).parents[2]
DEEPAR = "522234722520.dkr.ecr.us-east-1.amazonaws.com/forecasting-deepar:1"
IMAGES = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"
REC = "application/x-recordio"
SCRIPTS = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3.0-cpu-py311-ubuntu20.04-sagemaker"


@pytest.fixture(scope="module")
def server() -> Iterator[testing_server.Server]:
    """A server whose environment has the extras."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(environment("torch") / "python"))
        with testing_server.running() as found:
            found.client("s3").create_bucket(Bucket="torch")
            yield found


def trained(server: testing_server.Server, name: str, image: str, given: dict[str, str], channels: dict[str, tuple[str, bytes]]) -> dict[str, Any]:
    """A finished training job; channels: content type and the one object."""
    s3, sagemaker = server.client("s3"), server.client("sagemaker")
    inputs = []
    for channel, (kind, body) in channels.items():
        s3.put_object(Bucket="torch", Key=f"{name}/{channel}/data.json", Body=body)
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://torch/{name}/{channel}/"}}
        inputs.append({"ChannelName": channel, "DataSource": source, "ContentType": kind})
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"}
        | ({"MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+);"}]} if image == SCRIPTS else {}),
        RoleArn=ROLE,
        HyperParameters=given,
        **({"InputDataConfig": inputs} if inputs else {}),
        OutputDataConfig={"S3OutputPath": "s3://torch/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 900},
    )
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)
    job: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    return job


def metrics(job: dict[str, Any]) -> dict[str, float]:
    return {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}


def test_their_own_tests_pass() -> None:
    command = [str(environment("torch") / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/images/builtin/neural"]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout


def test_deepar_trains_and_forecasts_behind_an_endpoint(server: testing_server.Server) -> None:
    rng, hours = np.random.default_rng(1), np.arange(24 * 15)
    shape = 2 + np.cos(hours * np.pi / 12)
    series = [{"start": "2024-01-01 00:00:00", "target": (level * (shape + rng.normal(0, 0.1, len(hours)))).tolist()} for level in (2.0, 5.0, 30.0)]
    known = "".join(json.dumps(one | {"target": one["target"][:-24]}) + "\n" for one in series).encode()
    given = {"time_freq": "H", "context_length": "24", "prediction_length": "24", "epochs": "12", "mini_batch_size": "32", "learning_rate": "0.01"}
    whole = "".join(json.dumps(one) + "\n" for one in series).encode()
    job = trained(server, "deepar", DEEPAR, given, {"train": ("json", known), "test": ("json", whole)})
    truth = np.array([one["target"] for one in series])
    assert metrics(job)["test:RMSE"] < 2 * np.sqrt(((truth[:, -24:] - truth[:, -48:-24]) ** 2).mean())
    sagemaker = server.client("sagemaker")
    container = {"Image": DEEPAR, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
    sagemaker.create_model(ModelName="deepar", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "deepar", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="deepar", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="deepar", EndpointConfigName="deepar")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="deepar")
    body = {"instances": [series[0]], "configuration": {"num_samples": 20, "output_types": ["mean", "quantiles"], "quantiles": ["0.5"]}}
    answer = server.client("sagemaker-runtime").invoke_endpoint(EndpointName="deepar", ContentType="application/json", Body=json.dumps(body))
    found = json.loads(answer["Body"].read())["predictions"][0]
    assert len(found["mean"]) == len(found["quantiles"]["0.5"]) == 24


def test_image_classification_reads_handwriting(server: testing_server.Server) -> None:
    from sklearn.linear_model import LogisticRegression

    path = Path("/work/shared/data/mnist_10k.npz")
    if not path.exists():
        pytest.skip("mnist_10k.npz is not here")
    with np.load(path) as stored:
        images, labels = (np.asarray(stored[name]) for name in ("x", "y"))
    images, labels = images.reshape(-1, 28, 28)[:1000].astype(np.uint8), labels[:1000].astype(int)
    records = [frame(pack(int(label), png(image))) for image, label in zip(images, labels, strict=True)]
    given = {"num_classes": "10", "num_training_samples": "700", "num_layers": "20", "image_shape": "1,14,14", "resize": "14"}
    given |= {"epochs": "8", "optimizer": "adam", "learning_rate": "0.003", "mini_batch_size": "16"}
    channels = {"train": (REC, b"".join(records[:700])), "validation": (REC, b"".join(records[700:]))}
    job = trained(server, "images", IMAGES, given, channels)
    flat = images.reshape(-1, 784) / 255
    theirs = LogisticRegression(max_iter=500).fit(flat[:700], labels[:700]).score(flat[700:], labels[700:])
    assert metrics(job)["validation:accuracy"] > theirs - 0.05


def png(pixels: np.ndarray) -> bytes:
    """A grey picture, written without a library."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_small_language_model_learns_as_a_script(server: testing_server.Server) -> None:
    """Characters of real text; on text that it has not seen it guesses better than by the character before alone."""
    import sklearn

    text = "".join(path.read_text() for path in sorted((Path(sklearn.__file__).parent / "datasets" / "descr").glob("*.rst")))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(Path(__file__).parent / "scripts" / "language_model.py", "language_model.py")
    server.client("s3").put_object(Bucket="torch", Key="language.tar.gz", Body=packed.getvalue())
    given = {"sagemaker_program": "language_model.py", "sagemaker_submit_directory": "s3://torch/language.tar.gz", "steps": "250"}
    job = trained(server, "language", SCRIPTS, given, {"training": ("text/plain", text.encode())})
    assert metrics(job)["loss"] < bigram_entropy(text)


def bigram_entropy(text: str) -> float:
    """Nats per character, when each is guessed from the one before as often as it followed it in this very text."""
    pairs, before = Counter(pairwise(text)), Counter(text[:-1])
    return -sum(count * math.log(count / before[first]) for (first, _), count in pairs.items()) / (len(text) - 1)
