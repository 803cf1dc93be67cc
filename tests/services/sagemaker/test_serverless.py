"""Serverless endpoints through real clients: no instances, down to no process and back, limits and refusals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server, running

from .conftest import Hosting
from .test_endpoint_scaling import until

CONFIG: dict[str, Any] = {"MemorySizeInMB": 1024, "MaxConcurrency": 3}


@pytest.fixture(scope="module")
def idle_server(images_file: Path) -> Iterator[Server]:
    """A server that lets go of idle replicas at once."""
    with running(environment={**os.environ, "DEWFALL_IMAGES": str(images_file), "DEWFALL_SERVERLESS_IDLE": "0"}) as server:
        yield server


def configure(hosting: Hosting, name: str = "config", **members: Any) -> None:
    variant = {"VariantName": "AllTraffic", "ModelName": "model", "ServerlessConfig": CONFIG}
    request = {"EndpointConfigName": name, "ProductionVariants": [{**variant, **members.pop("variant", {})}], **members}
    hosting.sagemaker.create_endpoint_config(**request)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_down_to_nothing_and_up_again_with_the_next_request(idle_server: Server) -> None:
    hosting = Hosting(idle_server)
    hosting.model()
    configure(hosting)
    variant = hosting.endpoint()["ProductionVariants"][0]
    assert variant["CurrentServerlessConfig"] == CONFIG
    assert "CurrentInstanceCount" not in variant
    first = hosting.ask()["pid"]
    assert until(lambda: is_gone(first))
    assert hosting.describe()["EndpointStatus"] == "InService"
    assert hosting.ask()["pid"] != first
    metrics = idle_server.client("cloudwatch")
    named = {"Namespace": "AWS/SageMaker", "MetricName": "ModelSetupTime"}
    assert until(lambda: metrics.list_metrics(**named)["Metrics"])
    hosting.config("instances", AllTraffic={"InitialInstanceCount": 2})
    hosting.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="instances", RetainAllVariantProperties=True)
    assert hosting.settled()["ProductionVariants"][0]["DesiredInstanceCount"] == 2


def test_concurrency_can_be_changed(hosting: Hosting) -> None:
    hosting.model()
    configure(hosting)
    hosting.endpoint()
    change = {"VariantName": "AllTraffic", "ServerlessUpdateConfig": {"MaxConcurrency": 5, "ProvisionedConcurrency": 1}}
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName="endpoint", DesiredWeightsAndCapacities=[change])
    found = hosting.settled()["ProductionVariants"][0]["CurrentServerlessConfig"]
    assert found == {"MemorySizeInMB": 1024, "MaxConcurrency": 5, "ProvisionedConcurrency": 1}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"variant": {"ServerlessConfig": {**CONFIG, "MemorySizeInMB": 1500}}}, "MemorySizeInMB 1500 of ServerlessConfig is not valid."),
        ({"variant": {"ServerlessConfig": {**CONFIG, "ProvisionedConcurrency": 4}}}, "must be less than or equal to MaxConcurrency"),
        ({"variant": {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}}, "do not support instances"),
        ({"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/o"}}}, "One or more endpoint features are not supported using this"),
        ({"EnableNetworkIsolation": True}, "do not support network isolation"),
    ],
)
def test_what_aws_refuses_is_refused(hosting: Hosting, members: dict[str, Any], said: str) -> None:
    hosting.model()
    with pytest.raises(ClientError, match="ValidationException") as caught:
        configure(hosting, **members)
    assert said in caught.value.response["Error"]["Message"]


PLACE = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/endpoint/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency",
}


def test_provisioned_concurrency_is_scaled(hosting: Hosting) -> None:
    hosting.model()
    configure(hosting, variant={"ServerlessConfig": {**CONFIG, "ProvisionedConcurrency": 1}})
    hosting.endpoint()
    client = hosting.server.client("application-autoscaling")
    client.register_scalable_target(**PLACE, MinCapacity=2, MaxCapacity=3)
    metric = {"PredefinedMetricType": "SageMakerVariantProvisionedConcurrencyUtilization"}
    tracking = {"TargetValue": 0.5, "PredefinedMetricSpecification": metric}
    policy = {"PolicyName": "p", "PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": tracking}
    alarm = client.put_scaling_policy(**PLACE, **policy)["Alarms"][0]["AlarmName"]
    shown = hosting.server.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]
    assert (shown["MetricName"], shown["Statistic"]) == ("ServerlessProvisionedConcurrencyUtilization", "Maximum")

    def provisioned() -> int:
        return int(hosting.settled()["ProductionVariants"][0]["CurrentServerlessConfig"]["ProvisionedConcurrency"])

    assert until(lambda: provisioned() == 2)
    activity = until(lambda: client.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"])[0]
    assert activity["Description"] == "Setting desired provisioned concurrency to 2."


def test_a_dimension_that_a_variant_does_not_have_is_refused(hosting: Hosting) -> None:
    hosting.model()
    configure(hosting)
    hosting.endpoint()
    client = hosting.server.client("application-autoscaling")
    for dimension, words in (("DesiredInstanceCount", "is serverless"), ("DesiredProvisionedConcurrency", "has no provisioned concurrency")):
        with pytest.raises(ClientError, match=f"ValidationException.*{words}"):
            client.register_scalable_target(**PLACE | {"ScalableDimension": f"sagemaker:variant:{dimension}"}, MinCapacity=1, MaxCapacity=2)
