"""Deployments through a real client: canary, linear, rolling and back again, under a load that must not notice."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import Hosting

LONGEST = 180.0
ALARM = {
    "AlarmName": "errors",
    "Namespace": "Shop",
    "MetricName": "Errors",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanThreshold",
}
WATCHED = {"Alarms": [{"AlarmName": "errors"}]}


def blue_green(kind: str, wait: int = 0, after: int = 0, **size: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **size}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": after}}


CANARY: dict[str, Any] = {"CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 20}}


class Load:
    """A client that asks without a pause, and remembers who answered and what went wrong."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting = hosting
        self.models: Counter[str] = Counter()
        self.faults: list[Exception] = []
        self.pids: set[int] = set()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        end = time.monotonic() + LONGEST
        while not self.ending.is_set() and time.monotonic() < end:
            try:
                told = self.hosting.ask()
                self.models[told["environment"]["MODEL_NAME"]] += 1
                self.pids.add(told["pid"])
            except Exception as error:
                self.faults.append(error)


@contextmanager
def load(hosting: Hosting) -> Iterator[Load]:
    made = Load(hosting)
    made.thread.start()
    try:
        yield made
    finally:
        made.ending.set()
        made.thread.join(LONGEST)


@pytest.fixture
def serving(hosting: Hosting) -> Hosting:
    """An endpoint of one replica, and the configuration of a better model."""
    hosting.model()
    hosting.config()
    hosting.model("better")
    hosting.config("next", AllTraffic={"ModelName": "better"})
    hosting.server.client("cloudwatch").put_metric_alarm(**ALARM)
    assert hosting.endpoint()["EndpointStatus"] == "InService"
    return hosting


def update(hosting: Hosting, config: dict[str, Any] | None = None, name: str = "next", **members: Any) -> None:
    more = {"DeploymentConfig": config} if config else {}
    hosting.sagemaker.update_endpoint(EndpointName="endpoint", EndpointConfigName=name, **more, **members)


