"""Endpoints through a real client, with replicas that really run."""

from __future__ import annotations

import os
import select
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import running

from .conftest import BUCKET, Hosting

ARN = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/"


def refusal(caught: pytest.ExceptionInfo[ClientError]) -> str:
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    said: str = caught.value.response["Error"]["Message"]
    return said


@pytest.fixture
def serving(hosting: Hosting) -> Hosting:
    """An endpoint in service, with one replica of the model."""
    hosting.model()
    hosting.config()
    assert hosting.endpoint()["EndpointStatus"] == "InService"
    return hosting


def test_an_endpoint_in_service_is_described_as_on_aws(serving: Hosting) -> None:
    found = serving.describe()
    variant = found["ProductionVariants"][0]
    assert (found["EndpointArn"], found["EndpointConfigName"]) == (ARN + "endpoint", "config")
    assert {name: variant[name] for name in variant if name != "DeployedImages"} == {
        "VariantName": "AllTraffic",
        "CurrentWeight": 1.0,
        "DesiredWeight": 1.0,
        "CurrentInstanceCount": 1,
        "DesiredInstanceCount": 1,
    }
    assert variant["DeployedImages"][0]["SpecifiedImage"].endswith("/echo:latest")


def test_the_container_finds_its_model_environment_and_credentials(serving: Hosting) -> None:
    told = serving.ask(Accept="text/csv")
    assert told["model"] == {"weights.txt": "42"}
    assert told["accept"] == "text/csv"
    environment = told["environment"]
    assert (environment["MODEL_NAME"], environment["AWS_REGION"], environment["SAGEMAKER_REGION"]) == ("model", "us-east-1", "us-east-1")
    assert environment["AWS_ENDPOINT_URL"] == serving.server.url
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")


def test_the_containers_error_is_a_model_error(serving: Hosting) -> None:
    with pytest.raises(serving.runtime.exceptions.ModelError) as caught:
        serving.ask(b"bad")
    assert caught.value.response["OriginalStatusCode"] == 400
    assert caught.value.response["OriginalMessage"] == "bad request"
    assert 'Received client error (400) from primary with message "bad request".' in str(caught.value)


def test_a_streamed_answer(serving: Hosting) -> None:
    reply = serving.runtime.invoke_endpoint_with_response_stream(EndpointName="endpoint", Body=b"x")
    assert b"".join(event["PayloadPart"]["Bytes"] for event in reply["Body"]).startswith(b'{"pid"')
    assert (reply["ContentType"], reply["InvokedProductionVariant"]) == ("application/json", "AllTraffic")


@pytest.fixture
def checked(images_file: Path) -> Iterator[Hosting]:
    """An endpoint of a server that looks at signatures and policies, so that no request goes straight to the router."""
    with running(environment={**os.environ, "DEWFALL_IMAGES": str(images_file), "DEWFALL_AUTH": "audit"}) as server:
        hosting = Hosting(server)
        hosting.model()
        hosting.config()
        hosting.endpoint()
        yield hosting


def test_requests_that_cannot_go_straight_get_the_same_answers(checked: Hosting) -> None:
    runtime = checked.runtime
    reply = runtime.invoke_endpoint(EndpointName="endpoint", Body=b"x", Accept="text/csv", CustomAttributes="a=1")
    assert (reply["InvokedProductionVariant"], reply["ContentType"]) == ("AllTraffic", "application/json")
    assert b'"accept": "text/csv"' in reply["Body"].read()
    streamed = runtime.invoke_endpoint_with_response_stream(EndpointName="endpoint", Body=b"x")
    assert b"".join(event["PayloadPart"]["Bytes"] for event in streamed["Body"]).startswith(b'{"pid"')
    with pytest.raises(runtime.exceptions.ModelError) as caught:
        runtime.invoke_endpoint(EndpointName="endpoint", Body=b"bad")
    assert caught.value.response["OriginalStatusCode"] == 400


@pytest.mark.parametrize("members", [{"EndpointName": "none"}, {"EndpointName": "endpoint", "TargetModel": "a.tar.gz"}])
def test_invocations_that_aws_refuses(serving: Hosting, members: dict[str, Any]) -> None:
    with pytest.raises(serving.runtime.exceptions.ClientError) as caught:
        serving.runtime.invoke_endpoint(Body=b"x", **members)
    assert caught.value.response["Error"]["Code"] == "ValidationError"


