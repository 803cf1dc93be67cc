"""Shadow variants through a real client: described, fed with copies, measured, captured, and never heard of by callers."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import BUCKET, Hosting

CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": f"s3://{BUCKET}/captured",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
}


def variant(name: str, model: str, weight: float = 1.0) -> dict[str, Any]:
    return {"VariantName": name, "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large", "InitialVariantWeight": weight}


def config(hosting: Hosting, weight: float, **members: Any) -> None:
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName="config",
        ProductionVariants=[variant("Main", "model", 2.0)],
        ShadowProductionVariants=[variant("Shadow", "better", weight)],
        **members,
    )


@pytest.fixture
def shadowed(hosting: Hosting) -> Hosting:
    """An endpoint whose requests are copied to a shadow variant, every second of them, and captured."""
    hosting.model()
    hosting.model("better")
    config(hosting, 1.0, DataCaptureConfig=CAPTURE)
    assert hosting.endpoint()["EndpointStatus"] == "InService"
    return hosting


def until(look: Callable[[], Any], seconds: float = 180.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("it has not happened in time")


def total(hosting: Hosting, name: str, namespace: str = "AWS/SageMaker") -> float:
    """A metric of the shadow variant, summed up."""
    now = datetime.now(UTC)
    answer = hosting.server.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": "EndpointName", "Value": "endpoint"}, {"Name": "VariantName", "Value": "Shadow"}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))


def test_a_shadow_variant_is_described_with_what_it_got(shadowed: Hosting) -> None:
    (shadow,) = shadowed.describe()["ShadowProductionVariants"]
    assert (shadow["VariantName"], shadow["CurrentInstanceCount"], shadow["CurrentWeight"]) == ("Shadow", 1, 1.0)
    assert shadowed.sagemaker.describe_endpoint_config(EndpointConfigName="config")["ShadowProductionVariants"][0]["ModelName"] == "better"
    told = [shadowed.ask() for _ in range(10)]
    assert {(answer["variant"], answer["environment"]["MODEL_NAME"]) for answer in told} == {("Main", "model")}
    until(lambda: total(shadowed, "Invocations") == 5)
    assert total(shadowed, "Copies", "Dewfall/ShadowVariants") == 5
    assert total(shadowed, "AnswerAgreement", "Dewfall/ShadowVariants") == 0
    with pytest.raises(ClientError, match="Variant Shadow of endpoint endpoint"):
        shadowed.ask(TargetVariant="Shadow")


def test_a_shadow_s_answers_are_captured_under_its_name(shadowed: Hosting) -> None:
    for _ in range(4):
        shadowed.ask()
    found = until(lambda: shadowed.s3.list_objects_v2(Bucket=BUCKET, Prefix="captured/endpoint/Shadow/").get("Contents"))
    lines = shadowed.s3.get_object(Bucket=BUCKET, Key=found[0]["Key"])["Body"].read()
    assert b"better" in lines


def test_a_shadow_grows_like_any_variant(shadowed: Hosting) -> None:
    wanted = [{"VariantName": "Shadow", "DesiredInstanceCount": 2}]
    shadowed.sagemaker.update_endpoint_weights_and_capacities(EndpointName="endpoint", DesiredWeightsAndCapacities=wanted)
    assert shadowed.settled()["ShadowProductionVariants"][0]["CurrentInstanceCount"] == 2


def test_only_one_variant_can_have_a_shadow(hosting: Hosting) -> None:
    hosting.model()
    with pytest.raises(ClientError, match="Only one variant can be specified"):
        hosting.sagemaker.create_endpoint_config(
            EndpointConfigName="config",
            ProductionVariants=[variant("A", "model"), variant("B", "model")],
            ShadowProductionVariants=[variant("Shadow", "model")],
        )


def test_multi_model_endpoints_have_no_shadows(hosting: Hosting) -> None:
    hosting.model()
    hosting.model("many", container={"Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/many/"})
    with pytest.raises(ClientError, match="One or more endpoint features are not supported using this configuration"):
        hosting.sagemaker.create_endpoint_config(
            EndpointConfigName="config",
            ProductionVariants=[variant("Main", "model")],
            ShadowProductionVariants=[variant("Shadow", "many")],
        )
