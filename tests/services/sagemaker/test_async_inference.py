"""Asynchronous inference through real clients: answers and failures in S3, notifications, no instance at all for a while."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from .conftest import IMAGE

if TYPE_CHECKING:
    from .conftest import Hosting

BUCKET = "hosting-tests"
OUTPUT: dict[str, Any] = {"S3OutputPath": f"s3://{BUCKET}/out", "S3FailurePath": f"s3://{BUCKET}/failed"}


def serve(hosting: Hosting, **output: Any) -> dict[str, Any]:
    hosting.model()
    hosting.config(members={"AsyncInferenceConfig": {"OutputConfig": {**OUTPUT, **output}}})
    return hosting.endpoint()


def invoke(hosting: Hosting, body: bytes = b"hello", **members: Any) -> dict[str, Any]:
    hosting.s3.put_object(Bucket=BUCKET, Key="in/payload", Body=body, ContentType="text/csv")
    answer: dict[str, Any] = hosting.runtime.invoke_endpoint_async(EndpointName="endpoint", InputLocation=f"s3://{BUCKET}/in/payload", **members)
    return answer


def read(hosting: Hosting, uri: str) -> Any:
    """An object, waited for as the SDKs do."""
    key = uri.removeprefix(f"s3://{BUCKET}/")
    hosting.s3.get_waiter("object_exists").wait(Bucket=BUCKET, Key=key)
    return hosting.s3.get_object(Bucket=BUCKET, Key=key)


def topic(hosting: Hosting) -> tuple[str, Any]:
    """A topic, and a function that waits for its next message."""
    sqs, sns = hosting.server.client("sqs"), hosting.server.client("sns")
    url, arn = sqs.create_queue(QueueName="told")["QueueUrl"], sns.create_topic(Name="told")["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:told", Attributes={"RawMessageDelivery": "true"})
    return arn, lambda: json.loads(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]["Body"])


def test_the_answer_lies_where_the_call_said_and_the_topic_tells(hosting: Hosting) -> None:
    arn, told = topic(hosting)
    found = serve(hosting, NotificationConfig={"SuccessTopic": arn, "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"]})
    assert found["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"] == OUTPUT["S3OutputPath"]
    answer = invoke(hosting, InferenceId="mine", Accept="application/json")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "mine"
    assert answer["FailureLocation"].startswith(OUTPUT["S3FailurePath"])
    stored = read(hosting, answer["OutputLocation"])
    assert stored["ContentType"] == "application/json"
    assert json.loads(stored["Body"].read())["accept"] == "application/json"
    message = told()
    assert message["invocationStatus"] == "Completed"
    assert message["responseParameters"] == {"contentType": "application/json", "outputLocation": answer["OutputLocation"]}
    assert message["requestParameters"]["endpointName"] == "endpoint"
    assert message["responseBody"]["encoding"] == "BASE64"


def test_a_failure_has_its_own_place_and_topic(hosting: Hosting) -> None:
    arn, told = topic(hosting)
    serve(hosting, NotificationConfig={"ErrorTopic": arn})
    answer = invoke(hosting, b"bad")
    assert read(hosting, answer["FailureLocation"])["Body"].read() == b"bad request"
    message = told()
    assert (message["invocationStatus"], message["inferenceId"]) == ("Failed", answer["InferenceId"])
    assert message["failureReason"].startswith("ClientError: Received client error (400) from model.")


def test_an_inline_body_and_a_name_for_the_answer(hosting: Hosting) -> None:
    serve(hosting)
    answer = hosting.runtime.invoke_endpoint_async(EndpointName="endpoint", Body=b"x", S3OutputPathExtension="day/1", Filename="mine.json")
    assert answer["OutputLocation"] == f"s3://{BUCKET}/out/day/1/mine.json"
    assert json.loads(read(hosting, answer["OutputLocation"])["Body"].read())["environment"]["MODEL_NAME"] == "model"


def test_an_input_that_is_not_there_fails_the_invocation(hosting: Hosting) -> None:
    serve(hosting)
    answer = hosting.runtime.invoke_endpoint_async(EndpointName="endpoint", InputLocation=f"s3://{BUCKET}/none")
    assert b"The specified key does not exist" in read(hosting, answer["FailureLocation"])["Body"].read()
    answer = hosting.runtime.invoke_endpoint_async(EndpointName="endpoint", InputLocation="s3://no-such-bucket/none")
    assert b"The specified bucket does not exist" in read(hosting, answer["FailureLocation"])["Body"].read()


def test_what_cannot_be_invoked_so_is_refused(hosting: Hosting) -> None:
    serve(hosting)
    calls: list[Callable[[], Any]] = [
        lambda: hosting.ask(),
        lambda: hosting.runtime.invoke_endpoint_async(EndpointName="endpoint"),
        lambda: hosting.runtime.invoke_endpoint_async(EndpointName="endpoint", Body=b"x", InputLocation="s3://b/k"),
        lambda: hosting.runtime.invoke_endpoint_async(EndpointName="none", Body=b"x"),
        lambda: hosting.config("other", members={"AsyncInferenceConfig": {"OutputConfig": {}}}),
    ]
    for call, code in zip(calls, ["ValidationError"] * 4 + ["ValidationException"], strict=True):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == code


def test_an_endpoint_with_a_backlog_stays_asynchronous(hosting: Hosting) -> None:
    serve(hosting)
    hosting.config("plain")
    with pytest.raises(ClientError, match="The AsyncInferenceConfig parameter cannot be removed from this endpoint endpoint"):
        hosting.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="plain")
    assert hosting.describe()["EndpointStatus"] == "InService"


def test_models_that_a_request_would_have_to_name_are_refused(hosting: Hosting) -> None:
    hosting.model(container={"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/"})
    with pytest.raises(ClientError, match="One or more endpoint features are not supported"):
        hosting.config(members={"AsyncInferenceConfig": {"OutputConfig": OUTPUT}})


def test_requests_wait_while_there_is_no_instance(hosting: Hosting) -> None:
    serve(hosting)
    scaling = hosting.server.client("application-autoscaling")
    place = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/endpoint/variant/AllTraffic"}
    scaling.register_scalable_target(**place, ScalableDimension="sagemaker:variant:DesiredInstanceCount", MinCapacity=0, MaxCapacity=1)
    wanted = {"VariantName": "AllTraffic", "DesiredInstanceCount": 0}
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName="endpoint", DesiredWeightsAndCapacities=[wanted])
    assert hosting.settled()["ProductionVariants"][0]["CurrentInstanceCount"] == 0
    answers = [hosting.runtime.invoke_endpoint_async(EndpointName="endpoint", Body=b"x") for _ in range(3)]
    wanted["DesiredInstanceCount"] = 1
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName="endpoint", DesiredWeightsAndCapacities=[wanted])
    for answer in answers:
        assert read(hosting, answer["OutputLocation"])["ContentLength"]


@pytest.mark.slow
def test_an_alarm_on_the_backlog_brings_the_first_instance(hosting: Hosting) -> None:
    serve(hosting)
    scaling, alarms = hosting.server.client("application-autoscaling"), hosting.server.client("cloudwatch")
    place = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/endpoint/variant/AllTraffic"}
    place["ScalableDimension"] = "sagemaker:variant:DesiredInstanceCount"
    scaling.register_scalable_target(**place, MinCapacity=0, MaxCapacity=2)
    wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 0}]
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName="endpoint", DesiredWeightsAndCapacities=wanted)
    hosting.settled()
    steps = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]}
    policy = scaling.put_scaling_policy(PolicyName="up", PolicyType="StepScaling", **place, StepScalingPolicyConfiguration=steps)
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "HasBacklogWithoutCapacity", "Statistic": "Average", "Period": 10}
    alarm = {"EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold", "AlarmActions": [policy["PolicyARN"]]}
    alarms.put_metric_alarm(AlarmName="backlog", Dimensions=[{"Name": "EndpointName", "Value": "endpoint"}], **metric, **alarm)
    answer = hosting.runtime.invoke_endpoint_async(EndpointName="endpoint", Body=b"x")
    assert read(hosting, answer["OutputLocation"])["ContentLength"]
