"""What is measured. Each function returns rows: (what, value with unit, goal, whether the goal was met)."""

from __future__ import annotations

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3

from benchmarks import peers
from benchmarks.algorithms import algorithms
from benchmarks.load import connect, exchange, run, signed
from benchmarks.many_models import many_models
from benchmarks.many_objects import many_objects
from benchmarks.pipe_mode import pipe_mode
from benchmarks.responsible import responsible
from benchmarks.tuning import tuning
from dewfall.environment import exports
from dewfall.settings import read_settings

Row = tuple[str, str, str, bool]
PAIRS = 5
SECONDS = 2.0
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


def client(url: str, service: str) -> Any:
    """A boto3 client."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    return boto3.client(service, endpoint_url=url, **keys)


def alternate(first: Callable[[], float], second: Callable[[], float]) -> float:
    """The median of the ratios of five alternated pairs."""
    return statistics.median(first() / second() for _ in range(PAIRS))


def _prepare(url: str) -> None:
    s3 = client(url, "s3")
    s3.create_bucket(Bucket="bench")
    s3.put_object(Bucket="bench", Key="small", Body=b"x" * 1024)


def _requests(url: str, endpoint: str) -> dict[str, bytes]:
    body = json.dumps({"EndpointName": endpoint}).encode()
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "SageMaker.DescribeEndpoint"}
    return {
        "DescribeEndpoint": signed(url + "/", "sagemaker", "POST", headers, body),
        "PutObject of 1 KiB": signed(f"{url}/bench/put", "s3", "PUT", {}, b"x" * 1024),
        "GetObject of 1 KiB": signed(f"{url}/bench/small", "s3", "GET", {}),
    }


def against_moto() -> list[Row]:
    """Raw signed requests over one connection, against moto's server in the same run."""
    rows: list[Row] = []
    with peers.dewfall() as (ours, _, _), peers.moto() as theirs:
        for url in (ours, theirs):
            _prepare(url)
        _endpoint(ours, real=True)
        _endpoint(theirs, real=False)
        mine, other = _requests(ours, "bench"), _requests(theirs, "bench")
        for name in mine:
            rates: dict[str, list[float]] = {"ours": [], "theirs": []}

            def ours_rate(name: str = name, rates: dict[str, list[float]] = rates) -> float:
                rates["ours"].append(run(ours, mine[name], SECONDS).rate)
                return rates["ours"][-1]

            def their_rate(name: str = name, rates: dict[str, list[float]] = rates) -> float:
                rates["theirs"].append(run(theirs, other[name], SECONDS).rate)
                return rates["theirs"][-1]

            ratio = alternate(ours_rate, their_rate)
            mine_median, their_median = statistics.median(rates["ours"]), statistics.median(rates["theirs"])
            rows.append((f"{name}, requests a second", f"{ratio:.1f} × moto ({mine_median:.0f} : {their_median:.0f})", "≥ 5 ×", ratio >= 5))
    return rows


def _endpoint(url: str, *, real: bool) -> None:
    sagemaker = client(url, "sagemaker")
    if real:
        artifact = _train(url, "bench", XGBOOST, {"num_round": "20", "objective": "binary:logistic"})
    else:
        artifact = "s3://bench/none"
    sagemaker.create_model(ModelName="bench", PrimaryContainer={"Image": XGBOOST, "ModelDataUrl": artifact}, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "bench", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large", "InitialVariantWeight": 1.0}
    sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
    if real:
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="bench")


def _data() -> bytes:
    lines = [",".join(str((i * 7 + j * 3) % 11 / 10 if j else i % 2) for j in range(31)) for i in range(400)]
    return "\n".join(lines).encode()


def create_job(url: str, name: str, image: str, hyperparameters: dict[str, str]) -> None:
    """Start a training job on the bench data."""
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bench/train/"}}
    client(url, "sagemaker").create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
        RoleArn=ROLE,
        HyperParameters=hyperparameters,
        InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": source}],
        OutputDataConfig={"S3OutputPath": "s3://bench/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )


def _train(url: str, name: str, image: str, hyperparameters: dict[str, str]) -> str:
    client(url, "s3").put_object(Bucket="bench", Key="train/train.csv", Body=_data())
    create_job(url, name, image, hyperparameters)
    sagemaker = client(url, "sagemaker")
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)
    job = sagemaker.describe_training_job(TrainingJobName=name)
    if job["TrainingJobStatus"] != "Completed":
        raise RuntimeError(job.get("FailureReason"))
    artifact: str = job["ModelArtifacts"]["S3ModelArtifacts"]
    return artifact


