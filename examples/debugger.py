"""Debugger with boto3: a training job whose loss does not fall is found by a rule while it trains, and stopped.

dewfall up &  eval "$(dewfall env)"  python examples/debugger.py
"""

import random
import time

import boto3

BUCKET, JOB = "debugger-example", f"debugger-{int(time.time())}"
REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
RULES = "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"

random.seed(1)
rows = [(random.random(), random.random()) for _ in range(500)]
s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
s3.create_bucket(Bucket=BUCKET)
s3.put_object(Bucket=BUCKET, Key="train/rows.csv", Body="".join(f"{3 * x + y:.4f},{x:.4f},{y:.4f}\n" for x, y in rows).encode())


def rule(name: str, **parameters: str) -> dict:
    return {"RuleConfigurationName": name, "RuleEvaluatorImage": RULES, "RuleParameters": {"rule_to_invoke": name, **parameters}}


sagemaker.create_training_job(
    TrainingJobName=JOB,
    RoleArn="arn:aws:iam::000000000000:role/DewfallExecutionRole",
    AlgorithmSpecification={"TrainingImage": f"{REGISTRY}/sagemaker-xgboost:1.7-1", "TrainingInputMode": "File"},
    HyperParameters={"objective": "reg:squarederror", "eta": "0.0000001", "num_round": "100000"},  # a step size that leads nowhere
    InputDataConfig=[
        {
            "ChannelName": "train",
            "ContentType": "text/csv",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/"}},
        }
    ],
    OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/models"},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    StoppingCondition={"MaxRuntimeInSeconds": 600},
    DebugHookConfig={
        "S3OutputPath": f"s3://{BUCKET}/debug",
        "CollectionConfigurations": [{"CollectionName": "losses", "CollectionParameters": {"save_interval": "5"}}],
    },
    DebugRuleConfigurations=[
        rule("LossNotDecreasing", action_json=f'{{"name": "stoptraining", "training_job_prefix": "{JOB}"}}'),
        rule("ExplodingTensor"),
    ],
)

sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=JOB)
while True:
    job = sagemaker.describe_training_job(TrainingJobName=JOB)
    if all(status["RuleEvaluationStatus"] != "InProgress" for status in job["DebugRuleEvaluationStatuses"]):
        break
    time.sleep(0.5)
print(f"the job is {job['TrainingJobStatus']} after {job['TrainingTimeInSeconds']} seconds")
for status in job["DebugRuleEvaluationStatuses"]:
    print(f"{status['RuleConfigurationName']}: {status['RuleEvaluationStatus']}  {status.get('StatusDetails', '').strip()}")
saved = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"debug/{JOB}/debug-output/events/")["KeyCount"]
print(f"{saved} steps were saved; smdebug reads them at s3://{BUCKET}/debug/{JOB}/debug-output")
