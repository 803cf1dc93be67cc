"""Train two models, compare them, and serve both behind one endpoint. Nothing here but boto3, so it runs the same way on AWS.

    upload → train (built-in XGBoost and a scikit-learn script) → compare → deploy as two variants → invoke → delete

With a server: `dewfall up -d; eval "$(dewfall env)"; python examples/first_model.py`. On AWS, set ROLE_ARN.
"""

from __future__ import annotations

import io
import os
import statistics
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

CALLS = 300
HERE = Path(__file__).parent
console = Console()
session = boto3.Session()
region = session.region_name or "us-east-1"
account = session.client("sts").get_caller_identity()["Account"]
role = os.environ.get("ROLE_ARN", f"arn:aws:iam::{account}:role/DewfallExecutionRole")
s3, sagemaker, runtime = (session.client(name) for name in ("s3", "sagemaker", "sagemaker-runtime"))
stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
bucket = f"first-model-{region}-{account}-{stamp}"
XGBOOST = f"683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-xgboost:1.7-1"
SKLEARN = f"683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
times: list[tuple[str, float]] = []


@contextmanager
def step(name: str) -> Iterator[None]:
    """Show what is going on, and remember how long it took."""
    began = time.perf_counter()
    with console.status(name):
        yield
    times.append((name, time.perf_counter() - began))
    console.print(f"[green]✓[/] {name} [dim]{times[-1][1]:.1f} s[/]")


def as_csv(labels: np.ndarray, rows: np.ndarray) -> bytes:
    """SageMaker's CSV: no header, the label first."""
    text = io.StringIO()
    np.savetxt(text, np.column_stack([labels, rows]), delimiter=",", fmt="%.6g")
    return text.getvalue().encode()


def source_archive() -> bytes:
    """The scikit-learn script as the SDK would pack it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(HERE / "forest.py", "forest.py")
    return packed.getvalue()


def train(name: str, image: str, hyperparameters: dict[str, str], metrics: list[dict[str, str]]) -> None:
    """Start a training job; both read the same two channels."""
    channels = [
        {
            "ChannelName": channel,
            "ContentType": "text/csv",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/{channel}/"}},
        }
        for channel in ("train", "validation")
    ]
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File", "MetricDefinitions": metrics},
        RoleArn=role,
        HyperParameters=hyperparameters,
        InputDataConfig=channels,
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )


def finished(name: str) -> dict[str, object]:
    """Wait for a job and return what it says of itself."""
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)
    job: dict[str, object] = sagemaker.describe_training_job(TrainingJobName=name)
    if job["TrainingJobStatus"] != "Completed":
        raise SystemExit(f"{name} {job['TrainingJobStatus']}: {job.get('FailureReason')}")
    return job


def main() -> None:
    """The whole story."""
    rows, labels = load_breast_cancer(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(rows, labels, test_size=0.3, random_state=0, stratify=labels)
    train_x, valid_x, train_y, valid_y = train_test_split(train_x, train_y, test_size=0.25, random_state=0, stratify=train_y)

    with step("upload the data and the script"):
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **where)
        s3.put_object(Bucket=bucket, Key="data/train/train.csv", Body=as_csv(train_y, train_x))
        s3.put_object(Bucket=bucket, Key="data/validation/validation.csv", Body=as_csv(valid_y, valid_x))
        s3.put_object(Bucket=bucket, Key="code/source.tar.gz", Body=source_archive())

    boosted, forest = f"boosted-{stamp}", f"forest-{stamp}"
    script = {"sagemaker_program": "forest.py", "sagemaker_submit_directory": f"s3://{bucket}/code/source.tar.gz", "n_estimators": "200"}
    with step("train XGBoost and a scikit-learn forest, side by side"):
        parameters = {"objective": "binary:logistic", "num_round": "60", "max_depth": "4", "eta": "0.2", "eval_metric": "error"}
        train(boosted, XGBOOST, parameters, [])
        train(forest, SKLEARN, script, [{"Name": "validation:error", "Regex": r"validation-error=([0-9.]+)"}])
        jobs = {name: finished(name) for name in (boosted, forest)}

    with step("deploy both as variants of one endpoint"):
        serving = {"SAGEMAKER_PROGRAM": "forest.py", "SAGEMAKER_SUBMIT_DIRECTORY": f"s3://{bucket}/code/source.tar.gz"}
        for name, image, environment in ((boosted, XGBOOST, {}), (forest, SKLEARN, serving)):
            artifact = jobs[name]["ModelArtifacts"]["S3ModelArtifacts"]  # type: ignore[index]
            container = {"Image": image, "ModelDataUrl": artifact, "Environment": environment}
            sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
        variants = [
            {"VariantName": variant, "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large", "InitialVariantWeight": weight}
            for variant, name, weight in (("xgboost", boosted, 0.7), ("forest", forest, 0.3))
        ]
        sagemaker.create_endpoint_config(EndpointConfigName=boosted, ProductionVariants=variants)
        sagemaker.create_endpoint(EndpointName=boosted, EndpointConfigName=boosted)
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=boosted)

    seconds: list[float] = []
    right: Counter[str] = Counter()
    served: Counter[str] = Counter()
    began = time.perf_counter()
    for call in track(range(CALLS), f"invoke {CALLS} times", console=console):
        row = call % len(test_x)
        body = ",".join(f"{value:.6g}" for value in test_x[row])
        asked = time.perf_counter()
        answer = runtime.invoke_endpoint(EndpointName=boosted, ContentType="text/csv", Accept="text/csv", Body=body)
        probability = float(answer["Body"].read())
        seconds.append(time.perf_counter() - asked)
        variant = answer["InvokedProductionVariant"]
        served[variant] += 1
        right[variant] += (probability >= 0.5) == bool(test_y[row])
    times.append((f"invoke {CALLS} times", time.perf_counter() - began))

    with step("delete endpoint, models and data"):
        sagemaker.delete_endpoint(EndpointName=boosted)
        sagemaker.delete_endpoint_config(EndpointConfigName=boosted)
        for name in (boosted, forest):
            sagemaker.delete_model(ModelName=name)
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": found["Key"]} for found in page.get("Contents", [])]})
        s3.delete_bucket(Bucket=bucket)
    report(jobs, {"xgboost": boosted, "forest": forest}, seconds, right, served)


def report(jobs: dict[str, dict[str, object]], names: dict[str, str], seconds: list[float], right: Counter[str], served: Counter[str]) -> None:
    """Two tables: the models, and the time."""
    models = Table("variant", "validation error", "billed", "share of calls", "accuracy on unseen rows", title="The two models")
    for variant, name in names.items():
        job = jobs[name]
        errors = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}  # type: ignore[attr-defined]
        share, accuracy = served[variant] / sum(served.values()), right[variant] / max(1, served[variant])
        models.add_row(variant, f"{errors['validation:error']:.3f}", f"{job['BillableTimeInSeconds']} s", f"{share:.0%}", f"{accuracy:.1%}")
    console.print(models)
    cuts = statistics.quantiles(seconds, n=100)
    console.print(f"latency of a call: median {cuts[49] * 1000:.1f} ms, 95 % {cuts[94] * 1000:.1f} ms, 99 % {cuts[98] * 1000:.1f} ms")
    clock = Table("step", "seconds", title="Where the time went")
    for name, took in [*times, ("all", sum(took for _, took in times))]:
        clock.add_row(name, f"{took:.1f}")
    console.print(clock)


if __name__ == "__main__":
    main()
