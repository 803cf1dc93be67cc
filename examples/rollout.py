"""Replace a model under load, and be saved by an alarm when the new one is bad. Nothing here but boto3, so it runs the same way on AWS.

    v1 serves ─ canary of v2, which fails on every third request ─ the alarm on its errors rolls it back ─ v3 takes over in steps

With a server: `dewfall up -d; eval "$(dewfall env)"; ALARM_PERIOD=10 python examples/rollout.py`. On AWS, set ROLE_ARN; there SageMaker's
metrics come once a minute, so leave the alarm's period at 60.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
import time
from collections import Counter
from typing import Any

import boto3
from botocore.exceptions import ClientError

PERIOD = int(os.environ.get("ALARM_PERIOD", "60"))
LONGEST = 20 * 60.0  # seconds that the load goes on at most
session = boto3.Session()
region = session.region_name or "us-east-1"
account = session.client("sts").get_caller_identity()["Account"]
role = os.environ.get("ROLE_ARN", f"arn:aws:iam::{account}:role/DewfallExecutionRole")
s3, sagemaker, cloudwatch = session.client("s3"), session.client("sagemaker"), session.client("cloudwatch")
runtime = session.client("sagemaker-runtime")
stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
name, bucket = f"rollout-{stamp}", f"rollout-{region}-{account}-{stamp}"
IMAGE = f"683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
SCRIPT = """
import itertools
calls = itertools.count(1)

def model_fn(model_dir):
    return "VERSION"

def input_fn(body, content_type):
    return body

def predict_fn(data, model):
    if FAULTY and next(calls) % 3 == 0:
        raise RuntimeError("this model has a bug")
    return model

def output_fn(prediction, accept):
    return prediction, "text/csv"
"""


class Load:
    """A client that asks all the time, and counts the answers of each version, and the errors."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._ending.set()
        self._thread.join(60)

    def _run(self) -> None:
        end = time.monotonic() + LONGEST
        while not self._ending.wait(0.02) and time.monotonic() < end:
            try:
                answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=b"1")
                self.answers[answer["Body"].read().decode()] += 1
            except ClientError as error:
                self.answers[error.response["Error"]["Code"]] += 1


def add_version(version: str, *, faulty: bool = False) -> None:
    """A model and an endpoint configuration of two instances."""
    script = SCRIPT.replace("VERSION", version).replace("FAULTY", str(faulty)).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("code/inference.py")
        entry.size = len(script)
        archive.addfile(entry, io.BytesIO(script))
    s3.put_object(Bucket=bucket, Key=f"{version}/model.tar.gz", Body=packed.getvalue())
    variables = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/{version}/model.tar.gz", "Environment": variables}
    sagemaker.create_model(ModelName=f"{name}-{version}", PrimaryContainer=container, ExecutionRoleArn=role)
    variant = {"VariantName": "AllTraffic", "ModelName": f"{name}-{version}", "InitialInstanceCount": 2, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-{version}", ProductionVariants=[variant])


def add_alarm() -> None:
    """More than one error of the model in a period."""
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "AllTraffic"}],
        Statistic="Sum",
        Period=PERIOD,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )


def roll_out(version: str, routing: dict[str, Any]) -> dict[str, Any]:
    """Update the endpoint; what became of it."""
    config = {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 0},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name}]},
    }
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-{version}", DeploymentConfig=config)
    told = ""
    while (found := sagemaker.describe_endpoint(EndpointName=name))["EndpointStatus"] not in ("InService", "Failed"):
        summary = found.get("PendingDeploymentSummary")
        now = summary["ProductionVariants"][0]["VariantStatus"][0]["StatusMessage"] if summary else found["EndpointStatus"]
        if now != told:
            told = now
            print(f"  {found['EndpointStatus']}: {told}", flush=True)
        time.sleep(0.5)
    return dict(found)


def main() -> None:
    """The whole story."""
    s3.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}))
    for version, faulty in (("v1", False), ("v2", True), ("v3", False)):
        add_version(version, faulty=faulty)
    add_alarm()
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-v1")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
    canary = {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 10 * PERIOD}
    linear = {"Type": "LINEAR", "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 50}, "WaitIntervalInSeconds": PERIOD // 10}
    with Load() as load:
        print("v2, as a canary:")
        found = roll_out("v2", canary)
        print(f"back to {found['EndpointConfigName'][-2:]}: {found['FailureReason']}")
        while cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "ALARM":
            time.sleep(1)
        before = Counter(load.answers)
        print("v3, in two steps:")
        found = roll_out("v3", linear)
        print(f"now {found['EndpointConfigName'][-2:]} serves")
    told, during = Counter(load.answers), load.answers - before
    print(f"answers: {dict(sorted(told.items()))}; errors while v3 came: {during['ModelError']}")
    sagemaker.delete_endpoint(EndpointName=name)
    cloudwatch.delete_alarms(AlarmNames=[name])
    for version in ("v1", "v2", "v3"):
        sagemaker.delete_endpoint_config(EndpointConfigName=f"{name}-{version}")
        sagemaker.delete_model(ModelName=f"{name}-{version}")


if __name__ == "__main__":
    main()
