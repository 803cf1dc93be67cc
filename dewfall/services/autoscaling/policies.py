"""Scaling policies: put, described, deleted. Target tracking makes the alarms that watch its metric; step scaling is triggered by users' own."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import Conflict, Record
from dewfall.errors import AwsError, validation
from dewfall.rules.scaling import HIGH_PERIODS, LOW_PERIODS, low_threshold
from dewfall.services.autoscaling.places import (
    CONCURRENCY,
    COPIES,
    DIMENSION,
    SERVICE,
    check_place,
    component_of,
    key,
    listed,
    load_target,
    missing,
    place,
    variant_of,
)
from dewfall.services.common import page, with_token
from dewfall.services.registry import operation

TRACKING, STEP = "TargetTrackingScaling", "StepScaling"
CONFIGURATIONS = {TRACKING: "TargetTrackingScalingPolicyConfiguration", STEP: "StepScalingPolicyConfiguration"}
PREDEFINED = {  # by type: its dimension, the metric, the statistic that its alarms look at, and the period of the one that scales out
    "SageMakerVariantInvocationsPerInstance": (DIMENSION, "InvocationsPerInstance", "Sum", 60),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": (DIMENSION, "ConcurrentRequestsPerModel", "Average", 10),
    "SageMakerVariantProvisionedConcurrencyUtilization": (CONCURRENCY, "ServerlessProvisionedConcurrencyUtilization", "Maximum", 60),
    "SageMakerInferenceComponentInvocationsPerCopy": (COPIES, "InvocationsPerCopy", "Sum", 60),
}
NOT_BUILT = ("SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution",)
ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
DEFAULT_COOLDOWN = 300
PERIOD = 60


@operation("application-autoscaling", "PutScalingPolicy")
def put_scaling_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """An updated policy keeps its ARN, its alarms and its running cooldowns."""
    check_place(req)
    kind = req.get("PolicyType", STEP)
    _check(req, kind)
    name = f"{place(req)}|{req['PolicyName']}"
    with ctx.ports.store.reading() as tx:
        load_target(ctx, tx, req)
        record = tx.records.get(key(ctx, "policy", name))
        others = tx.records.list(ctx.account, ctx.region, SERVICE, "policy", parent=place(req))
    if record is None:
        arn = ctx.arn("autoscaling", f"scalingPolicy:{new_uuid()}:resource/sagemaker/{req['ResourceId']}:policyName/{req['PolicyName']}")
        document = {member: req[member] for member in ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension")}
        document |= {"PolicyARN": arn, "PolicyType": kind, "CreationTime": ctx.now(), "Alarms": []}
        record = Record(key(ctx, "policy", name), document, parent=place(req))
    elif record.document["PolicyType"] != kind:
        raise validation(f"The type of the scaling policy {req['PolicyName']} cannot be changed from {record.document['PolicyType']} to {kind}")
    _check_alone(req, kind, [other for other in others if other.key.name != name])
    document = record.document
    document[CONFIGURATIONS[kind]] = req[CONFIGURATIONS[kind]]
    if kind == TRACKING:
        _put_alarms(ctx, document)
    try:
        with ctx.ports.store.transaction() as tx:
            load_target(ctx, tx, req)
            if record.version:
                tx.records.save(record)
            else:
                tx.records.create(record)
    except Conflict:
        raise AwsError("ConcurrentUpdateException", "Another update of the scaling policy is in progress.", status=500) from None
    return {"PolicyARN": document["PolicyARN"], "Alarms": document["Alarms"]}


@operation("application-autoscaling", "DescribeScalingPolicies")
def describe_scaling_policies(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    names = req.get("PolicyNames")
    records = [record for record in listed(ctx, "policy", req) if not names or record.document["PolicyName"] in names]
    shown, token = page(records, req, key=lambda record: record.key.name, default=50)
    alarms = all_alarms(ctx) if any(record.document["PolicyType"] == STEP for record in shown) else []
    return with_token({"ScalingPolicies": [_shown(record.document, alarms) for record in shown]}, token)


@operation("application-autoscaling", "DeleteScalingPolicy")
def delete_scaling_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_place(req)
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(key(ctx, "policy", f"{place(req)}|{req['PolicyName']}"))
        if record is None:
            raise missing("No scaling policy found for", req, f", policy name: {req['PolicyName']}")
        tx.records.delete(record.key)
    drop_alarms(ctx, record.document)
    return {}


def drop_alarms(ctx: Ctx, policy: dict[str, Any]) -> None:
    """The alarms that target tracking made go with it; users' own stay."""
    if policy["PolicyType"] == TRACKING and policy["Alarms"]:
        ctx.call("cloudwatch", "DeleteAlarms", {"AlarmNames": [alarm["AlarmName"] for alarm in policy["Alarms"]]})