def until(hosting: Hosting, look: Callable[[dict[str, Any]], bool], seconds: float = LONGEST) -> dict[str, Any]:
    """Describe it until it looks like that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = hosting.describe()
        if look(found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"it has not happened in time: {hosting.describe()}")


def stage(found: dict[str, Any]) -> str:
    summary = found.get("PendingDeploymentSummary")
    return str(summary["ProductionVariants"][0]["VariantStatus"][0]["Status"]) if summary else ""


def alarm(hosting: Hosting, state: str = "ALARM", name: str = "errors") -> None:
    hosting.server.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test")


def test_a_canary_gets_exactly_its_share(serving: Hosting) -> None:
    update(serving, blue_green("CANARY", wait=600, **CANARY))
    found = until(serving, lambda found: stage(found) == "Baking")
    pending = found["PendingDeploymentSummary"]
    variant = pending["ProductionVariants"][0]
    assert (found["EndpointStatus"], found["EndpointConfigName"], pending["EndpointConfigName"]) == ("Updating", "config", "next")
    assert variant["InstanceType"] == "ml.m5.large"
    assert variant["VariantStatus"][0]["StatusMessage"] == (
        "Baking for 600 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s)."
    )
    assert Counter(serving.ask()["environment"]["MODEL_NAME"] for _ in range(50)) == {"model": 40, "better": 10}


def test_the_new_fleet_has_metrics_of_its_own(serving: Hosting) -> None:
    update(serving, blue_green("CANARY", wait=600, **CANARY))
    until(serving, lambda found: stage(found) == "Baking")
    for _ in range(10):
        serving.ask()

    def places() -> set[str | None]:
        listed = serving.server.client("cloudwatch").list_metrics(Namespace="AWS/SageMaker", MetricName="ModelLatency")["Metrics"]
        return {{item["Name"]: item["Value"] for item in metric["Dimensions"]}.get("EndpointConfigName") for metric in listed}

    until(serving, lambda found: places() == {None, "config", "next"})


def test_no_request_fails_while_traffic_shifts_in_steps(serving: Hosting) -> None:
    with load(serving) as client:
        update(serving, blue_green("LINEAR", wait=1, after=1, LinearStepSize={"Type": "CAPACITY_PERCENT", "Value": 50}))
        assert serving.settled()["EndpointConfigName"] == "next"
        old = client.models["model"]
        until(serving, lambda found: client.models["better"] > 20 and client.models["model"] == old)
    assert client.faults == []
    assert min(client.models.values()) > 5


def test_an_alarm_brings_the_old_replicas_back(serving: Hosting) -> None:
    before = serving.ask()["pid"]
    with load(serving) as client:
        update(serving, {**blue_green("ALL_AT_ONCE", after=60), "AutoRollbackConfiguration": WATCHED})
        until(serving, lambda found: stage(found) == "Baking" and client.models["better"] > 5)
        alarm(serving)
        until(serving, lambda found: found["EndpointStatus"] in ("RollingBack", "InService"))
        found = serving.settled()
        assert serving.ask()["pid"] == before
    assert (found["EndpointStatus"], found["EndpointConfigName"], "PendingDeploymentSummary" in found) == ("InService", "config", False)
    assert "ALARM state: [errors]" in found["FailureReason"]
    assert (client.faults, len(client.pids)) == ([], 2)


def test_a_composite_alarm_ends_a_deployment_too(serving: Hosting) -> None:
    cloudwatch = serving.server.client("cloudwatch")
    cloudwatch.put_metric_alarm(**ALARM | {"AlarmName": "other"})
    cloudwatch.put_composite_alarm(AlarmName="any", AlarmRule="ALARM(errors) OR ALARM(other)")
    alarm(serving)
    alarm(serving, name="any")
    update(serving, {**blue_green("CANARY", wait=60, **CANARY), "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "any"}]}})
    found = until(serving, lambda found: found["EndpointStatus"] == "InService")
    assert (found["EndpointConfigName"], "[any]" in found["FailureReason"]) == ("config", True)


def test_a_rolling_update_replaces_batch_by_batch(serving: Hosting) -> None:
    serving.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="endpoint", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    )
    serving.settled()
    policy = {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 2}
    with load(serving) as client:
        update(serving, {"RollingUpdatePolicy": policy}, RetainAllVariantProperties=True)
        found = until(serving, lambda found: stage(found) == "Baking")
        assert found["PendingDeploymentSummary"]["ProductionVariants"][0]["CurrentInstanceCount"] in (1, 2)
        found = serving.settled()
    assert (found["EndpointConfigName"], found["ProductionVariants"][0]["CurrentInstanceCount"]) == ("next", 2)
    assert client.faults == []
    assert len(client.pids) >= 4


def test_scaling_waits_until_the_deployment_has_ended(serving: Hosting) -> None:
    place = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/endpoint/variant/AllTraffic"}
    place["ScalableDimension"] = "sagemaker:variant:DesiredInstanceCount"
    update(serving, blue_green("ALL_AT_ONCE", after=2))
    serving.server.client("application-autoscaling").register_scalable_target(**place, MinCapacity=2, MaxCapacity=3)
    found = until(serving, lambda found: found["EndpointConfigName"] == "next")
    assert found["ProductionVariants"][0]["DesiredInstanceCount"] in (1, 2)
    until(serving, lambda found: found["EndpointStatus"] == "InService" and found["ProductionVariants"][0]["CurrentInstanceCount"] == 2)


def test_events_tell_the_stages_of_a_deployment(serving: Hosting) -> None:
    events, sqs = serving.server.client("events"), serving.server.client("sqs")
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Endpoint Deployment State Change"], "detail": {"Tags": {"team": ["shop"]}}}
    serving.sagemaker.add_tags(ResourceArn=serving.describe()["EndpointArn"], Tags=[{"Key": "team", "Value": "shop"}])
    events.put_rule(Name="deployments", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="deployments", Targets=[{"Id": "q", "Arn": "arn:aws:sqs:us-east-1:000000000000:told"}])
    update(serving, blue_green("ALL_AT_ONCE", after=2))
    serving.settled()
    told: list[str] = []
    while "Baking" not in told:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20).get("Messages", []):
            detail = json.loads(message["Body"])["detail"]
            assert detail["EndpointStatus"] == "UPDATING"
            told.append(detail["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0]["Status"])
    assert {"Creating", "ActivatingTraffic", "Baking"} <= set(told)


def test_a_deployment_s_configuration_is_kept_on_request(serving: Hosting) -> None:
    config = blue_green("ALL_AT_ONCE", wait=0, after=0)
    update(serving, config)
    assert serving.settled()["LastDeploymentConfig"] == config
    update(serving, None, "config", RetainDeploymentConfig=True)
    assert serving.settled()["LastDeploymentConfig"] == config
    update(serving)
    assert "LastDeploymentConfig" not in serving.settled()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (blue_green("CANARY"), "CanarySize must be specified"),
        (blue_green("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}), "between 1% and 50%"),
        ({**blue_green("ALL_AT_ONCE"), "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "none"}]}}, "Could not find the CloudWatch alarm"),
    ],
)
def test_deployments_that_are_refused(serving: Hosting, config: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=f"ValidationException.*{words}"):
        update(serving, config)
    assert serving.describe()["EndpointStatus"] == "InService"
