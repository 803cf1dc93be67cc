"""A job's states reach a queue through EventBridge, and a mailbox of one's own through SNS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dewfall.testing_server import Server

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
ACCOUNT = "us-east-1:000000000000"


@pytest.mark.slow
def test_a_failed_job_is_told_to_those_who_asked(dewfall: Server) -> None:
    sqs, sns, events, sagemaker = (dewfall.client(name) for name in ("sqs", "sns", "events", "sagemaker"))
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    topic = sns.create_topic(Name="jobs")["TopicArn"]
    raw = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{ACCOUNT}:told", Attributes=raw)
    pattern = {"source": ["aws.sagemaker"], "detail": {"TrainingJobStatus": ["Failed"], "Tags": {"team": ["ml"]}}}
    events.put_rule(Name="failures", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="failures", Targets=[{"Id": "1", "Arn": topic}])
    dewfall.client("s3").create_bucket(Bucket="data")
    dewfall.client("s3").put_object(Bucket="data", Key="in/broken.csv", Body=b"this,is,no\nnumber,at,all\n")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/in/"}}
    job: dict[str, Any] = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
    sagemaker.create_training_job(
        TrainingJobName="doomed",
        AlgorithmSpecification=job,
        RoleArn=ROLE,
        InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": source}],
        HyperParameters={"num_round": "1"},
        OutputDataConfig={"S3OutputPath": "s3://data/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
        Tags=[{"Key": "team", "Value": "ml"}],
    )
    message = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]
    event = json.loads(message["Body"])
    assert (event["detail-type"], event["detail"]["TrainingJobName"]) == ("SageMaker Training Job State Change", "doomed")
