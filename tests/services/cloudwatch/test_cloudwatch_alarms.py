"""Alarms: kept, judged when their periods have passed, and telling those whom they should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dewfall.context import Caller, Ctx, HandClock
from dewfall.engine.ports import Message, Ports
from dewfall.engine.series import Series
from dewfall.engine.store import SqliteStore
from dewfall.errors import AwsError
from dewfall.services.cloudwatch import actions, alarm_states, alarms, composites, evaluation
from dewfall.testing import Server

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
ALARM: dict[str, Any] = {
    "AlarmName": "hot",
    "Namespace": "app",
    "MetricName": "heat",
    "Statistic": "Average",
    "Period": 60,
    "EvaluationPeriods": 2,
    "Threshold": 50.0,
    "ComparisonOperator": "GreaterThanThreshold",
    "AlarmActions": ["arn:aws:sns:us-east-1:000000000000:ops"],
}


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Ctx]:
    clock = HandClock(NOON)
    store = SqliteStore(tmp_path / "dewfall.db", clock)
    ports = cast(Ports, SimpleNamespace(store=store, series=Series(store)))
    calls: list[tuple[str, str, dict[str, Any]]] = []

    def invoke(ctx: Ctx, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        calls.append((service, operation, params))
        return {"calls": calls}

    yield Ctx("000000000000", "us-east-1", Caller("000000000000", "arn", "id"), ports, invoke, clock)
    store.close()


def put_alarm(ctx: Ctx, **more: Any) -> None:
    alarms.put_metric_alarm(ctx, ALARM | more)


def measure(ctx: Ctx, minutes_ago: int, value: float) -> None:
    ctx.ports.series.append_metric(ctx.account, ctx.region, "app", "heat", {}, value, ctx.now() - timedelta(minutes=minutes_ago))


def state(ctx: Ctx, name: str = "hot") -> dict[str, Any]:
    found = alarms.describe_alarms(ctx, {"AlarmNames": [name], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]})
    (alarm,) = found["MetricAlarms"] + found["CompositeAlarms"]
    return cast(dict[str, Any], alarm)


def messages(ctx: Ctx, topic: str) -> list[Message]:
    return [message for message in ctx.ports.store.take_messages(100) if message.topic == topic]


def test_a_new_alarm_is_unchecked(ctx: Ctx) -> None:
    put_alarm(ctx)
    alarm = state(ctx)
    assert (alarm["StateValue"], alarm["StateReason"]) == ("INSUFFICIENT_DATA", "Unchecked: Initial alarm creation")
    assert alarm["AlarmArn"] == "arn:aws:cloudwatch:us-east-1:000000000000:alarm:hot"
    assert alarm["StateTransitionedTimestamp"] == alarm["StateUpdatedTimestamp"]


def test_two_breaching_minutes_make_it_ring(ctx: Ctx) -> None:
    put_alarm(ctx, DatapointsToAlarm=2)
    measure(ctx, 1, 70.0)
    measure(ctx, 2, 60.0)
    assert evaluation.tick(ctx) == ["hot: INSUFFICIENT_DATA -> ALARM"]
    assert state(ctx)["StateReason"] == (
        "Threshold Crossed: 2 out of the last 2 datapoints [70.0 (01/06/25 11:59:00), 60.0 (01/06/25 11:58:00)] were greater than "
        "the threshold (50.0) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    assert json.loads(state(ctx)["StateReasonData"])["recentDatapoints"] == [60.0, 70.0]
    assert evaluation.tick(ctx) == []


def test_the_reason_is_shorter_without_datapoints_to_alarm(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1)
    measure(ctx, 1, 70.0)
    evaluation.tick(ctx)
    assert state(ctx)["StateReason"] == "Threshold Crossed: 1 datapoint [70.0 (01/06/25 11:59:00)] was greater than the threshold (50.0)."
    judged = json.loads(state(ctx)["StateReasonData"])["evaluatedDatapoints"]
    assert judged == [{"timestamp": "2025-06-01T11:59:00.000+0000", "sampleCount": 1.0, "value": 70.0}]


def test_missing_points_that_do_not_breach(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1, TreatMissingData="notBreaching")
    evaluation.tick(ctx)
    alarm = state(ctx)
    assert alarm["StateReason"] == (
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [NonBreaching]."
    )
    assert json.loads(alarm["StateReasonData"])["evaluatedDatapoints"] == [{"timestamp": "2025-06-01T11:59:00.000+0000"}]


def test_a_function_gets_the_alarm_s_data(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1, AlarmActions=["arn:aws:lambda:us-east-1:000000000000:function:f"])
    measure(ctx, 1, 70.0)
    evaluation.tick(ctx)
    actions.deliver(ctx, messages(ctx, "cloudwatch.action")[0])
    ((service, operation, params),) = ctx.call("sns", "x", {})["calls"][:1]
    event = json.loads(params["Payload"])
    assert (service, operation, event["source"]) == ("lambda", "Invoke", "aws.cloudwatch")
    assert (event["alarmData"]["alarmName"], event["alarmData"]["previousState"]["value"]) == ("hot", "INSUFFICIENT_DATA")


def test_it_calms_down_and_says_so_once(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1)
    measure(ctx, 1, 70.0)
    evaluation.tick(ctx)
    cast(HandClock, ctx.clock).move(NOON + timedelta(minutes=1))
    measure(ctx, 1, 10.0)
    assert evaluation.tick(ctx) == ["hot: ALARM -> OK"]
    details = [message.body["detail"] for message in messages(ctx, "aws.events") if "previousState" in message.body["detail"]]
    assert [detail["state"]["value"] for detail in details] == ["ALARM", "OK"]
    assert [message.body["OldStateValue"] for message in messages(ctx, "cloudwatch.action")] == ["INSUFFICIENT_DATA"]


def test_the_running_minute_is_not_judged(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1)
    measure(ctx, 0, 70.0)
    assert evaluation.tick(ctx) == []


def test_the_topic_is_told(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1, AlarmDescription="too hot")
    measure(ctx, 1, 70.0)
    evaluation.tick(ctx)
    actions.deliver(ctx, messages(ctx, "cloudwatch.action")[0])
    ((service, operation, params),) = ctx.call("sns", "x", {})["calls"][:1]
    body = json.loads(params["Message"])
    assert (service, operation, params["Subject"]) == ("sns", "Publish", 'ALARM: "hot" in US East (N. Virginia)')
    assert (body["NewStateValue"], body["OldStateValue"], body["AlarmDescription"]) == ("ALARM", "INSUFFICIENT_DATA", "too hot")
    assert body["Trigger"]["Statistic"] == "AVERAGE"


def test_actions_that_are_off_stay_off(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1)
    alarms.disable_alarm_actions(ctx, {"AlarmNames": ["hot"]})
    measure(ctx, 1, 70.0)
    evaluation.tick(ctx)
    assert (state(ctx)["StateValue"], messages(ctx, "cloudwatch.action")) == ("ALARM", [])


def test_an_alarm_over_mathematics(ctx: Ctx) -> None:
    metric = {"Namespace": "app", "MetricName": "heat", "Dimensions": []}
    stat = {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}, "ReturnData": False}
    math = {"Id": "e1", "Expression": "m1 * 2", "ReturnData": True}
    wanted = {name: value for name, value in ALARM.items() if name not in ("Namespace", "MetricName", "Statistic", "Period")}
    alarms.put_metric_alarm(ctx, wanted | {"EvaluationPeriods": 1, "Metrics": [stat, math]})
    measure(ctx, 1, 30.0)
    assert evaluation.tick(ctx) == ["hot: INSUFFICIENT_DATA -> ALARM"]


def test_a_composite_alarm_follows_in_the_same_tick(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1)
    put_alarm(ctx, AlarmName="other", MetricName="cold")
    composites.put_composite_alarm(ctx, {"AlarmName": "all", "AlarmRule": "ALARM(hot) AND NOT ALARM(other)"})
    evaluation.tick(ctx)
    assert state(ctx, "all")["StateReason"].endswith(":alarm:all was created and its alarm rule evaluates to OK")
    measure(ctx, 1, 70.0)
    evaluation.tick(ctx)
    alarm = state(ctx, "all")
    assert (alarm["StateValue"], alarm["StateReason"]) == (
        "ALARM",
        "arn:aws:cloudwatch:us-east-1:000000000000:alarm:hot transitioned to ALARM at Sunday 01 June, 2025 12:00:00 UTC",
    )
    assert [entry["state"]["value"] for entry in json.loads(alarm["StateReasonData"])["triggeringAlarms"]] == ["ALARM"]


def test_a_composite_alarm_set_by_hand_stays_until_one_of_its_alarms_changes(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1)
    composites.put_composite_alarm(ctx, {"AlarmName": "all", "AlarmRule": "NOT ALARM(hot)"})
    evaluation.tick(ctx)
    alarm_states.set_alarm_state(ctx, {"AlarmName": "all", "StateValue": "OK", "StateReason": "by hand"})
    evaluation.tick(ctx)
    assert state(ctx, "all")["StateReason"] == "by hand"
    measure(ctx, 1, 10.0)
    evaluation.tick(ctx)
    assert state(ctx, "all")["StateValue"] == "ALARM"


def test_composite_alarms_over_composite_alarms(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1)
    for name, rule in (("b-inner", "ALARM(hot)"), ("a-outer", "ALARM(b-inner)")):
        composites.put_composite_alarm(ctx, {"AlarmName": name, "AlarmRule": rule})
    measure(ctx, 1, 70.0)
    for _ in range(2):
        evaluation.tick(ctx)
    assert state(ctx, "a-outer")["StateValue"] == "ALARM"


def test_a_composite_alarm_holds_on_to_its_alarms(ctx: Ctx) -> None:
    with pytest.raises(AwsError, match=r"as alarms \[hot\] in the alarm rule do not exist"):
        composites.put_composite_alarm(ctx, {"AlarmName": "all", "AlarmRule": "ALARM(hot)"})
    put_alarm(ctx)
    composites.put_composite_alarm(ctx, {"AlarmName": "all", "AlarmRule": "ALARM(hot)"})
    with pytest.raises(AwsError, match=r"^ValidationError: Cannot delete hot as there are composite alarm\(s\) depending on it.$"):
        alarms.delete_alarms(ctx, {"AlarmNames": ["hot"]})
    alarms.delete_alarms(ctx, {"AlarmNames": ["hot", "all"]})


def suppressed(ctx: Ctx) -> None:
    """A composite alarm over `hot` that has an action and a suppressor, which is as it should be."""
    put_alarm(ctx, EvaluationPeriods=1, AlarmActions=[])
    put_alarm(ctx, AlarmName="maintenance", AlarmActions=[])
    periods = {"ActionsSuppressorWaitPeriod": 60, "ActionsSuppressorExtensionPeriod": 30}
    wanted = {"AlarmName": "all", "AlarmRule": "ALARM(hot)", "AlarmActions": ["arn:aws:sns:us-east-1:000000000000:ops"], **periods}
    composites.put_composite_alarm(ctx, wanted | {"ActionsSuppressor": "maintenance"})
    evaluation.tick(ctx)


def hand(ctx: Ctx, name: str, value: str, seconds: float = 1.0) -> None:
    """Set an alarm's state, and let the composite alarm see it a little later."""
    alarm_states.set_alarm_state(ctx, {"AlarmName": name, "StateValue": value, "StateReason": "by hand"})
    later(ctx, seconds)


