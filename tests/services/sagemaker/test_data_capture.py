"""Data capture of endpoints through real clients."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import ROLE

if TYPE_CHECKING:
    from .conftest import Hosting

CAPTURE: dict[str, Any] = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://hosting-tests/captured",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}


def serve(hosting: Hosting, **members: Any) -> dict[str, Any]:
    hosting.model()
    hosting.config(members={"DataCaptureConfig": {**CAPTURE, **members}})
    return hosting.endpoint()


def test_requests_and_answers_come_to_lie_in_s3(hosting: Hosting) -> None:
    summary = serve(hosting)["DataCaptureConfig"]
    assert summary == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": "s3://hosting-tests/captured",
        "KmsKeyId": "",
    }
    for body in (b"1,2", b"3,4"):
        hosting.ask(body, ContentType="text/csv", InferenceId="id", CustomAttributes="why")
    lines = [json.loads(text) for body in hosting.objects("captured/").values() for text in body.splitlines()]
    assert [one["captureData"]["endpointInput"]["data"] for one in lines] == ["1,2", "3,4"]
    assert lines[0]["captureData"]["endpointOutput"]["encoding"] == "JSON"
    assert lines[0]["eventMetadata"]["customAttributes"] == ["why"]
    for key in hosting.objects("captured/"):
        assert re.fullmatch(r"captured/endpoint/AllTraffic/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl", key)


def test_a_response_stream_is_captured_whole_and_a_refused_request_is_not(hosting: Hosting) -> None:
    serve(hosting)
    with pytest.raises(hosting.runtime.exceptions.ModelError):
        hosting.ask(b"bad")
    reply = hosting.runtime.invoke_endpoint_with_response_stream(EndpointName="endpoint", Body=b"1,2", ContentType="text/csv")
    streamed = b"".join(event["PayloadPart"]["Bytes"] for event in reply["Body"])
    (line,) = b"".join(hosting.objects("captured/").values()).splitlines()
    told = json.loads(line)["captureData"]
    assert told["endpointInput"] == {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2", "encoding": "CSV"}
    assert told["endpointOutput"] == {"observedContentType": "application/json", "mode": "OUTPUT", "data": streamed.decode(), "encoding": "JSON"}


def test_inference_components_are_captured_as_their_endpoint_says(hosting: Hosting) -> None:
    hosting.model()
    bare = {"VariantName": "AllTraffic", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    hosting.sagemaker.create_endpoint_config(EndpointConfigName="config", ExecutionRoleArn=ROLE, ProductionVariants=[bare], DataCaptureConfig=CAPTURE)
    hosting.endpoint()
    hosting.component("one")
    component = hosting.settled_component("one")
    assert component["InferenceComponentStatus"] == "InService", component.get("FailureReason")
    hosting.ask(b"1,2", ContentType="text/csv", InferenceComponentName="one")
    ((key, body),) = hosting.objects("captured/").items()
    assert key.startswith("captured/endpoint/AllTraffic/")
    assert json.loads(body)["captureData"]["endpointInput"]["data"] == "1,2"


def test_an_update_may_keep_or_exclude_the_old_capture(hosting: Hosting) -> None:
    serve(hosting)
    hosting.config("bare")
    hosting.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="bare", RetainAllVariantProperties=True)
    assert hosting.settled()["DataCaptureConfig"]["CaptureStatus"] == "Started"
    excluded = [{"VariantPropertyType": "DataCaptureConfig"}]
    hosting.sagemaker.update_endpoint(
        EndpointName="endpoint", EndpointConfigName="bare", RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded
    )
    assert "DataCaptureConfig" not in hosting.settled()


def test_capture_that_is_switched_off_says_so(hosting: Hosting) -> None:
    assert serve(hosting, EnableCapture=False)["DataCaptureConfig"]["CaptureStatus"] == "Stopped"
