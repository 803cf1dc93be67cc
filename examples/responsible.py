"""Is a model fair, why does it say what it says, and are the data still those it learned from? boto3 alone, so it runs the same way on AWS.

    train on 350 patients ─ Clarify: bias by sex ─ endpoint that explains its answers ─ Model Monitor: baseline, then younger patients

With a server: `dewfall up -d; eval "$(dewfall env)"; python examples/responsible.py`. On AWS, set ROLE_ARN. The images' accounts are those of
us-east-1.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import boto3
import numpy as np
from sklearn.datasets import load_diabetes

session = boto3.Session()
region = session.region_name or "us-east-1"
account = session.client("sts").get_caller_identity()["Account"]
role = os.environ.get("ROLE_ARN", f"arn:aws:iam::{account}:role/DewfallExecutionRole")
s3, sagemaker, runtime = (session.client(name) for name in ("s3", "sagemaker", "sagemaker-runtime"))
stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
name, bucket = f"responsible-{stamp}", f"responsible-{region}-{account}-{stamp}"
XGBOOST = f"683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-xgboost:1.7-1"
CLARIFY = f"205585389593.dkr.ecr.{region}.amazonaws.com/sagemaker-clarify-processing:1.0"
MONITOR = f"156813124566.dkr.ecr.{region}.amazonaws.com/sagemaker-model-monitor-analyzer"
FEATURES = ["age", "sex", "bmi", "pressure", "s1", "s2", "s3", "s4", "s5", "s6"]
INSTANCE = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
WORSE = 150  # the disease's progression above which a patient counts as one who got worse
ROOT = "/opt/ml/processing"


def upload(key: str, rows: np.ndarray, header: list[str] | None = None) -> str:
    """Put rows as CSV, and say where the folder is."""
    lines = [",".join(header)] if header else []
    lines += [",".join(f"{value:g}" for value in row) for row in rows]
    s3.put_object(Bucket=bucket, Key=key, Body="\n".join(lines) + "\n")
    return f"s3://{bucket}/{key.rpartition('/')[0]}/"


def read(key: str) -> Any:
    """A JSON file of a job's output."""
    return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def train(data: str) -> str:
    """The built-in XGBoost; where its model lies."""
    job = f"{name}-train"
    sagemaker.create_training_job(
        TrainingJobName=job,
        AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        RoleArn=role,
        HyperParameters={"num_round": "40", "objective": "binary:logistic", "max_depth": "3", "eta": "0.1"},
        InputDataConfig=[
            {
                "ChannelName": "train",
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}},
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models"},
        ResourceConfig=INSTANCE,
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=job)
    artifacts: str = sagemaker.describe_training_job(TrainingJobName=job)["ModelArtifacts"]["S3ModelArtifacts"]
    return artifacts


def process(job: str, image: str, inputs: dict[str, str], output: str, environment: dict[str, str] | None = None) -> None:
    """A processing job over folders of S3, to its end."""
    given = [
        {"InputName": key, "S3Input": {"S3Uri": uri, "LocalPath": f"{ROOT}/input/{key}", "S3DataType": "S3Prefix", "S3InputMode": "File"}}
        for key, uri in inputs.items()
    ]
    sagemaker.create_processing_job(
        ProcessingJobName=f"{name}-{job}",
        RoleArn=role,
        AppSpecification={"ImageUri": image},
        Environment=environment or {},
        ProcessingInputs=given,
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "result",
                    "S3Output": {"S3Uri": f"s3://{bucket}/{output}", "LocalPath": f"{ROOT}/output", "S3UploadMode": "EndOfJob"},
                }
            ]
        },
        ProcessingResources={"ClusterConfig": INSTANCE},
    )
    sagemaker.get_waiter("processing_job_completed_or_stopped").wait(ProcessingJobName=f"{name}-{job}")
    found = sagemaker.describe_processing_job(ProcessingJobName=f"{name}-{job}")
    if found["ProcessingJobStatus"] != "Completed" and "violations" not in found.get("ExitMessage", ""):
        raise SystemExit(f"{job}: {found.get('FailureReason') or found.get('ExitMessage')}")


