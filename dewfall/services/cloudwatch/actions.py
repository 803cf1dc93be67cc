"""What alarms do when their state changes: SNS topics are told, Lambda functions invoked."""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Message
from dewfall.errors import AwsError
from dewfall.services.cloudwatch.alarm_history import note

REGIONS = {
    "us-east-1": "US East (N. Virginia)",
    "us-east-2": "US East (Ohio)",
    "us-west-1": "US West (N. California)",
    "us-west-2": "US West (Oregon)",
    "ca-central-1": "Canada (Central)",
    "eu-west-1": "EU (Ireland)",
    "eu-west-2": "EU (London)",
    "eu-west-3": "EU (Paris)",
    "eu-central-1": "EU (Frankfurt)",
    "eu-north-1": "EU (Stockholm)",
    "ap-south-1": "Asia Pacific (Mumbai)",
    "ap-southeast-1": "Asia Pacific (Singapore)",
    "ap-southeast-2": "Asia Pacific (Sydney)",
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "ap-northeast-2": "Asia Pacific (Seoul)",
    "sa-east-1": "South America (Sao Paulo)",
}


def deliver(ctx: Ctx, message: Message) -> None:
    """Carry out one action; how it went is in the alarm's history. Actions of other services look at the alarm themselves."""
    arn, alarm = message.body["Action"], message.body["Alarm"]
    try:
        if not _act(ctx, arn, message.body):
            return
        summary, state = f"Successfully executed action {arn}", "Succeeded"
    except AwsError as error:
        summary, state = f'Failed to execute action {arn}. Received error: "{error.message}"', "Failed"
    with ctx.ports.store.transaction() as tx:
        data = {"actionState": state, "notificationResource": arn, "stateUpdateTimestamp": alarm["StateUpdatedTimestamp"]}
        note(ctx, tx, alarm, "Action", summary, data)


def notification(ctx: Ctx, alarm: dict[str, Any], old_state: str) -> dict[str, Any]:
    """What subscribers of a topic read about an alarm."""
    body = {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription"),
        "AWSAccountId": ctx.account,
        "AlarmConfigurationUpdatedTimestamp": alarm["AlarmConfigurationUpdatedTimestamp"],
        "NewStateValue": alarm["StateValue"],
        "NewStateReason": alarm["StateReason"],
        "StateChangeTime": alarm["StateUpdatedTimestamp"],
        "Region": REGIONS.get(ctx.region, ctx.region),
        "AlarmArn": alarm["AlarmArn"],
        "OldStateValue": old_state,
        "OKActions": alarm["OKActions"],
        "AlarmActions": alarm["AlarmActions"],
        "InsufficientDataActions": alarm["InsufficientDataActions"],
    }
    if "AlarmRule" in alarm:
        return {**body, "AlarmRule": alarm["AlarmRule"]}
    return {**body, "Trigger": _trigger(alarm)}


def invocation(ctx: Ctx, body: dict[str, Any]) -> dict[str, Any]:
    """What a Lambda function is invoked with."""
    alarm, event = body["Alarm"], body["Event"]
    return {
        "source": "aws.cloudwatch",
        "alarmArn": alarm["AlarmArn"],
        "accountId": ctx.account,
        "time": alarm["StateUpdatedTimestamp"],
        "region": ctx.region,
        "alarmData": event,
    }


def _act(ctx: Ctx, arn: str, body: dict[str, Any]) -> bool:
    alarm = body["Alarm"]
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    if service == "sns":
        text = notification(ctx, alarm, body["OldStateValue"])
        subject = f'{alarm["StateValue"]}: "{alarm["AlarmName"]}" in {REGIONS.get(ctx.region, ctx.region)}'
        ctx.call("sns", "Publish", {"TopicArn": arn, "Subject": subject[:100], "Message": json.dumps(text)})
        return True
    if service == "lambda":
        payload = json.dumps(invocation(ctx, body)).encode()
        ctx.call("lambda", "Invoke", {"FunctionName": arn, "InvocationType": "Event", "Payload": payload})
        return True
    return False


def _trigger(alarm: dict[str, Any]) -> dict[str, Any]:
    trigger: dict[str, Any] = {
        "Period": alarm.get("Period"),
        "EvaluationPeriods": alarm["EvaluationPeriods"],
        "ComparisonOperator": alarm["ComparisonOperator"],
        "Threshold": alarm["Threshold"],
        "TreatMissingData": alarm.get("TreatMissingData", "missing"),
        "EvaluateLowSampleCountPercentile": alarm.get("EvaluateLowSampleCountPercentile", ""),
    }
    if "DatapointsToAlarm" in alarm:
        trigger["DatapointsToAlarm"] = alarm["DatapointsToAlarm"]
    if "Metrics" in alarm:
        return {**trigger, "Metrics": alarm["Metrics"]}
    statistic = alarm.get("Statistic")
    kind = {"StatisticType": "Statistic", "Statistic": "SAMPLE_COUNT" if statistic == "SampleCount" else statistic.upper()} if statistic else {}
    if not statistic:
        kind = {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": alarm["ExtendedStatistic"]}
    dimensions = [{"value": item["Value"], "name": item["Name"]} for item in alarm.get("Dimensions", ())]
    metric = {"MetricName": alarm["MetricName"], "Namespace": alarm["Namespace"], "Unit": alarm.get("Unit"), "Dimensions": dimensions}
    return {**metric, **kind, **trigger}