def later(ctx: Ctx, seconds: float) -> None:
    cast(HandClock, ctx.clock).move(ctx.now() + timedelta(seconds=seconds))
    evaluation.tick(ctx)


def test_actions_wait_for_the_suppressor_and_are_taken_when_it_does_not_come(ctx: Ctx) -> None:
    suppressed(ctx)
    hand(ctx, "hot", "ALARM")
    found = state(ctx, "all")
    assert (found["StateValue"], found["ActionsSuppressedBy"]) == ("ALARM", "WaitPeriod")
    assert messages(ctx, "cloudwatch.action") == []
    alarm_states.set_alarm_state(ctx, {"AlarmName": "hot", "StateValue": "ALARM", "StateReason": "still"})
    later(ctx, 59)
    alarm_states.set_alarm_state(ctx, {"AlarmName": "hot", "StateValue": "ALARM", "StateReason": "still"})
    later(ctx, 2)
    assert "ActionsSuppressedBy" not in state(ctx, "all")
    assert [message.body["OldStateValue"] for message in messages(ctx, "cloudwatch.action")] == ["OK"]


def test_a_suppressor_in_alarm_holds_actions_back_and_a_while_longer(ctx: Ctx) -> None:
    suppressed(ctx)
    hand(ctx, "maintenance", "ALARM")
    hand(ctx, "hot", "ALARM")
    assert state(ctx, "all")["ActionsSuppressedReason"] == "Actions suppressed by maintenance"
    hand(ctx, "maintenance", "OK")
    assert state(ctx, "all")["ActionsSuppressedBy"] == "ExtensionPeriod"
    later(ctx, 30)
    assert [message.body["AlarmName"] for message in messages(ctx, "cloudwatch.action")] == ["all"]