def all_alarms(ctx: Ctx) -> list[dict[str, Any]]:
    """The account's metric alarms."""
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "cloudwatch", "alarm")
    return [record.document for record in records if record.document["AlarmType"] == "MetricAlarm"]


def _shown(policy: dict[str, Any], alarms: list[dict[str, Any]]) -> dict[str, Any]:
    if policy["PolicyType"] == TRACKING:
        return policy
    mine = [alarm for alarm in alarms if any(policy["PolicyARN"] in alarm[actions] for actions in ACTIONS.values())]
    return policy | {"Alarms": [{"AlarmName": alarm["AlarmName"], "AlarmARN": alarm["AlarmArn"]} for alarm in mine]}


# ---------------------------------------------------------------- the alarms of target tracking


def _put_alarms(ctx: Ctx, policy: dict[str, Any]) -> None:
    configuration = policy[CONFIGURATIONS[TRACKING]]
    target, names = configuration["TargetValue"], {name.rsplit("-Alarm", 1)[1].split("-")[0]: name for name in _names(policy)}
    sides = {"High": ("GreaterThanThreshold", target, HIGH_PERIODS)}
    if not configuration.get("DisableScaleIn"):
        sides["Low"] = ("LessThanThreshold", low_threshold(target), LOW_PERIODS)
    elif "Low" in names:
        ctx.call("cloudwatch", "DeleteAlarms", {"AlarmNames": [names["Low"]]})
    policy["Alarms"] = []
    for side, (operator, threshold, periods) in sides.items():
        name = names.get(side) or f"TargetTracking-{policy['ResourceId']}-Alarm{side}-{new_uuid()}"
        alarm = {"AlarmName": name, "ComparisonOperator": operator, "Threshold": threshold, "EvaluationPeriods": periods}
        alarm["AlarmDescription"] = f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}."
        alarm |= {"ActionsEnabled": True, "AlarmActions": [policy["PolicyARN"]], **_metric(policy, side)}
        ctx.call("cloudwatch", "PutMetricAlarm", alarm)
        policy["Alarms"].append({"AlarmName": name, "AlarmARN": ctx.arn("cloudwatch", f"alarm:{name}")})


def _names(policy: dict[str, Any]) -> list[str]:
    return [alarm["AlarmName"] for alarm in policy["Alarms"]]


def _metric(policy: dict[str, Any], side: str) -> dict[str, Any]:
    """A policy's metric as PutMetricAlarm takes it."""
    configuration = policy[CONFIGURATIONS[TRACKING]]
    if "PredefinedMetricSpecification" in configuration:
        kind = configuration["PredefinedMetricSpecification"]["PredefinedMetricType"]
        return {"Namespace": "AWS/SageMaker", **_predefined(policy, kind, side)}
    custom = configuration["CustomizedMetricSpecification"]
    if custom.get("Metrics"):
        return {"Metrics": [_query(query) for query in custom["Metrics"]]}
    return {**{name: custom[name] for name in ("Namespace", "MetricName", "Dimensions", "Statistic", "Unit") if name in custom}, "Period": PERIOD}


