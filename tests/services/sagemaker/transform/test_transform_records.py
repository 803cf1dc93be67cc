"""Transform jobs as records: refusals, lists, tags, events, experiments."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import BUCKET, Transforms

ARN = "arn:aws:sagemaker:us-east-1:000000000000:transform-job/job"
NOWHERE = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/nothing/"}}
AUGMENTED = {"S3DataSource": {"S3DataType": "AugmentedManifestFile", "S3Uri": f"s3://{BUCKET}/in/"}}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"ModelName": "other"}, 'Could not find model "arn:aws:sagemaker:us-east-1:000000000000:model/other".'),
        ({"source": {"DataSource": NOWHERE}}, "No S3 objects found under S3 URL"),
        ({"source": {"DataSource": AUGMENTED}}, "AugmentedManifestFile is not supported"),
        ({"MaxPayloadInMB": 20, "MaxConcurrentTransforms": 6}, "must not exceed 100 MB"),
        ({"MaxPayloadInMB": 101}, "must not exceed 100 MB"),
        ({"source": {"ContentType": "text/csv"}, "DataProcessing": {"InputFilter": "$..a"}}, "Invalid InputFilter of DataProcessing"),
        ({"source": {"ContentType": "image/png"}, "DataProcessing": {"JoinSource": "Input"}}, "DataProcessing requires a ContentType"),
        (
            {"source": {"ContentType": "text/csv", "SplitType": "RecordIO"}, "DataProcessing": {"JoinSource": "Input"}},
            "JoinSource Input requires input files in JSON or CSV format; the SplitType is RecordIO.",
        ),
        (
            {
                "DataCaptureConfig": {"DestinationS3Uri": f"s3://{BUCKET}/capture", "GenerateInferenceId": True},
                "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out", "Accept": "image/png"},
            },
            "GenerateInferenceId requires an output among text/csv, application/json, application/jsonlines; Accept is 'image/png'.",
        ),
        ({"ModelClientConfig": {"InvocationsMaxRetries": 4}}, "less than or equal to 3"),
    ],
)
def test_wrong_requests_are_refused(transforms: Transforms, members: dict[str, Any], message: str) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1\n"})
    with pytest.raises(ClientError) as refused:
        transforms.create(**members)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert message in refused.value.response["Error"]["Message"]
    assert transforms.sagemaker.list_transform_jobs()["TransformJobSummaries"] == []


def test_a_name_is_taken_once(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1\n"})
    transforms.run()
    with pytest.raises(ClientError, match="a transform job with this name already exists") as refused:
        transforms.create()
    assert refused.value.response["Error"]["Code"] == "ResourceInUse"


def test_a_job_that_is_not_there(transforms: Transforms) -> None:
    for call in (transforms.sagemaker.describe_transform_job, transforms.sagemaker.stop_transform_job):
        with pytest.raises(ClientError, match=f"Could not find transform job '{ARN}'"):
            call(TransformJobName="job")


def test_an_output_bucket_that_is_not_there_fails_the_job(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1\n"})
    job = transforms.run(target={"S3OutputPath": "s3://no-such-bucket/out"})
    assert job["FailureReason"].startswith("ClientError: NoSuchBucket (404)")


def test_the_job_keeps_the_model_that_it_began_with(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1\n"})
    transforms.create()
    transforms.sagemaker.delete_model(ModelName="model")
    assert transforms.ended()["TransformJobStatus"] == "Completed"


def test_jobs_are_described_and_listed_as_they_were_asked_for(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1\n"})
    job = transforms.run(target={"KmsKeyId": "key"}, MaxConcurrentTransforms=2, ModelClientConfig={"InvocationsTimeoutInSeconds": 9})
    assert (job["TransformOutput"]["KmsKeyId"], job["TransformOutput"]["AssembleWith"], job["MaxConcurrentTransforms"]) == ("key", "None", 2)
    assert (job["TransformInput"]["SplitType"], job["TransformInput"]["CompressionType"]) == ("None", "None")
    assert job["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    (listed,) = transforms.sagemaker.list_transform_jobs(StatusEquals="Completed", NameContains="jo")["TransformJobSummaries"]
    assert listed == {
        "TransformJobName": "job",
        "TransformJobArn": ARN,
        "TransformJobStatus": "Completed",
        "CreationTime": job["CreationTime"],
        "TransformEndTime": job["TransformEndTime"],
        "LastModifiedTime": listed["LastModifiedTime"],
    }


def test_tags_and_experiment(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1\n"})
    transforms.sagemaker.create_experiment(ExperimentName="study")
    transforms.sagemaker.create_trial(TrialName="trial", ExperimentName="study")
    transforms.run(Tags=[{"Key": "team", "Value": "a"}], ExperimentConfig={"ExperimentName": "study", "TrialName": "trial"})
    assert transforms.sagemaker.list_tags(ResourceArn=ARN)["Tags"] == [{"Key": "team", "Value": "a"}]
    (component,) = transforms.sagemaker.list_trial_components(TrialName="trial")["TrialComponentSummaries"]
    assert component["TrialComponentName"] == "job-aws-transform-job"
    assert component["TrialComponentSource"]["SourceType"] == "SageMakerTransformJob"
    assert component["Status"]["PrimaryStatus"] == "Completed"
    assert component["StartTime"] <= component["EndTime"]
    (found,) = transforms.sagemaker.search(Resource="ExperimentTrialComponent")["Results"]
    assert found["TrialComponent"]["SourceDetail"]["TransformJob"]["TransformJobStatus"] == "Completed"


def test_every_status_is_an_event(transforms: Transforms) -> None:
    events, sqs = transforms.server.client("events"), transforms.server.client("sqs")
    queue = sqs.create_queue(QueueName="seen")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="jobs", EventPattern=json.dumps({"detail-type": ["SageMaker Transform Job State Change"], "detail": {"Tags": {"a": ["b"]}}}))
    events.put_targets(Rule="jobs", Targets=[{"Id": "1", "Arn": arn}])
    transforms.model()
    transforms.put({"in/a.csv": b"1\n"})
    transforms.run(Tags=[{"Key": "a", "Value": "b"}])
    seen: list[str] = []
    while "Completed" not in seen:
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, MaxNumberOfMessages=10).get("Messages", []):
            seen.append(json.loads(message["Body"])["detail"]["TransformJobStatus"])
    assert set(seen) == {"InProgress", "Completed"}
