"""Algorithm resources, and training and tuning jobs that name them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server
from tests.stories.test_training_story import ROLE, channel, until

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
BUCKET = "training-stories"


def create(dewfall: Server, **members: Any) -> str:
    whole = {"IntegerParameterRangeSpecification": {"MinValue": "1", "MaxValue": "10"}}
    specification = {
        "TrainingImage": IMAGE,
        "SupportedTrainingInstanceTypes": ["ml.m5.large"],
        "SupportedHyperParameters": [
            {"Name": "num_round", "Type": "Integer", "Range": whole, "IsTunable": True, "IsRequired": True},
            {"Name": "objective", "Type": "FreeText", "DefaultValue": "binary:logistic"},
        ],
        "MetricDefinitions": [{"Name": "train:logloss", "Regex": "train-logloss:([0-9.]+)"}],
        "TrainingChannels": [{"Name": "train", "IsRequired": True, "SupportedContentTypes": ["text/csv"], "SupportedInputModes": ["File"]}],
    } | members
    arn: str = dewfall.client("sagemaker").create_algorithm(AlgorithmName="mine", TrainingSpecification=specification)["AlgorithmArn"]
    return arn


def request(dewfall: Server, **members: Any) -> dict[str, Any]:
    s3 = dewfall.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="data/train.csv", Body=b"\n".join(b"%d,%d,%d" % (n % 2, n % 5, n % 7) for n in range(40)))
    return {
        "AlgorithmSpecification": {"AlgorithmName": "mine", "TrainingInputMode": "File"},
        "HyperParameters": {"num_round": "2"},
        "RoleArn": ROLE,
        "InputDataConfig": [{**channel("train", "data/"), "ContentType": "text/csv"}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    } | members


def test_an_algorithm_is_listed_described_and_deleted(dewfall: Server) -> None:
    sagemaker, arn = dewfall.client("sagemaker"), create(dewfall)
    assert [one["AlgorithmArn"] for one in sagemaker.list_algorithms(NameContains="min")["AlgorithmSummaryList"]] == [arn]
    found = sagemaker.describe_algorithm(AlgorithmName=arn)
    assert (found["AlgorithmStatus"], found["TrainingSpecification"]["TrainingImage"]) == ("Completed", IMAGE)
    with pytest.raises(ClientError, match="Algorithm already exists"):
        create(dewfall)
    sagemaker.delete_algorithm(AlgorithmName="mine")
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_algorithm(AlgorithmName="mine")


def test_a_job_trains_by_an_algorithms_name(dewfall: Server) -> None:
    sagemaker, arn = dewfall.client("sagemaker"), create(dewfall)
    sagemaker.create_training_job(TrainingJobName="job", **request(dewfall))
    until(lambda: sagemaker.describe_training_job(TrainingJobName="job")["TrainingJobStatus"] != "InProgress")
    job = sagemaker.describe_training_job(TrainingJobName="job")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["AlgorithmSpecification"]["AlgorithmName"] == arn
    assert "TrainingImage" not in job["AlgorithmSpecification"]
    assert job["HyperParameters"] == {"num_round": "2", "objective": "binary:logistic"}


def test_a_tuning_job_searches_by_an_algorithms_name(dewfall: Server) -> None:
    sagemaker, _ = dewfall.client("sagemaker"), create(dewfall)
    definition = request(dewfall)
    del definition["HyperParameters"]
    config = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "train:logloss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"IntegerParameterRanges": [{"Name": "num_round", "MinValue": "1", "MaxValue": "9"}]},
    }
    name = {"HyperParameterTuningJobName": "tuning"}
    sagemaker.create_hyper_parameter_tuning_job(**name, HyperParameterTuningJobConfig=config, TrainingJobDefinition=definition)
    until(lambda: sagemaker.describe_hyper_parameter_tuning_job(**name)["HyperParameterTuningJobStatus"] != "InProgress")
    job = sagemaker.describe_hyper_parameter_tuning_job(**name)
    assert (job["HyperParameterTuningJobStatus"], job["ObjectiveStatusCounters"]["Succeeded"]) == ("Completed", 2)


def test_a_model_package_has_its_algorithms_containers(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    inference = {"Containers": [{"Image": IMAGE}], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}
    training = {
        "TrainingImage": IMAGE,
        "SupportedTrainingInstanceTypes": ["ml.m5.large"],
        "TrainingChannels": [{"Name": "train", "SupportedContentTypes": ["text/csv"], "SupportedInputModes": ["File"]}],
    }
    sagemaker.create_algorithm(AlgorithmName="mine", TrainingSpecification=training, InferenceSpecification=inference)
    source = {"SourceAlgorithms": [{"AlgorithmName": "mine", "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}]}
    sagemaker.create_model_package(ModelPackageName="package", SourceAlgorithmSpecification=source)
    found = sagemaker.describe_model_package(ModelPackageName="package")
    (container,) = found["InferenceSpecification"]["Containers"]
    assert (container["Image"], container["ModelDataUrl"]) == (IMAGE, f"s3://{BUCKET}/model.tar.gz")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"HyperParameters": {}}, "are required by the algorithm"),
        ({"HyperParameters": {"num_round": "11"}}, "The value '11' of the hyperparameter"),
        ({"HyperParameters": {"num_round": "2", "luck": "1"}}, "is not supported by the algorithm"),
        ({"InputDataConfig": [channel("data", "data/")]}, "needs the channels"),
        ({"ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5}}, "does not support the instance type"),
        ({"AlgorithmSpecification": {"AlgorithmName": "other", "TrainingInputMode": "File"}}, "algorithm/other does not exist"),
        ({"AlgorithmSpecification": {"AlgorithmName": "mine", "TrainingImage": IMAGE, "TrainingInputMode": "File"}}, "Exactly one of TrainingImage"),
    ],
)
def test_a_job_is_held_to_its_algorithm(dewfall: Server, members: dict[str, Any], message: str) -> None:
    create(dewfall)
    with pytest.raises(ClientError, match=message):
        dewfall.client("sagemaker").create_training_job(TrainingJobName="job", **request(dewfall, **members))