def bias(data: str) -> None:
    """Clarify: are men and women labelled, and judged by the model, alike?"""
    config = {
        "dataset_type": "text/csv",
        "headers": ["worse", *FEATURES],
        "label": "worse",
        "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "sex", "value_or_threshold": [2]}],
        "methods": {
            "pre_training_bias": {"methods": ["CI", "DPL", "KS"]},
            "post_training_bias": {"methods": ["DPPL", "DI", "AD"]},
            "report": {"name": "report"},
        },
        "predictor": {"model_name": name, "instance_type": "ml.m5.large", "initial_instance_count": 1},
    }
    s3.put_object(Bucket=bucket, Key="config/analysis_config.json", Body=json.dumps(config))
    process("clarify", CLARIFY, {"data": data, "config": f"s3://{bucket}/config/analysis_config.json"}, "bias")
    document = read("bias/analysis.json")
    for stage in ("pre_training_bias_metrics", "post_training_bias_metrics"):
        for metric in document[stage]["facets"]["sex"][0]["metrics"]:
            print(f"  {metric['description']}: {metric['value']:.3f}")


def explain(rows: np.ndarray) -> None:
    """An endpoint that says which features moved its answer, for patients whose risk is above one half."""
    average = ",".join(f"{value:g}" for value in rows.mean(axis=0))
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}],
        ExplainerConfig={
            "ClarifyExplainerConfig": {
                "EnableExplanations": "[0]>`0.5`",
                "InferenceConfig": {"FeatureHeaders": FEATURES, "LabelHeaders": ["worse"]},
                "ShapConfig": {"ShapBaselineConfig": {"ShapBaseline": average}, "Seed": 1},
            }
        },
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
    body = "\n".join(",".join(f"{value:g}" for value in row) for row in rows[:5])
    reply = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Accept="text/csv", Body=body)
    document = json.loads(reply["Body"].read())
    shown = document["explanations"].get("kernel_shap", [])
    for number, features in enumerate(shown):
        if features is not None:
            moved = {feature["feature_header"]: feature["attributions"][0]["attribution"][0] for feature in features}
            most = max(moved, key=lambda feature: abs(moved[feature]))
            print(f"  patient {number}: {most} moves the risk most, by {moved[most]:+.3f}")


def drift(rows: np.ndarray) -> None:
    """Model Monitor: constraints from the training data, and what younger patients violate."""
    then, now = upload("then/rows.csv", rows, FEATURES), upload("now/rows.csv", rows[rows[:, 0] < 40], FEATURES)
    plain = {"dataset_format": '{"csv": {"header": true}}', "dataset_source": f"{ROOT}/input/data", "output_path": f"{ROOT}/output"}
    process("baseline", MONITOR, {"data": then}, "baseline", plain)
    against = {f"baseline_{part}": f"{ROOT}/input/baseline/{part}.json" for part in ("statistics", "constraints")}
    process("monitor", MONITOR, {"data": now, "baseline": f"s3://{bucket}/baseline/"}, "monitor", plain | against)
    for violation in read("monitor/constraint_violations.json")["violations"]:
        print(f"  {violation['feature_name']}: {violation['description']}")


def clean_up() -> None:
    """Leave nothing behind."""
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=entry["Key"])
    s3.delete_bucket(Bucket=bucket)


def main() -> None:
    """The whole story."""
    rows, progression = load_diabetes(return_X_y=True, scaled=False)
    labels = (progression > WORSE).astype(int)
    s3.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}))
    data = upload("train/rows.csv", np.column_stack([labels, rows])[:350])
    container = {"Image": XGBOOST, "ModelDataUrl": train(data)}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
    print("Bias against women (sex 2):")
    bias(data)
    print("Explanations:")
    explain(rows[350:])
    print("Drift of younger patients:")
    drift(rows[:350])
    clean_up()


if __name__ == "__main__":
    main()
