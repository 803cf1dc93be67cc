"""Automatic scaling through a real client: targets, policies, schedules and activities of an endpoint that really grows and shrinks."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import Hosting

PLACE = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/endpoint/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
PREDEFINED = {"TargetValue": 70.0, "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}
BACKLOG = {"TargetValue": 10.0, "CustomizedMetricSpecification": {"MetricName": "Backlog", "Namespace": "Shop", "Statistic": "Average"}}


@pytest.fixture
def scaling(hosting: Hosting) -> Any:
    """A client; an endpoint of one replica is registered with 1 to 2."""
    hosting.model()
    hosting.config()
    hosting.endpoint()
    client = hosting.server.client("application-autoscaling")
    client.register_scalable_target(**PLACE, MinCapacity=1, MaxCapacity=2, Tags={"team": "shop"})
    return client


def put(client: Any, configuration: dict[str, Any], name: str = "policy") -> dict[str, Any]:
    kind = "StepScaling" if "StepAdjustments" in configuration else "TargetTrackingScaling"
    answer: dict[str, Any] = client.put_scaling_policy(PolicyName=name, PolicyType=kind, **PLACE, **{f"{kind}PolicyConfiguration": configuration})
    return answer


def until(look: Callable[[], Any], seconds: float = 180.0) -> Any:
    """Ask until the answer is truthy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it has not happened in time")


def counted(hosting: Hosting, count: int) -> bool:
    found = hosting.describe()
    variant = found["ProductionVariants"][0]
    return (found["EndpointStatus"], variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == ("InService", count, count)


def told(client: Any, **members: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.describe_scaling_activities(ServiceNamespace="sagemaker", **members)["ScalingActivities"]
    return found


def measure(hosting: Hosting, value: float, minutes: int = 16) -> None:
    """The metric's last minutes."""
    now = datetime.now(UTC)
    points = [{"MetricName": "Backlog", "Value": value, "Timestamp": now - timedelta(minutes=n)} for n in range(minutes)]
    hosting.server.client("cloudwatch").put_metric_data(Namespace="Shop", MetricData=points)


def alarm(hosting: Hosting, name: str) -> None:
    hosting.server.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")


def test_a_target_is_described_with_its_role_and_switches(scaling: Any) -> None:
    target = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[PLACE["ResourceId"]])["ScalableTargets"][0]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 2)
    assert target["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
    assert target["SuspendedState"]["DynamicScalingInSuspended"] is False
    assert scaling.list_tags_for_resource(ResourceARN=target["ScalableTargetARN"])["Tags"] == {"team": "shop"}


def test_target_tracking_makes_its_alarms(scaling: Any, hosting: Hosting) -> None:
    named = [entry["AlarmName"] for entry in put(scaling, PREDEFINED)["Alarms"]]
    alarms = hosting.server.client("cloudwatch").describe_alarms(AlarmNames=named)["MetricAlarms"]
    kept = {a["AlarmName"].split("-Alarm")[1][:3]: (a["Threshold"], a["EvaluationPeriods"], a["MetricName"], a["Statistic"]) for a in alarms}
    assert kept == {"Hig": (70.0, 3, "InvocationsPerInstance", "Sum"), "Low": (63.0, 15, "InvocationsPerInstance", "Sum")}
    assert all(name.startswith("TargetTracking-endpoint/endpoint/variant/AllTraffic-Alarm") for name in named)
    scaling.delete_scaling_policy(PolicyName="policy", **PLACE)
    assert hosting.server.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_a_policy_without_scale_in_has_no_low_alarm(scaling: Any) -> None:
    assert len(put(scaling, PREDEFINED)["Alarms"]) == 2
    assert len(put(scaling, {**PREDEFINED, "DisableScaleIn": True})["Alarms"]) == 1
    assert len(scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"][0]["Alarms"]) == 1


def test_a_metric_above_its_target_starts_a_second_replica(scaling: Any, hosting: Hosting) -> None:
    name = put(scaling, BACKLOG)["Alarms"][0]["AlarmName"]
    measure(hosting, 100.0)
    alarm(hosting, name)
    until(lambda: counted(hosting, 2))
    assert len({hosting.ask()["pid"] for _ in range(20)}) == 2
    done = until(lambda: [entry for entry in told(scaling) if entry["StatusCode"] == "Successful"])[0]
    assert done["Cause"] == f"monitor alarm {name} in state ALARM triggered policy policy"
    assert done["StatusMessage"] == "Successfully set desired instance count to 2. Change successfully fulfilled by sagemaker."


def test_a_metric_below_its_target_stops_a_replica(scaling: Any, hosting: Hosting) -> None:
    scaling.register_scalable_target(**PLACE, MinCapacity=2)
    until(lambda: counted(hosting, 2))
    until(lambda: told(scaling)[0]["StatusCode"] == "Successful")
    assert told(scaling)[0]["Cause"] == "minimum capacity was set to 2"
    scaling.register_scalable_target(**PLACE, MinCapacity=1)
    name = put(scaling, BACKLOG)["Alarms"][1]["AlarmName"]
    measure(hosting, 1.0)
    alarm(hosting, name)
    until(lambda: counted(hosting, 1))


def test_a_step_policy_acts_on_a_users_alarm(scaling: Any, hosting: Hosting) -> None:
    steps = [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 2}]
    policy = put(scaling, {"AdjustmentType": "ExactCapacity", "StepAdjustments": steps, "MetricAggregationType": "Maximum"})["PolicyARN"]
    metric = {"Namespace": "Shop", "MetricName": "Backlog", "Statistic": "Average", "Period": 60, "EvaluationPeriods": 1, "Threshold": 5.0}
    cloudwatch = hosting.server.client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName="busy", ComparisonOperator="GreaterThanThreshold", AlarmActions=[policy], **metric)
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"][0]["Alarms"][0]["AlarmName"] == "busy"
    measure(hosting, 50.0)
    alarm(hosting, "busy")
    until(lambda: counted(hosting, 2))


