"""Inference components through a real client, with copies that really run."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import BUCKET, DATA, IMAGE, ROLE, Hosting

NEEDS = {"NumberOfCpuCoresRequired": 1, "MinMemoryRequiredInMb": 512}


class Components:
    """An endpoint for components, and components of the echo model in one line each."""

    def __init__(self, hosting: Hosting, **variant: Any) -> None:
        self.hosting, self.sagemaker = hosting, hosting.sagemaker
        wanted = {"VariantName": "AllTraffic", "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1, **variant}
        self.sagemaker.create_endpoint_config(EndpointConfigName="config", ExecutionRoleArn=ROLE, ProductionVariants=[wanted])
        found = hosting.endpoint()
        assert found["EndpointStatus"] == "InService", found.get("FailureReason")

    def create(self, name: str, copies: int = 1, needs: dict[str, Any] = NEEDS, **container: Any) -> dict[str, Any]:
        given = {"Image": IMAGE, "ArtifactUrl": DATA, "Environment": {"MODEL_NAME": name}, **container}
        self.sagemaker.create_inference_component(
            InferenceComponentName=name,
            EndpointName="endpoint",
            VariantName="AllTraffic",
            Specification={"Container": given, "ComputeResourceRequirements": needs},
            RuntimeConfig={"CopyCount": copies},
        )
        return self.hosting.settled_component(name)

    def copies(self, name: str, count: int) -> dict[str, Any]:
        self.sagemaker.update_inference_component_runtime_config(InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": count})
        return self.hosting.settled_component(name)

    def ask(self, name: str, body: bytes = b"x") -> dict[str, Any]:
        reply = self.hosting.runtime.invoke_endpoint(EndpointName="endpoint", InferenceComponentName=name, Body=body)
        told: dict[str, Any] = json.loads(reply["Body"].read())
        return told


@pytest.fixture
def components(hosting: Hosting) -> Components:
    return Components(hosting)


def test_components_share_an_endpoint_and_answer_under_their_names(components: Components) -> None:
    found = components.create("one")
    assert components.create("two")["InferenceComponentStatus"] == "InService"
    assert found["RuntimeConfig"] == {"DesiredCopyCount": 1, "CurrentCopyCount": 1}
    assert found["Specification"]["Container"]["DeployedImage"]["SpecifiedImage"] == IMAGE
    assert [components.ask(name)["environment"]["MODEL_NAME"] for name in ("one", "two", "one")] == ["one", "two", "one"]
    listed = components.sagemaker.list_inference_components(EndpointNameEquals="endpoint", SortBy="Name", SortOrder="Ascending")
    assert [entry["InferenceComponentName"] for entry in listed["InferenceComponents"]] == ["one", "two"]


def test_copies_grow_and_shrink_down_to_zero(components: Components) -> None:
    components.create("one", 2)
    assert len({components.ask("one")["pid"] for _ in range(10)}) == 2
    assert components.copies("one", 0)["RuntimeConfig"] == {"DesiredCopyCount": 0, "CurrentCopyCount": 0}
    with pytest.raises(ClientError, match="Inference Component has no capacity to process this request") as caught:
        components.ask("one")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert components.copies("one", 1)["RuntimeConfig"]["CurrentCopyCount"] == 1
    assert components.ask("one")["environment"]["MODEL_NAME"] == "one"


def test_an_update_replaces_the_copies_while_requests_are_answered(components: Components) -> None:
    components.create("one", 2)
    new = {"Container": {"Image": IMAGE, "Environment": {"MODEL_NAME": "new"}}}
    batch = {"RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1}, "WaitIntervalInSeconds": 0}}
    components.sagemaker.update_inference_component(InferenceComponentName="one", Specification=new, DeploymentConfig=batch)
    seen = set()
    while components.sagemaker.describe_inference_component(InferenceComponentName="one")["InferenceComponentStatus"] == "Updating":
        seen.add(components.ask("one")["environment"]["MODEL_NAME"])
    found = components.hosting.settled_component("one")
    assert seen <= {"one", "new"}
    assert {components.ask("one")["environment"]["MODEL_NAME"] for _ in range(6)} == {"new"}
    assert (found["Specification"]["Container"]["Environment"], found["LastDeploymentConfig"]) == ({"MODEL_NAME": "new"}, batch)


def test_what_has_no_room_or_does_not_start_fails_with_a_reason(components: Components) -> None:
    found = components.create("large", needs={"MinMemoryRequiredInMb": 100_000})
    assert found["InferenceComponentStatus"] == "Failed"
    assert "exceed those of an instance of type ml.m5.xlarge" in found["FailureReason"]
    found = components.create("broken", Environment={"FAIL": "1"})
    assert found["InferenceComponentStatus"] == "Failed"
    assert "did not pass the ping health check" in found["FailureReason"]
    components.create("one", 2)
    found = components.copies("one", 9)
    assert (found["InferenceComponentStatus"], found["RuntimeConfig"]["DesiredCopyCount"]) == ("InService", 2)
    assert "does not have enough capacity" in found["FailureReason"]


def test_model_data_that_is_no_archive_fails_a_component(components: Components) -> None:
    components.hosting.s3.put_object(Bucket=BUCKET, Key="zipped.tar.gz", Body=b"PK not a tarball")
    components.hosting.model("zipped", container={"ModelDataUrl": f"s3://{BUCKET}/zipped.tar.gz"})
    specification = {"ModelName": "zipped", "ComputeResourceRequirements": NEEDS}
    components.sagemaker.create_inference_component(
        InferenceComponentName="zipped", EndpointName="endpoint", VariantName="AllTraffic", Specification=specification
    )
    assert components.hosting.settled_component("zipped")["FailureReason"].startswith(
        'Failed to extract model data archive for container "container_1"'
    )


def test_managed_instances_follow_the_copies(hosting: Hosting) -> None:
    scaling = {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 3}
    components = Components(hosting, ManagedInstanceScaling=scaling)
    components.create("one", 0, needs={"NumberOfCpuCoresRequired": 3, "MinMemoryRequiredInMb": 512})
    assert hosting.describe()["ProductionVariants"][0]["CurrentInstanceCount"] == 0
    components.copies("one", 2)
    variant = hosting.describe()["ProductionVariants"][0]
    assert (variant["CurrentInstanceCount"], variant["ManagedInstanceScaling"]) == (2, scaling)


def test_requests_that_name_no_component_or_an_unknown_one(components: Components) -> None:
    with pytest.raises(ClientError, match="Inference Component Name header is required"):
        components.hosting.ask()
    with pytest.raises(ClientError, match="Inference Component none of account 000000000000 not found"):
        components.ask("none")
    components.create("one")
    with pytest.raises(ClientError, match="Variant Other of endpoint endpoint of account 000000000000 not found"):
        components.hosting.ask(InferenceComponentName="one", TargetVariant="Other")


def test_endpoints_with_models_know_no_components(hosting: Hosting) -> None:
    hosting.model()
    hosting.config()
    hosting.endpoint()
    with pytest.raises(ClientError, match="Inference Component Name header is not allowed for endpoints to which you dont plan"):
        hosting.ask(InferenceComponentName="one")
    with pytest.raises(ClientError, match="Inference Components are not supported in this Endpoint"):
        hosting.component("one")


def test_deleting_a_component_and_then_its_endpoint(components: Components) -> None:
    components.create("one")
    with pytest.raises(ClientError, match="has inference components"):
        components.sagemaker.delete_endpoint(EndpointName="endpoint")
    components.sagemaker.delete_inference_component(InferenceComponentName="one")
    deadline = time.monotonic() + 180
    while components.sagemaker.list_inference_components()["InferenceComponents"] and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(ClientError, match="Could not find inference component"):
        components.sagemaker.describe_inference_component(InferenceComponentName="one")
    components.sagemaker.delete_endpoint(EndpointName="endpoint")
    components.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="endpoint")


PLACE = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "inference-component/one",
    "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
}


STEPS = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}], "Cooldown": 60}
WATCHED = {"Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold", "EvaluationPeriods": 1, "TreatMissingData": "missing"}
REFUSED = {"Namespace": "AWS/SageMaker", "MetricName": "NoCapacityInvocationFailures"}
COMPONENT = [{"Name": "InferenceComponentName", "Value": "one"}]


def test_an_endpoint_with_components_stays_one_for_components(components: Components) -> None:
    components.create("first")
    components.hosting.model()
    components.hosting.config("other")
    with pytest.raises(ClientError, match=r"ValidationException.*while it has inference components"):
        components.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="other")


def scaled_by(components: Components, **metric: Any) -> Any:
    """A component without copies, that an alarm on a metric gives one; the client of scaling."""
    components.create("one", 0)
    scaling = components.hosting.server.client("application-autoscaling")
    scaling.register_scalable_target(**PLACE, MinCapacity=0, MaxCapacity=2)
    policy = {"PolicyName": "wake", "PolicyType": "StepScaling", **PLACE, "StepScalingPolicyConfiguration": STEPS}
    arn = scaling.put_scaling_policy(**policy)["PolicyARN"]
    components.hosting.server.client("cloudwatch").put_metric_alarm(AlarmName="asleep", AlarmActions=[arn], Period=60, **metric, **WATCHED)
    return scaling


def answers(components: Components) -> bool:
    try:
        return bool(components.ask("one")["environment"]["MODEL_NAME"] == "one")
    except ClientError as error:
        if "has no capacity to process this request" not in str(error):
            raise
        return False


def until_it_answers(components: Components) -> None:
    deadline = time.monotonic() + 180
    while not answers(components):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_alarm_gives_a_component_its_first_copy(components: Components) -> None:
    scaling = scaled_by(components, Namespace="Shop", MetricName="Visitors", Statistic="Maximum")
    cloudwatch = components.hosting.server.client("cloudwatch")
    points = [{"MetricName": "Visitors", "Value": 2.0, "Timestamp": datetime.now(UTC) - timedelta(minutes=n)} for n in range(3)]
    cloudwatch.put_metric_data(Namespace="Shop", MetricData=points)
    cloudwatch.set_alarm_state(AlarmName="asleep", StateValue="ALARM", StateReason="a test")
    until_it_answers(components)
    activity = scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"][0]
    assert activity["Description"] == "Setting desired copy count to 1."
    refused = cloudwatch.list_metrics(**REFUSED, Dimensions=COMPONENT)["Metrics"]
    assert {frozenset(dimension["Name"] for dimension in metric["Dimensions"]) for metric in refused} >= {frozenset({"InferenceComponentName"})}


@pytest.mark.slow
def test_refused_requests_wake_a_component_without_copies(components: Components) -> None:
    scaled_by(components, **REFUSED, Dimensions=COMPONENT, Statistic="Maximum")
    until_it_answers(components)


def test_target_tracking_of_a_component_watches_its_own_metric(components: Components) -> None:
    components.create("one", 0)
    scaling = components.hosting.server.client("application-autoscaling")
    scaling.register_scalable_target(**PLACE, MinCapacity=0, MaxCapacity=2)
    target = {"TargetValue": 5.0, "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerInferenceComponentInvocationsPerCopy"}}
    put = {"PolicyName": "track", "PolicyType": "TargetTrackingScaling", **PLACE, "TargetTrackingScalingPolicyConfiguration": target}
    names = [alarm["AlarmName"] for alarm in scaling.put_scaling_policy(**put)["Alarms"]]
    alarms = components.hosting.server.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    told = {(alarm["MetricName"], alarm["Dimensions"][0]["Name"], alarm["Dimensions"][0]["Value"]) for alarm in alarms}
    assert told == {("InvocationsPerCopy", "InferenceComponentName", "one")}
