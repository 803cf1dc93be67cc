"""Managed spot training with boto3: a job loses its machine in the middle and goes on from its checkpoint.

dewfall up &  eval "$(dewfall env)"  python examples/spot_training.py
"""

import os
import time
import urllib.request

import boto3

BUCKET, JOB = "spot-example", f"spot-{int(time.time())}"
SCRIPT = """
import pathlib, time
saved = pathlib.Path("/opt/ml/checkpoints/epoch")
first = int(saved.read_text()) if saved.exists() else 0
print(f"going on from epoch {first}", flush=True)
for epoch in range(first + 1, 41):
    time.sleep(0.15)
    if epoch % 10 == 0:
        saved.write_text(str(epoch))
pathlib.Path("/opt/ml/model/epochs").write_text(saved.read_text())
"""

s3, sagemaker, logs = boto3.client("s3"), boto3.client("sagemaker"), boto3.client("logs")
s3.create_bucket(Bucket=BUCKET)
s3.put_object(Bucket=BUCKET, Key="code/train.py", Body=SCRIPT.encode())
sagemaker.create_training_job(
    TrainingJobName=JOB,
    RoleArn="arn:aws:iam::000000000000:role/DewfallExecutionRole",
    AlgorithmSpecification={
        "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
    },
    InputDataConfig=[{"ChannelName": "code", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/code/"}}}],
    OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/models"},
    CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints/{JOB}"},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    EnableManagedSpotTraining=True,
    StoppingCondition={"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200},
)

# AWS takes the capacity back when it likes; here it is done by hand, or by chance with DEWFALL_SPOT_RATE.
while not s3.list_objects_v2(Bucket=BUCKET, Prefix=f"checkpoints/{JOB}/")["KeyCount"]:
    time.sleep(0.1)
page = f"{os.environ['AWS_ENDPOINT_URL']}/_dewfall/interrupt/{JOB}"
urllib.request.urlopen(urllib.request.Request(page, method="POST")).close()

sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=JOB)
job = sagemaker.describe_training_job(TrainingJobName=JOB)
print(" → ".join(step["Status"] for step in job["SecondaryStatusTransitions"]))
for event in logs.filter_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{JOB}/")["events"]:
    if event["message"].startswith("going on"):
        print(event["message"])
saved = 100 * (1 - job["BillableTimeInSeconds"] / job["TrainingTimeInSeconds"])
print(f"{job['TrainingTimeInSeconds']} seconds trained, {job['BillableTimeInSeconds']} billed: {saved:.0f} % saved")