def test_a_scaling_that_the_bounds_forbid_is_told_on_request(scaling: Any, hosting: Hosting) -> None:
    scaling.register_scalable_target(**PLACE, MaxCapacity=1)
    name = put(scaling, BACKLOG)["Alarms"][0]["AlarmName"]
    measure(hosting, 100.0)
    alarm(hosting, name)
    entry = until(lambda: told(scaling, IncludeNotScaledActivities=True))[0]
    assert entry["NotScaledReasons"] == [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 1}]
    assert told(scaling) == []


def test_a_scheduled_action_changes_the_bounds_and_the_count(scaling: Any, hosting: Hosting) -> None:
    at = (datetime.now(UTC) + timedelta(seconds=2)).strftime("at(%Y-%m-%dT%H:%M:%S)")
    action = {"MinCapacity": 2, "MaxCapacity": 3}
    scaling.put_scheduled_action(ScheduledActionName="noon", Schedule=at, ScalableTargetAction=action, **PLACE)
    until(lambda: counted(hosting, 2))
    first = told(scaling)[-1]
    assert (first["Description"], first["Cause"]) == ("Setting min capacity to 2 and max capacity to 3", "scheduled action name noon was triggered")
    assert scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"][0]["ScalableTargetAction"] == action


def test_a_deregistered_target_takes_its_policies_along(scaling: Any) -> None:
    put(scaling, PREDEFINED)
    scaling.deregister_scalable_target(**PLACE)
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    with pytest.raises(
        ClientError, match=r"ObjectNotFoundException.*No scalable target registered for service namespace: sagemaker, resource ID: endpoint/"
    ):
        put(scaling, PREDEFINED)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ServiceNamespace": "ecs", "ResourceId": "service/c/s", "ScalableDimension": "ecs:service:DesiredCount"}, "sagemaker only, not for ecs"),
        ({"ResourceId": "endpoint/none/variant/v"}, "Could not find endpoint"),
        ({"MaxCapacity": 0}, "Maximum capacity cannot be less than minimum capacity"),
        ({"ScalableDimension": "ecs:service:DesiredCount"}, "Unsupported service namespace, resource type or scalable dimension"),
    ],
)
def test_targets_that_are_refused(scaling: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match="ValidationException.*" + words):
        scaling.register_scalable_target(**{**PLACE, "MinCapacity": 1, "MaxCapacity": 2, **changes})


def test_other_namespaces_hold_nothing(scaling: Any) -> None:
    assert scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"] == []
    with pytest.raises(ClientError, match=r"\[PredictiveScaling, StepScaling, TargetTrackingScaling\]"):
        scaling.put_scaling_policy(PolicyName="policy", PolicyType="Other", **PLACE)


def test_a_metric_may_be_an_expression(scaling: Any, hosting: Hosting) -> None:
    stat = {"Metric": {"Namespace": "Shop", "MetricName": "Backlog"}, "Stat": "Average"}
    queries = [{"Id": "m1", "MetricStat": stat, "ReturnData": False}, {"Id": "e1", "Expression": "m1 / 2"}]
    name = put(scaling, {"TargetValue": 10.0, "CustomizedMetricSpecification": {"Metrics": queries}})["Alarms"][0]["AlarmName"]
    measure(hosting, 100.0)
    alarm(hosting, name)
    until(lambda: counted(hosting, 2))


def test_what_does_not_run_here_is_not_built(scaling: Any) -> None:
    metric = {"PredefinedMetricType": "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"}
    with pytest.raises(ClientError, match="NotImplemented"):
        put(scaling, {"TargetValue": 5.0, "PredefinedMetricSpecification": metric})


def test_concurrent_requests_scale_out_by_a_metric_of_ten_seconds(scaling: Any, hosting: Hosting) -> None:
    metric = {"PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"}
    alarms = put(scaling, {"TargetValue": 5.0, "PredefinedMetricSpecification": metric})["Alarms"]
    shown = hosting.server.client("cloudwatch").describe_alarms(AlarmNames=[one["AlarmName"] for one in alarms])["MetricAlarms"]
    assert {one["MetricName"] for one in shown} == {"ConcurrentRequestsPerModel"}
    assert {(one["ComparisonOperator"], one["Period"], one["EvaluationPeriods"]) for one in shown} == {
        ("GreaterThanThreshold", 10, 3),
        ("LessThanThreshold", 60, 15),
    }


def test_a_deleted_endpoint_takes_its_targets_along(scaling: Any, hosting: Hosting) -> None:
    put(scaling, PREDEFINED)
    hosting.sagemaker.delete_endpoint(EndpointName="endpoint")
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert hosting.server.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_a_scaled_variant_stays_and_keeps_its_instance_type(scaling: Any, hosting: Hosting) -> None:
    hosting.config("larger", AllTraffic={"InstanceType": "ml.m5.xlarge"})
    hosting.config("renamed", Other={})
    hosting.config("same", AllTraffic={})
    for name in ("larger", "renamed"):
        with pytest.raises(ClientError, match=r'The variant\(s\) "AllTraffic" must be deregistered as scalable targets with AWS Auto Scaling before'):
            hosting.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName=name)
    hosting.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="same")
    assert hosting.settled()["EndpointConfigName"] == "same"
    scaling.deregister_scalable_target(**PLACE)
    hosting.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName="larger")
    assert hosting.settled()["EndpointConfigName"] == "larger"
