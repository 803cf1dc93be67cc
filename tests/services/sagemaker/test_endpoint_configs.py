"""Endpoint configurations through a real client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from .conftest import Hosting

ARN = "arn:aws:sagemaker:us-east-1:000000000000:endpoint-config/"


def refusal(caught: pytest.ExceptionInfo[ClientError]) -> str:
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    said: str = caught.value.response["Error"]["Message"]
    return said


def test_a_configuration_is_described_with_its_default_weight(hosting: Hosting) -> None:
    hosting.model()
    assert hosting.config() == ARN + "config"
    found = hosting.sagemaker.describe_endpoint_config(EndpointConfigName="config")
    expected = {
        "VariantName": "AllTraffic",
        "ModelName": "model",
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
        "InitialVariantWeight": 1.0,
    }
    assert found["ProductionVariants"] == [expected]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"ModelName": "none"}, 'Could not find model "arn:aws:sagemaker:us-east-1:000000000000:model/none".'),
        ({"InitialVariantWeight": 0.0}, "At least one production variant must have an InitialVariantWeight greater than 0."),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}},
            "One or more endpoint features are not supported using this configuration. Serverless endpoints do not support instances "
            "(InstanceType, InitialInstanceCount).",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(hosting: Hosting, members: dict[str, Any], said: str) -> None:
    hosting.model()
    with pytest.raises(ClientError) as caught:
        hosting.config(AllTraffic=members)
    assert refusal(caught) == said


@pytest.mark.parametrize("member", ["EnableEnhancedMetrics", "EnableDetailedObservability"])
def test_metrics_that_nobody_measures_are_refused(hosting: Hosting, member: str) -> None:
    hosting.model()
    with pytest.raises(ClientError, match="Dewfall has not built") as caught:
        hosting.config(members={"MetricsConfig": {member: True}})
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_an_endpoint_shows_its_metrics_configuration(hosting: Hosting) -> None:
    hosting.model()
    hosting.config(members={"MetricsConfig": {"MetricPublishFrequencyInSeconds": 30}})
    assert hosting.endpoint()["MetricsConfig"] == {"MetricPublishFrequencyInSeconds": 30}


def test_a_name_is_taken_once(hosting: Hosting) -> None:
    hosting.model()
    hosting.config()
    with pytest.raises(ClientError) as caught:
        hosting.config()
    assert refusal(caught) == f'Cannot create already existing endpoint configuration "{ARN}config".'


@pytest.mark.parametrize("operation", ["describe_endpoint_config", "delete_endpoint_config"])
def test_a_missing_configuration_is_not_found(hosting: Hosting, operation: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(hosting.sagemaker, operation)(EndpointConfigName="none")
    assert refusal(caught) == f'Could not find endpoint configuration "{ARN}none".'


def test_configurations_are_listed_and_deleted(hosting: Hosting) -> None:
    hosting.model()
    hosting.config("one")
    hosting.config("two")
    hosting.sagemaker.delete_endpoint_config(EndpointConfigName="one")
    listed = hosting.sagemaker.list_endpoint_configs()["EndpointConfigs"]
    assert [entry["EndpointConfigArn"] for entry in listed] == [ARN + "two"]