def test_a_suppressor_comes_with_its_periods(ctx: Ctx) -> None:
    with pytest.raises(AwsError, match="must be specified together"):
        composites.put_composite_alarm(ctx, {"AlarmName": "all", "AlarmRule": "ALARM(hot)", "ActionsSuppressor": "maintenance"})


def test_configuration_changes_are_events(ctx: Ctx) -> None:
    put_alarm(ctx)
    put_alarm(ctx, Threshold=60.0)
    alarms.delete_alarms(ctx, {"AlarmNames": ["hot"]})
    told = [message.body for message in messages(ctx, "aws.events")]
    assert {event["detail-type"] for event in told} == {"CloudWatch Alarm Configuration Change"}
    assert [event["detail"]["operation"] for event in told] == ["create", "update", "delete"]
    assert told[1]["detail"]["configuration"]["threshold"] == 60.0


def test_changing_an_alarm_keeps_its_state(ctx: Ctx) -> None:
    put_alarm(ctx, EvaluationPeriods=1)
    measure(ctx, 1, 70.0)
    evaluation.tick(ctx)
    put_alarm(ctx, EvaluationPeriods=1, Threshold=60.0)
    assert (state(ctx)["StateValue"], state(ctx)["Threshold"]) == ("ALARM", 60.0)


