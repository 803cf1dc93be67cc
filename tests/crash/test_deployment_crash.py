"""kill -9 of the server in the middle of a deployment: the next one goes on with it, or back, where the last one was."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.crash.world import World, until

pytestmark = pytest.mark.slow

ALARM = {"Namespace": "Shop", "MetricName": "Errors", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0}


def deploy(world: World, wait: int) -> None:
    """An endpoint whose canary bakes."""
    cloudwatch = world.server.client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName="errors", ComparisonOperator="GreaterThanThreshold", **ALARM)
    world.endpoint("old", NAME="old")
    world.model("new", NAME="new")
    world.config("new", "new")
    size = {"Type": "CAPACITY_PERCENT", "Value": 50}
    policy = {"TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": wait, "CanarySize": size}}
    config = {"BlueGreenUpdatePolicy": policy, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}}
    world.sagemaker.update_endpoint(EndpointName="old", EndpointConfigName="new", DeploymentConfig=config)
    until(lambda: stage(world) == "Baking")


def stage(world: World) -> str:
    found: dict[str, Any] = world.sagemaker.describe_endpoint(EndpointName="old")
    summary = found.get("PendingDeploymentSummary")
    return str(summary["ProductionVariants"][0]["VariantStatus"][0]["Status"]) if summary else ""


def test_a_canary_goes_on_with_its_share_and_its_replicas(world: World) -> None:
    deploy(world, 15)
    pids = {world.ask("old")["pid"] for _ in range(4)}
    world.kill()
    world.up()
    told = [world.ask("old") for _ in range(10)]
    assert {answer["pid"] for answer in told} == pids
    assert Counter(answer["name"] for answer in told) == {"old": 5, "new": 5}
    assert until(lambda: world.sagemaker.describe_endpoint(EndpointName="old")["EndpointConfigName"] == "new")
    assert {world.ask("old")["name"] for _ in range(4)} == {"new"}


def test_a_rollback_that_was_cut_short_is_ended(world: World) -> None:
    deploy(world, 600)
    before = next(answer["pid"] for answer in iter(lambda: world.ask("old"), None) if answer["name"] == "old")
    world.server.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="a test")
    until(lambda: world.sagemaker.describe_endpoint(EndpointName="old")["EndpointStatus"] in ("RollingBack", "InService"))
    world.kill()
    world.up()
    found = world.settled("old")
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "old")
    assert {world.ask("old")["pid"] for _ in range(4)} == {before}