def download() -> list[Row]:
    """A large object, against nginx on the same file."""
    if shutil.which("nginx") is None:
        return [("large download", "nginx is not installed", "≥ 0.7 × nginx", False)]
    size = 1 << 30
    with peers.dewfall() as (ours, _, _), tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "big"
        with file.open("wb") as out:
            for _ in range(size >> 20):
                out.write(os.urandom(1 << 20))
        s3 = client(ours, "s3")
        s3.create_bucket(Bucket="bench")
        s3.upload_file(str(file), "bench", "big")
        with peers.nginx(file) as theirs:
            get = signed(f"{ours}/bench/big", "s3", "GET", {})
            plain = f"GET /{file.name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

            def rate(address: str, request: bytes) -> float:
                with connect(address) as connection:
                    began = time.perf_counter()
                    exchange(connection, request, keep=0)
                    return size / (time.perf_counter() - began) / 2**20

            rate(ours, get), rate(theirs, plain)
            speeds: list[float] = []

            def ours_rate() -> float:
                speeds.append(rate(ours, get))
                return speeds[-1]

            ratio = alternate(ours_rate, lambda: rate(theirs, plain))
    return [("download of 1 GiB", f"{ratio:.2f} × nginx ({statistics.median(speeds):.0f} MiB/s)", "≥ 0.7 ×", ratio >= 0.7)]


def start_and_memory() -> list[Row]:
    """Start to ready, and what an idle server holds."""
    times, memory = [], []
    for _ in range(PAIRS):
        began = time.perf_counter()
        with peers.dewfall() as (_, process, _):
            times.append(time.perf_counter() - began)
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory.append(int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024)
    start, held = statistics.median(times), statistics.median(memory)
    return [("server start to ready", f"{start:.2f} s", "< 1 s", start < 1), ("idle memory", f"{held:.0f} MB", "< 120 MB", held < 120)]


SCRIPT = """
import os, time, numpy as np
from sklearn.linear_model import LogisticRegression
began = time.perf_counter()
data = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), delimiter=",")
LogisticRegression().fit(data[:, 1:], data[:, 0])
time.sleep(float(os.environ.get("SM_HP_REST", "0")))
open(os.path.join(os.environ["SM_MODEL_DIR"], "took"), "w").write(str(time.perf_counter() - began))
"""


def upload_script(url: str) -> dict[str, str]:
    """Put the script where script mode finds it; the hyperparameters that name it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size = len(SCRIPT.encode())
        archive.addfile(member, io.BytesIO(SCRIPT.encode()))
    client(url, "s3").put_object(Bucket="bench", Key="code/source.tar.gz", Body=packed.getvalue())
    return {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://bench/code/source.tar.gz"}


def job_overhead() -> list[Row]:
    """Creation to Completed of a scikit-learn job, less the same fit in a process that has imported the library."""
    with peers.dewfall() as (url, _, _):
        s3 = client(url, "s3")
        s3.create_bucket(Bucket="bench")
        s3.put_object(Bucket="bench", Key="train/train.csv", Body=_data())
        hyperparameters = upload_script(url)
        overheads = []
        for number in range(21):
            name = f"job-{number}"
            began = time.perf_counter()
            create_job(url, name, SKLEARN, hyperparameters)
            client_wait(url, name)
            took = time.perf_counter() - began
            packed = io.BytesIO(s3.get_object(Bucket="bench", Key=f"models/{name}/output/model.tar.gz")["Body"].read())
            with tarfile.open(fileobj=packed) as archive:
                inner = archive.extractfile("took")
                fit = float(inner.read()) if inner else 0.0
            overheads.append(took - fit)
        median = statistics.median(overheads[1:])
        rest = hyperparameters | {"rest": "1.0"}
        began = time.perf_counter()
        create_job(url, "one-second", SKLEARN, rest)
        client_wait(url, "one-second")
        waited = time.perf_counter() - began
    return [
        ("overhead of a training job, median of 20", f"{median:.2f} s", "< 0.5 s", median < 0.5),
        ("boto3 waiter on a 1-second training job", f"{waited:.2f} s", "< 1.5 s", waited < 1.5),
    ]


def client_wait(url: str, name: str) -> None:
    """boto3's own waiter."""
    client(url, "sagemaker").get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)