def test_clients_set_and_read_states(dewfall: Server) -> None:
    client = dewfall.client("cloudwatch")
    client.put_metric_alarm(**ALARM, Tags=[{"Key": "a", "Value": "1"}])
    client.set_alarm_state(AlarmName="hot", StateValue="ALARM", StateReason="by hand", StateReasonData='{"a": 1}')
    (alarm,) = client.describe_alarms(StateValue="ALARM")["MetricAlarms"]
    assert (alarm["StateReason"], alarm["Dimensions"], "TreatMissingData" in alarm) == ("by hand", [], False)
    assert client.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"] == [{"Key": "a", "Value": "1"}]
    items = client.describe_alarm_history(AlarmName="hot")["AlarmHistoryItems"]
    assert [item["HistoryItemType"] for item in items][-2:] == ["StateUpdate", "ConfigurationUpdate"]
    assert client.describe_alarms_for_metric(MetricName="heat", Namespace="app")["MetricAlarms"][0]["AlarmName"] == "hot"
    client.delete_alarms(AlarmNames=["hot"])
    assert client.describe_alarms()["MetricAlarms"] == []


def test_states_that_are_none(dewfall: Server) -> None:
    client = dewfall.client("cloudwatch")
    with pytest.raises(client.exceptions.ClientError) as error:
        client.set_alarm_state(AlarmName="hot", StateValue="X", StateReason="by hand")
    assert error.value.response["Error"]["Message"].endswith("Member must satisfy enum value set: [INSUFFICIENT_DATA, ALARM, OK]")
    with pytest.raises(client.exceptions.ClientError) as error:
        client.set_alarm_state(AlarmName="hot", StateValue="OK", StateReason="by hand")
    assert error.value.response["Error"]["Code"] == "ResourceNotFound"


def test_a_family_of_alarms(dewfall: Server) -> None:
    client = dewfall.client("cloudwatch")
    client.put_metric_alarm(**ALARM)
    client.put_metric_alarm(**ALARM | {"AlarmName": "cold"})
    client.put_composite_alarm(AlarmName="all", AlarmRule='ALARM("hot")')
    (parent,) = client.describe_alarms(ParentsOfAlarmName="hot")["CompositeAlarms"]
    assert parent == {"AlarmName": "all", "AlarmArn": "arn:aws:cloudwatch:us-east-1:000000000000:alarm:all"}
    (child,) = client.describe_alarms(ChildrenOfAlarmName="all")["MetricAlarms"]
    assert (child["AlarmName"], child["StateValue"], "Threshold" in child) == ("hot", "INSUFFICIENT_DATA", False)


def test_dashboards_are_kept(dewfall: Server) -> None:
    client = dewfall.client("cloudwatch")
    client.put_dashboard(DashboardName="d", DashboardBody='{"widgets": []}')
    assert client.get_dashboard(DashboardName="d")["DashboardBody"] == '{"widgets": []}'
    assert [entry["Size"] for entry in client.list_dashboards()["DashboardEntries"]] == [15]
    client.delete_dashboards(DashboardNames=["d"])
    with pytest.raises(client.exceptions.ClientError, match="Dashboard d does not exist"):
        client.get_dashboard(DashboardName="d")


def test_percentile_alarms_are_checked(ctx: Ctx) -> None:
    alarm = {"AlarmName": "p", "MetricName": "m", "Namespace": "app", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0}
    alarm |= {"ComparisonOperator": "GreaterThanThreshold"}
    with pytest.raises(AwsError, match="The value 90 for parameter ExtendedStatistic is not supported") as refused:
        alarms.put_metric_alarm(ctx, {**alarm, "ExtendedStatistic": "90"})
    assert refused.value.code == "InvalidParameterValueException"
    with pytest.raises(AwsError, match="Supported options for parameter EvaluateLowSampleCountPercentile are evaluate and ignore"):
        alarms.put_metric_alarm(ctx, {**alarm, "ExtendedStatistic": "p90", "EvaluateLowSampleCountPercentile": "no"})