@pytest.mark.parametrize(("member", "longest"), [("InferenceId", 64), ("CustomAttributes", 1024), ("ContentType", 1024), ("SessionId", 256)])
def test_headers_have_their_lengths(serving: Hosting, member: str, longest: int) -> None:
    words = f"'{member[0].lower()}{member[1:]}' failed to satisfy constraint: Member must have length less than or equal to {longest}"
    with pytest.raises(serving.runtime.exceptions.ClientError, match=words):
        serving.ask(b"x", **{member: "x" * (longest + 1)})
    assert serving.ask(b"x", **{member: "x" * longest})["variant"] == "AllTraffic"


def test_a_killed_replica_is_replaced_while_requests_are_answered(serving: Hosting) -> None:
    first = serving.ask()["pid"]
    os.kill(first, signal.SIGKILL)
    assert serving.ask()["pid"] != first
    assert serving.describe()["EndpointStatus"] == "InService"


def test_capacity_grows_and_shrinks(serving: Hosting) -> None:
    for count in (2, 1):
        wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
        serving.sagemaker.update_endpoint_weights_and_capacities(EndpointName="endpoint", DesiredWeightsAndCapacities=wanted)
        assert serving.settled()["ProductionVariants"][0]["CurrentInstanceCount"] == count
        assert len({serving.ask()["pid"] for _ in range(10)}) == count


def test_an_update_swaps_the_model_when_the_new_one_is_ready(serving: Hosting) -> None:
    serving.model("better")
    serving.config("next", AllTraffic={"ModelName": "better"})
    serving.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="next")
    pending = serving.describe()
    assert pending["EndpointStatus"] == "InService" or pending["PendingDeploymentSummary"]["EndpointConfigName"] == "next"
    assert serving.settled()["EndpointConfigName"] == "next"
    assert serving.ask()["environment"]["MODEL_NAME"] == "better"


def test_a_failed_update_leaves_the_old_model_in_service(serving: Hosting) -> None:
    serving.model("broken", container={"Environment": {"FAIL": "1"}})
    serving.config("next", AllTraffic={"ModelName": "broken"})
    serving.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="next")
    found = serving.settled()
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "config")
    assert "did not pass the ping health check" in found["FailureReason"]
    assert serving.ask()["environment"]["MODEL_NAME"] == "model"


def test_retained_properties_survive_an_update(serving: Hosting) -> None:
    wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    serving.sagemaker.update_endpoint_weights_and_capacities(EndpointName="endpoint", DesiredWeightsAndCapacities=wanted)
    serving.settled()
    serving.config("next")
    serving.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="next", RetainAllVariantProperties=True)
    assert serving.settled()["ProductionVariants"][0]["CurrentInstanceCount"] == 2


def test_a_container_that_ends_fails_the_endpoint_and_quotes_its_log(hosting: Hosting) -> None:
    hosting.model(container={"Environment": {"FAIL": "1"}})
    hosting.config()
    found = hosting.endpoint()
    assert found["EndpointStatus"] == "Failed"
    assert found["FailureReason"] == (
        "The primary container for production variant AllTraffic did not pass the ping health check. Please check CloudWatch logs for this endpoint."
        " The container exited with code 9. The end of its log: cannot load the model"
    )


def test_model_data_that_is_no_archive_fails_the_endpoint_in_awss_words(hosting: Hosting) -> None:
    hosting.s3.put_object(Bucket=BUCKET, Key="zipped.tar.gz", Body=b"PK not a tarball")
    hosting.model(container={"ModelDataUrl": f"s3://{BUCKET}/zipped.tar.gz"})
    hosting.config()
    assert hosting.endpoint()["FailureReason"].startswith(
        f'Failed to extract model data archive for container "container_1" from URL "s3://{BUCKET}/zipped.tar.gz". '
        "Please ensure that the object located at the URL is a valid tar.gz archive."
    )


def test_variants_share_the_traffic(hosting: Hosting) -> None:
    hosting.model()
    hosting.config("config", A={"InitialVariantWeight": 1.0}, B={"InitialVariantWeight": 1.0})
    hosting.endpoint()
    shares = Counter(hosting.ask()["variant"] for _ in range(100))
    assert shares["A"] > 20
    assert shares["B"] > 20
    assert hosting.ask(TargetVariant="B")["variant"] == "B"


def test_uncompressed_model_data_is_laid_out(hosting: Hosting) -> None:
    hosting.s3.put_object(Bucket="hosting-tests", Key="plain/a/b.txt", Body=b"deep")
    source = {"S3DataSource": {"S3Uri": "s3://hosting-tests/plain/", "S3DataType": "S3Prefix", "CompressionType": "None"}}
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/echo:latest"
    hosting.sagemaker.create_model(ModelName="model", PrimaryContainer={"Image": image, "ModelDataSource": source})
    hosting.config()
    hosting.endpoint()
    assert hosting.ask()["model"] == {"a/b.txt": "deep"}