def invocations() -> list[Row]:
    """One CSV row through the router, against the replica asked directly."""
    with peers.dewfall() as (url, _, data):
        client(url, "s3").create_bucket(Bucket="bench")
        _endpoint(url, real=True)
        replica = next(json.loads(f.read_text())["address"] for f in (data / "jobs").glob("endpoint.*/status.json"))
        row = ",".join("0.5" for _ in range(30)).encode()
        head = {"Content-Type": "text/csv", "Accept": "text/csv"}
        routed = signed(f"{url}/endpoints/bench/invocations", "sagemaker", "POST", head, row)
        length = f"Content-Length: {len(row)}\r\n"
        direct = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nAccept: text/csv\r\n{length}\r\n".encode() + row
        run(url, routed, 1)
        medians: list[float] = []

        def ours_rate() -> float:
            load = run(url, routed, SECONDS, 4)
            return load.rate

        ratio = alternate(ours_rate, lambda: run(replica, direct, SECONDS, 4).rate)
        for _ in range(PAIRS):
            medians.append(run(url, routed, SECONDS / 2).p50)
        p50 = statistics.median(medians)
    return [
        ("InvokeEndpoint, throughput of the replica asked directly", f"{ratio:.2f} ×", "≥ 0.5 ×", ratio >= 0.5),
        ("InvokeEndpoint, median of one row", f"{p50:.2f} ms", "< 2 ms", p50 < 2),
    ]


def sdk_waits() -> list[Row]:
    """The SageMaker SDKs' own waiting on a 1-second job, under `dewfall exec` and without."""
    rows: list[Row] = []
    scripts = Path(__file__).parent / "scripts"
    with peers.dewfall() as (url, _, _):
        client(url, "s3").create_bucket(Bucket="bench")
        client(url, "s3").put_object(Bucket="bench", Key="train/train.csv", Body=_data())
        settings = replace(read_settings(), port=int(url.rsplit(":", 1)[1]))
        exec_prefix = [sys.executable, "-m", "dewfall", "exec", "--port", str(settings.port), "--"]
        ways = (("v2", "under exec", 2.5), ("v2", "after activate()", 2.5), ("v3", "under exec", 2.5), ("v2", "by variables alone", 7.0))
        for version, how, goal in ways:
            what = f"SDK {version} fit of a 1-second job {how}"
            python = peers.MOTO.parent / version / "bin" / "python"
            if not python.exists():
                rows.append((what, f"{python} is missing: make test-slow makes it", f"< {goal} s", False))
                continue
            prefix, variables = (exec_prefix, {}) if how == "under exec" else ([], exports(settings))
            command = [*prefix, str(python), str(scripts / f"{version}_wait.py")]
            if how == "after activate()":
                command, variables = [*command, url], {"PYTHONPATH": str(Path(__file__).parents[1])}
            done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=300, check=False)
            found = [json.loads(line.split("FOUND ", 1)[1]) for line in done.stdout.splitlines() if "FOUND " in line]
            if not found:
                rows.append((what, done.stderr[-300:], f"< {goal} s", False))
                continue
            rows.append((what, f"{found[0]['fit']:.2f} s", f"< {goal} s", found[0]["fit"] < goal))
            if how != "by variables alone":
                rows.append((f"SDK {version} deploy {how}", f"{found[0]['deploy']:.2f} s", "< 4 s", found[0]["deploy"] < 4))
    return rows


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "start": start_and_memory,
    "moto": against_moto,
    "download": download,
    "jobs": job_overhead,
    "invoke": invocations,
    "sdk": sdk_waits,
    "pipe": pipe_mode,
    "algorithms": algorithms,
    "models": many_models,
    "objects": many_objects,
    "tuning": tuning,
    "responsible": responsible,
}
