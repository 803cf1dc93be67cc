"""Inference experiments through a real client: shadows that come, are compared, and are promoted, kept or removed."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import BUCKET, ROLE, Hosting

RETAIN = {"Main": "Retain", "Shadow": "Remove"}


def variant(name: str, model: str, count: int = 1) -> dict[str, Any]:
    real = {"InstanceType": "ml.m5.large", "InstanceCount": count}
    return {
        "ModelName": model,
        "VariantName": name,
        "InfrastructureConfig": {"InfrastructureType": "RealTimeInference", "RealTimeInferenceConfig": real},
    }


def mode(percentage: int) -> dict[str, Any]:
    return {"SourceModelVariantName": "Main", "ShadowModelVariants": [{"ShadowModelVariantName": "Shadow", "SamplingPercentage": percentage}]}


def create(hosting: Hosting, name: str = "test", **members: Any) -> str:
    wanted: dict[str, Any] = {
        "Name": name,
        "Type": "ShadowMode",
        "RoleArn": ROLE,
        "EndpointName": "endpoint",
        "ModelVariants": [variant("Main", "model"), variant("Shadow", "better")],
        "ShadowModeConfig": mode(50),
    }
    arn: str = hosting.sagemaker.create_inference_experiment(**wanted | members)["InferenceExperimentArn"]
    return arn


def until(hosting: Hosting, status: str, name: str = "test", seconds: float = 180.0) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found: dict[str, Any] = hosting.sagemaker.describe_inference_experiment(Name=name)
        if found["Status"] == status:
            return found
        time.sleep(0.05)
    raise AssertionError(f"it is not {status} in time: {found}")


@pytest.fixture
def serving(hosting: Hosting) -> Hosting:
    """An endpoint with one variant, and a better model."""
    hosting.model()
    hosting.model("better")
    hosting.config("config", Main={})
    hosting.endpoint()
    return hosting


def test_an_experiment_runs_and_promotes_its_shadow(serving: Hosting) -> None:
    arn = create(serving, DataStorageConfig={"Destination": f"s3://{BUCKET}/tests"})
    running = until(serving, "Running")
    assert (running["Arn"], [entry["Status"] for entry in running["ModelVariants"]]) == (arn, ["InService", "InService"])
    assert serving.describe()["ShadowProductionVariants"][0]["CurrentWeight"] == 0.5
    assert {serving.ask()["environment"]["MODEL_NAME"] for _ in range(8)} == {"model"}
    serving.sagemaker.stop_inference_experiment(
        Name="test", ModelVariantActions={"Main": "Remove", "Shadow": "Promote"}, DesiredState="Completed", Reason="it is better"
    )
    done = until(serving, "Completed")
    assert (done["StatusReason"], [entry["Status"] for entry in done["ModelVariants"]]) == ("it is better", ["Deleted", "InService"])
    found = serving.describe()
    assert ([entry["VariantName"] for entry in found["ProductionVariants"]], "ShadowProductionVariants" in found) == (["Shadow"], False)
    assert serving.ask()["environment"]["MODEL_NAME"] == "better"
    report = json.loads(serving.s3.get_object(Bucket=BUCKET, Key="tests/test/comparison.json")["Body"].read())
    assert (report["ProductionVariant"]["Invocations"], report["ShadowVariant"]["Invocations"]) == (8, 4)
    assert (report["Comparison"]["Compared"], report["Comparison"]["AgreementRate"]) == (4, 0.0)
    page = serving.s3.get_object(Bucket=BUCKET, Key="tests/test/comparison.html")
    assert (page["ContentType"], b"Shadow test test" in page["Body"].read()) == ("text/html; charset=utf-8", True)


def test_a_change_of_the_share_and_the_end_without_the_shadow(serving: Hosting) -> None:
    create(serving)
    until(serving, "Running")
    serving.sagemaker.update_inference_experiment(Name="test", ShadowModeConfig=mode(100), Description="all of it")
    assert until(serving, "Running")["Description"] == "all of it"
    assert serving.describe()["ShadowProductionVariants"][0]["CurrentWeight"] == 1.0
    serving.sagemaker.stop_inference_experiment(Name="test", ModelVariantActions=RETAIN)
    assert [entry["Status"] for entry in until(serving, "Cancelled")["ModelVariants"]] == ["InService", "Deleted"]
    assert "ShadowProductionVariants" not in serving.describe()
    serving.sagemaker.delete_inference_experiment(Name="test")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        serving.sagemaker.describe_inference_experiment(Name="test")


def test_an_experiment_of_tomorrow_is_created_started_by_hand_and_ends_by_its_schedule(serving: Hosting) -> None:
    start = datetime.now(UTC) + timedelta(days=1)
    create(serving, Schedule={"StartTime": start, "EndTime": start + timedelta(days=1)})
    assert until(serving, "Created")["EndpointMetadata"]["EndpointStatus"] == "InService"
    assert [entry["Name"] for entry in serving.sagemaker.list_inference_experiments(StatusEquals="Created")["InferenceExperiments"]] == ["test"]
    serving.sagemaker.start_inference_experiment(Name="test")
    until(serving, "Running")
    serving.sagemaker.update_inference_experiment(Name="test", Schedule={"EndTime": datetime.now(UTC) + timedelta(seconds=1)})
    until(serving, "Completed")
    assert "ShadowProductionVariants" not in serving.describe()


def test_an_experiment_that_has_not_begun_is_stopped_without_a_trace(serving: Hosting) -> None:
    start = datetime.now(UTC) + timedelta(days=1)
    create(serving, Schedule={"StartTime": start, "EndTime": start + timedelta(days=1)})
    until(serving, "Created")
    with pytest.raises(ClientError, match=r"ResourceInUse.*The endpoint endpoint already has the inference experiment test"):
        create(serving, "second")
    with pytest.raises(ClientError, match=r"ResourceInUse.*inference-experiment/test already exists"):
        create(serving)
    serving.sagemaker.stop_inference_experiment(Name="test", ModelVariantActions=RETAIN)
    assert until(serving, "Cancelled")["EndpointMetadata"]["EndpointConfigName"] == "config"
    with pytest.raises(ClientError, match="ConflictException"):
        serving.sagemaker.start_inference_experiment(Name="test")


def test_a_shadow_that_does_not_start_cancels_the_experiment(serving: Hosting) -> None:
    serving.model("broken", container={"Environment": {"FAIL": "1"}})
    create(serving, ModelVariants=[variant("Main", "model"), variant("Shadow", "broken")])
    found = until(serving, "Cancelled")
    assert "did not pass the ping health check" in found["StatusReason"]
    assert (serving.describe()["EndpointStatus"], serving.describe()["EndpointConfigName"]) == ("InService", "config")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"EndpointName": "none"}, "Could not find endpoint"),
        ({"ModelVariants": [variant("Main", "model")]}, "variant Shadow of ShadowModeConfig"),
        ({"ModelVariants": [variant("Main", "model"), variant("Shadow", "none")]}, "Could not find model"),
        ({"Schedule": {"EndTime": datetime(2020, 1, 1, tzinfo=UTC)}}, "must be after its start time"),
    ],
)
def test_experiments_that_are_refused(serving: Hosting, members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=f"ValidationException.*{words}"):
        create(serving, **members)


def test_actions_that_leave_nobody_serving_are_refused(serving: Hosting) -> None:
    create(serving)
    until(serving, "Running")
    for actions in ({"Main": "Remove", "Shadow": "Retain"}, {"Main": "Promote"}, {"Other": "Retain"}):
        with pytest.raises(ClientError, match="ValidationException"):
            serving.sagemaker.stop_inference_experiment(Name="test", ModelVariantActions=actions)


def test_a_scaled_variant_is_not_given_up_for_its_shadow(serving: Hosting) -> None:
    scaling = serving.server.client("application-autoscaling")
    place = {"ResourceId": "endpoint/endpoint/variant/Main", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    scaling.register_scalable_target(ServiceNamespace="sagemaker", MinCapacity=1, MaxCapacity=2, **place)
    create(serving)
    until(serving, "Running")
    with pytest.raises(ClientError, match=r'The variant\(s\) "Main" must be deregistered as scalable targets'):
        serving.sagemaker.stop_inference_experiment(Name="test", ModelVariantActions={"Main": "Remove", "Shadow": "Promote"})
    assert serving.sagemaker.describe_inference_experiment(Name="test")["Status"] == "Running"


def look(serving: Hosting) -> None:
    """A change that changes nothing makes the experiment look at its endpoint now."""
    serving.sagemaker.update_inference_experiment(Name="test", Description="look")


def test_an_experiment_ends_when_somebody_else_updates_its_endpoint(serving: Hosting) -> None:
    create(serving)
    until(serving, "Running")
    serving.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="config")
    serving.settled()
    look(serving)
    found = until(serving, "Cancelled")
    assert found["StatusReason"] == "The endpoint was updated by somebody else."
    assert [entry["Status"] for entry in found["ModelVariants"]] == ["InService", "Deleted"]
    assert serving.describe()["EndpointConfigName"] == "config"


def test_an_experiment_ends_with_its_endpoint(serving: Hosting) -> None:
    create(serving)
    until(serving, "Running")
    serving.sagemaker.delete_endpoint(EndpointName="endpoint")
    serving.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="endpoint")
    look(serving)
    found = until(serving, "Cancelled")
    assert found["StatusReason"].startswith("Could not find endpoint")
    assert [entry["Status"] for entry in found["ModelVariants"]] == ["Deleted", "Deleted"]