def test_a_deleted_endpoint_is_gone_with_its_replicas(serving: Hosting) -> None:
    process = os.pidfd_open(serving.ask()["pid"])
    serving.sagemaker.delete_endpoint(EndpointName="endpoint")
    serving.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="endpoint")
    with pytest.raises(ClientError) as caught:
        serving.describe()
    assert refusal(caught) == f'Could not find endpoint "{ARN}endpoint".'
    assert select.select([process], [], [], 10)[0] == [process]
    os.close(process)


def test_names_and_configurations_are_checked_at_creation(serving: Hosting) -> None:
    with pytest.raises(ClientError) as caught:
        serving.sagemaker.create_endpoint(EndpointName="endpoint", EndpointConfigName="config")
    assert refusal(caught) == f'Cannot create already existing endpoint "{ARN}endpoint".'
    with pytest.raises(ClientError) as caught:
        serving.sagemaker.create_endpoint(EndpointName="other", EndpointConfigName="none")
    assert refusal(caught) == 'Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:000000000000:endpoint-config/none".'


def test_an_endpoint_in_motion_cannot_be_changed(hosting: Hosting) -> None:
    hosting.model()
    hosting.config()
    hosting.sagemaker.create_endpoint(EndpointName="endpoint", EndpointConfigName="config")
    with pytest.raises(ClientError) as caught:
        hosting.sagemaker.delete_endpoint(EndpointName="endpoint")
    assert refusal(caught) == f'Cannot update in-progress endpoint "{ARN}endpoint".'


def test_an_endpoint_that_is_created_tells_of_its_deployment(hosting: Hosting) -> None:
    hosting.model()
    hosting.config()
    hosting.sagemaker.create_endpoint(EndpointName="endpoint", EndpointConfigName="config")
    found = hosting.describe()
    pending = found["PendingDeploymentSummary"]
    variant = pending["ProductionVariants"][0]
    assert (found["EndpointStatus"], "ProductionVariants" in found, pending["EndpointConfigName"]) == ("Creating", False, "config")
    assert (variant["VariantStatus"][0]["Status"], variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == ("Creating", 0, 1)
    assert "PendingDeploymentSummary" not in hosting.settled()


def test_endpoints_are_listed_by_status(serving: Hosting) -> None:
    assert [entry["EndpointName"] for entry in serving.sagemaker.list_endpoints(StatusEquals="InService")["Endpoints"]] == ["endpoint"]
    assert serving.sagemaker.list_endpoints(StatusEquals="Failed")["Endpoints"] == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Other"], 'The variant name(s) "Other" is/are not present within endpoint configuration "config".'),
        (["AllTraffic", "AllTraffic"], 'The variant name "AllTraffic" was non-unique within the request.'),
    ],
)
def test_weights_of_variants_that_are_not_there(serving: Hosting, names: list[str], said: str) -> None:
    wanted = [{"VariantName": name, "DesiredWeight": 2.0} for name in names]
    with pytest.raises(ClientError) as caught:
        serving.sagemaker.update_endpoint_weights_and_capacities(EndpointName="endpoint", DesiredWeightsAndCapacities=wanted)
    assert refusal(caught) == said
    assert serving.describe()["EndpointStatus"] == "InService"


def test_an_endpoint_may_have_so_many_instances(serving: Hosting) -> None:
    wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 21}]
    with pytest.raises(ClientError) as caught:
        serving.sagemaker.update_endpoint_weights_and_capacities(EndpointName="endpoint", DesiredWeightsAndCapacities=wanted)
    limit = "'Maximum number of instances per endpoint' is 20 Instances, with current utilization of 1 Instances and a request delta of 20 Instances."
    assert limit in str(caught.value)
    assert serving.describe()["EndpointStatus"] == "InService"


def test_the_log_group_is_there_from_the_creation_on(hosting: Hosting) -> None:
    hosting.model()
    hosting.config()
    hosting.sagemaker.create_endpoint(EndpointName="endpoint", EndpointConfigName="config")
    answer = hosting.server.client("logs").describe_log_streams(logGroupName="/aws/sagemaker/Endpoints/endpoint")
    assert "nextToken" not in answer


def test_logs_of_a_replica(serving: Hosting) -> None:
    logs = serving.server.client("logs")
    streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/Endpoints/endpoint")["logStreams"]
    assert streams[0]["logStreamName"].startswith("AllTraffic/i-")
    serving.ask()
    serving.sagemaker.delete_endpoint(EndpointName="endpoint")
    serving.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="endpoint")
    events = logs.filter_log_events(logGroupName="/aws/sagemaker/Endpoints/endpoint", logStreamNamePrefix="AllTraffic/")["events"]
    assert {"serving", "request /ping", "request /invocations"} <= {event["message"] for event in events}
