"""Inference Recommender through a real client: endpoints that are made, loaded, measured and deleted."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from .conftest import BUCKET, ROLE, tarball

if TYPE_CHECKING:
    from .conftest import Hosting

PAYLOAD = f"s3://{BUCKET}/payload.tar.gz"
CONTAINER = {"PayloadConfig": {"SamplePayloadUrl": PAYLOAD, "SupportedContentTypes": ["text/csv"]}}
LARGE = "ml.m5.24xlarge"
GROUP = "/aws/sagemaker/InferenceRecommendationsJobs"


def phases(*users: int) -> dict[str, Any]:
    return {"TrafficType": "PHASES", "Phases": [{"InitialNumberOfUsers": one, "SpawnRate": 0, "DurationInSeconds": 1} for one in users]}


def start(hosting: Hosting, payload: str = "hello", **members: Any) -> None:
    """An advanced job `job` of the model `model`."""
    hosting.s3.put_object(Bucket=BUCKET, Key="payload.tar.gz", Body=tarball({"sample.csv": payload}))
    config = {"ModelName": "model", "ContainerConfig": CONTAINER, "TrafficPattern": phases(1), **members.pop("config", {})}
    config = {member: value for member, value in config.items() if value is not None}
    given = {"JobName": "job", "JobType": "Advanced", "RoleArn": ROLE, "InputConfig": config, **members}
    hosting.sagemaker.create_inference_recommendations_job(**given)


def ended(hosting: Hosting) -> dict[str, Any]:
    end = time.monotonic() + 100
    while time.monotonic() < end:
        found: dict[str, Any] = hosting.sagemaker.describe_inference_recommendations_job(JobName="job")
        if found["Status"] in ("COMPLETED", "FAILED", "STOPPED"):
            return found
        threading.Event().wait(0.2)
    raise AssertionError(f"still {found['Status']}")


def steps(hosting: Hosting) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = hosting.sagemaker.list_inference_recommendations_job_steps(JobName="job")["Steps"]
    return found


def test_candidates_are_measured_ranked_and_deployed(hosting: Hosting) -> None:
    hosting.model()
    ranges = {"CategoricalParameterRanges": [{"Name": "MODEL_NAME", "Value": ["one", "two"]}]}
    wanted = [{"InstanceType": "ml.m5.large", "EnvironmentParameterRanges": ranges}, {"InstanceType": LARGE}]
    start(hosting, config={"EndpointConfigurations": wanted, "TrafficPattern": phases(1, 2)})
    found = ended(hosting)
    assert (found["Status"], len(found["InferenceRecommendations"])) == ("COMPLETED", 2)
    best = found["InferenceRecommendations"][0]
    metrics = best["Metrics"]
    assert metrics["MaxInvocations"] > 0
    assert metrics["CostPerInference"] == pytest.approx(metrics["CostPerHour"] / 60 / metrics["MaxInvocations"], rel=0.1)
    assert 0 < metrics["ModelLatency"] < 60e6
    assert metrics["MemoryUtilization"] > 0
    assert metrics["CostPerInference"] <= found["InferenceRecommendations"][1]["Metrics"]["CostPerInference"]
    assert best["EndpointConfiguration"]["InstanceType"] == "ml.m5.large"
    (parameter,) = best["ModelConfiguration"]["EnvironmentParameters"]
    assert (parameter["Key"], parameter["Value"] in ("one", "two")) == ("MODEL_NAME", True)
    tried = {(one["Status"], "not measured" in one["InferenceBenchmark"].get("FailureReason", "")) for one in steps(hosting)}
    assert tried == {("COMPLETED", False), ("FAILED", True)}
    assert hosting.sagemaker.list_endpoints()["Endpoints"] == []
    assert [one["ModelName"] for one in hosting.sagemaker.list_models()["Models"]] == ["model"]
    check_report(hosting)
    scaling = hosting.sagemaker.get_scaling_configuration_recommendation(
        InferenceRecommendationsJobName="job", RecommendationId=best["RecommendationId"]
    )
    assert 0 < scaling["Metric"]["InvocationsPerInstance"] <= metrics["MaxInvocations"]


def check_report(hosting: Hosting) -> None:
    """The page, the numbers and the log lines of a job of three tests."""
    page = hosting.s3.get_object(Bucket=BUCKET, Key="inference-recommendations/job/report.html")["Body"].read().decode()
    assert "Latency against load" in page
    told = json.loads(hosting.s3.get_object(Bucket=BUCKET, Key="inference-recommendations/job/results.json")["Body"].read())
    assert [level["users"] for level in told["Tests"][0]["Levels"]] == [1, 2]
    logs = hosting.server.client("logs")
    lines = [one["message"] for one in logs.get_log_events(logGroupName=GROUP, logStreamName="job/execution")["events"]]
    assert any("1 users:" in line for line in lines)
    assert any(LARGE in line for line in lines)


def test_a_package_tells_payload_types_and_instances(hosting: Hosting) -> None:
    hosting.s3.put_object(Bucket=BUCKET, Key="payload.tar.gz", Body=tarball({"sample.csv": "hello"}))
    hosting.sagemaker.create_model_package_group(ModelPackageGroupName="group")
    specification = {
        "Containers": [{"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/echo:latest", "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large", LARGE],
    }
    arn = hosting.sagemaker.create_model_package(
        ModelPackageGroupName="group", InferenceSpecification=specification, SamplePayloadUrl=PAYLOAD, Domain="OTHER", Task="OTHER"
    )["ModelPackageArn"]
    config = {"ModelName": None, "ContainerConfig": None, "ModelPackageVersionArn": arn}
    start(hosting, config={**config, "TrafficPattern": phases(1), "EndpointConfigurations": [{"InstanceType": "ml.m5.large"}]})
    assert ended(hosting)["Status"] == "COMPLETED"
    listed = hosting.sagemaker.list_inference_recommendations_jobs(ModelPackageVersionArnEquals=arn)["InferenceRecommendationsJobs"]
    assert [(one["JobName"], one["SamplePayloadUrl"]) for one in listed] == [("job", PAYLOAD)]


def test_an_endpoint_that_is_there_is_loaded(hosting: Hosting) -> None:
    hosting.model()
    hosting.config()
    hosting.endpoint()
    stopping = {"MaxInvocations": 1}
    start(
        hosting, config={"ModelName": None, "Endpoints": [{"EndpointName": "endpoint"}], "TrafficPattern": phases(1, 1)}, StoppingConditions=stopping
    )
    found = ended(hosting)
    (performance,) = found["EndpointPerformances"]
    assert (performance["EndpointInfo"]["EndpointName"], performance["Metrics"]["MaxInvocations"] > 0) == ("endpoint", True)
    assert hosting.describe()["EndpointStatus"] == "InService"
    told = json.loads(hosting.s3.get_object(Bucket=BUCKET, Key="inference-recommendations/job/results.json")["Body"].read())
    assert (len(told["Tests"][0]["Levels"]), "reach the 1 asked for" in told["Tests"][0]["Why"]) == (1, True)


def test_a_model_that_refuses_its_payload_fails(hosting: Hosting) -> None:
    hosting.model()
    start(hosting, payload="bad", config={"EndpointConfigurations": [{"InstanceType": "ml.m5.large"}]})
    found = ended(hosting)
    assert found["Status"] == "FAILED"
    assert "bad request" in found["FailureReason"]
    assert hosting.sagemaker.list_endpoints()["Endpoints"] == []


def test_nothing_that_fits_is_a_failure_at_once(hosting: Hosting) -> None:
    hosting.model()
    start(hosting, config={"EndpointConfigurations": [{"InstanceType": LARGE}]})
    found = ended(hosting)
    assert (found["Status"], "96 vCPUs" in found["FailureReason"]) == ("FAILED", True)


def test_a_stopped_job_leaves_nothing(hosting: Hosting) -> None:
    hosting.model()
    long = {"TrafficType": "STAIRS", "Stairs": {"DurationInSeconds": 600, "NumberOfSteps": 2, "UsersPerStep": 1}}
    start(hosting, config={"EndpointConfigurations": [{"InstanceType": "ml.m5.large"}], "TrafficPattern": long})
    hosting.sagemaker.stop_inference_recommendations_job(JobName="job")
    assert ended(hosting)["Status"] == "STOPPED"
    assert {step["Status"] for step in steps(hosting)} == {"STOPPED"}
    end = time.monotonic() + 180
    while hosting.sagemaker.list_endpoints()["Endpoints"] and time.monotonic() < end:
        threading.Event().wait(0.2)
    assert hosting.sagemaker.list_endpoints()["Endpoints"] == []


@pytest.mark.parametrize(
    ("job", "config", "said"),
    [
        ("Default", {"EndpointConfigurations": [{"InstanceType": LARGE}]}, "can only be specified for a job of type Advanced"),
        (
            "Advanced",
            {"ModelName": None, "EndpointConfigurations": [{"InstanceType": LARGE}]},
            "One of ModelPackageVersionArn, ModelName or Endpoints",
        ),
        ("Advanced", {"ContainerConfig": None, "EndpointConfigurations": [{"InstanceType": LARGE}]}, "SamplePayloadUrl must be specified"),
        ("Advanced", {"EndpointConfigurations": [{"InstanceType": LARGE, "InferenceSpecificationName": "x"}]}, "only be specified together with"),
        ("Advanced", {"EndpointConfigurations": [{}]}, "Exactly one of InstanceType or ServerlessConfig"),
        ("Advanced", {"ModelName": "none", "EndpointConfigurations": [{"InstanceType": LARGE}]}, "Could not find model"),
    ],
)
def test_wrong_requests_are_refused(hosting: Hosting, job: str, config: dict[str, Any], said: str) -> None:
    hosting.model()
    with pytest.raises(ClientError) as caught:
        start(hosting, JobType=job, config={"TrafficPattern": None if job == "Default" else phases(1), **config})
    assert said in caught.value.response["Error"]["Message"]


def test_missing_jobs_are_not_found(hosting: Hosting) -> None:
    with pytest.raises(hosting.sagemaker.exceptions.ResourceNotFound):
        hosting.sagemaker.describe_inference_recommendations_job(JobName="none")