def _predefined(policy: dict[str, Any], kind: str, side: str) -> dict[str, Any]:
    """The metric that a policy's resource has of its own. A high-resolution one makes scaling out quicker, not scaling in."""
    if policy["ScalableDimension"] == COPIES:
        dimensions = {"InferenceComponentName": component_of(policy["ResourceId"])}
    else:
        dimensions = dict(zip(("EndpointName", "VariantName"), variant_of(policy["ResourceId"]), strict=True))
    _, name, statistic, period = PREDEFINED[kind]
    named = [{"Name": member, "Value": value} for member, value in dimensions.items()]
    return {"MetricName": name, "Statistic": statistic, "Period": period if side == "High" else PERIOD, "Dimensions": named}


def _query(query: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: query[name] for name in ("Id", "Expression", "Label", "ReturnData") if name in query}
    return {**kept, "MetricStat": {**query["MetricStat"], "Period": PERIOD}} if "MetricStat" in query else kept


# ---------------------------------------------------------------- what AWS refuses


def _check(req: dict[str, Any], kind: str) -> None:
    if kind not in CONFIGURATIONS:
        raise AwsError("NotImplemented", f"Dewfall has not built scaling policies of type {kind} yet.", status=501)
    if not req.get(CONFIGURATIONS[kind]):
        raise validation(f"{CONFIGURATIONS[kind]} must be provided for a policy of type {kind}")
    if kind == TRACKING:
        _check_tracking(req[CONFIGURATIONS[TRACKING]], req["ScalableDimension"])
    else:
        _check_steps(req[CONFIGURATIONS[STEP]])


def _check_tracking(configuration: dict[str, Any], dimension: str) -> None:
    predefined, custom = configuration.get("PredefinedMetricSpecification"), configuration.get("CustomizedMetricSpecification")
    if bool(predefined) == bool(custom):
        raise validation("You must specify either a PredefinedMetricSpecification or a CustomizedMetricSpecification")
    if configuration["TargetValue"] <= 0:
        raise validation("The target value must be greater than 0")
    if predefined and predefined["PredefinedMetricType"] in NOT_BUILT:
        raise AwsError("NotImplemented", f"Dewfall does not write the metric of {predefined['PredefinedMetricType']} yet.", status=501)
    if predefined and PREDEFINED.get(predefined["PredefinedMetricType"], ("",))[0] != dimension:
        raise validation(f"{predefined['PredefinedMetricType']} is not supported for {dimension}")
    if custom and not custom.get("Metrics") and not all(custom.get(name) for name in ("MetricName", "Namespace", "Statistic")):
        raise validation("MetricName, Namespace and Statistic must be specified in a CustomizedMetricSpecification without Metrics")
    if custom and custom.get("Metrics") and any(custom.get(name) for name in ("MetricName", "Namespace", "Statistic", "Dimensions", "Unit")):
        raise validation("Metrics cannot be specified together with MetricName, Namespace, Statistic, Dimensions or Unit")


def _check_steps(configuration: dict[str, Any]) -> None:
    steps = configuration.get("StepAdjustments")
    if not configuration.get("AdjustmentType"):
        raise validation("AdjustmentType must be specified for a step scaling policy")
    if not steps:
        raise validation("At least one StepAdjustment must be specified")
    if configuration.get("MinAdjustmentMagnitude") and configuration["AdjustmentType"] != "PercentChangeInCapacity":
        raise validation("MinAdjustmentMagnitude is only supported with the adjustment type PercentChangeInCapacity")
    open_low = float("-inf")
    spans = sorted((step.get("MetricIntervalLowerBound", open_low), step.get("MetricIntervalUpperBound", float("inf"))) for step in steps)
    if any(low >= high for low, high in spans):
        raise validation("Lower bound must be less than the upper bound for StepAdjustment")
    for (_, high), (low, _) in pairwise(spans):
        if high > low:
            raise validation("StepAdjustment intervals can't overlap")
        if high < low:
            raise validation("StepAdjustment intervals can't have gaps between them")


def _check_alone(req: dict[str, Any], kind: str, others: list[Record]) -> None:
    if kind != TRACKING:
        return
    members = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
    mine = [req[CONFIGURATIONS[TRACKING]].get(member) for member in members]
    for other in others:
        configuration = other.document.get(CONFIGURATIONS[TRACKING])
        if configuration and [configuration.get(member) for member in members] == mine:
            raise validation("Only one TargetTrackingScaling policy for a given metric specification is allowed.")
