"""How the evaluation of a rule stands: a member of the training job's record, moved by the end of the rule's processing job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Tx
from dewfall.errors import validation

CONDITION_MET = "RuleEvaluationConditionMet"
DETAILS_LIMIT = 1024
EVALUATOR, CUSTOM = "sagemaker-debugger-rules", "sagemaker-debugger-rule-evaluator"
PARAMETER, SOURCE = "rule_to_invoke", "source_s3_uri"
NOT_OURS = "Dewfall evaluates the built-in rules of the image sagemaker-debugger-rules; {what} is not among them."
NO_SOURCE = "A rule of the image sagemaker-debugger-rule-evaluator needs rule_to_invoke, a class, and source_s3_uri, its script, in RuleParameters."
DEBUG_RULES = (
    "AllZero", "CheckInputImages", "ClassImbalance", "Confusion", "CreateXgboostReport", "DeadRelu", "ExplodingTensor",
    "FeatureImportanceOverweight", "LossNotDecreasing", "NLPSequenceRatio", "Overfit", "Overtraining", "PoorWeightInitialization",
    "SaturatedActivation", "SimilarAcrossRuns", "StalledTrainingRule", "TensorVariance", "TreeDepth", "UnchangedTensor",
    "VanishingGradient", "WeightUpdateRatio",
)  # fmt: skip
PROFILER_RULES = (
    "BatchSize", "CPUBottleneck", "Dataloader", "GPUMemoryIncrease", "IOBottleneck", "LoadBalancing", "LowGPUUtilization",
    "MaxInitializationTime", "OverallFrameworkMetrics", "OverallSystemUsage", "ProfilerReport", "StepOutlier",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Watch:
    """One of the two kinds of rules: the members of the job that it is about, and the variable that tells a rule where its data are."""

    configurations: str
    statuses: str
    config: str
    variable: str
    rules: tuple[str, ...]


WATCHES = (
    Watch("DebugRuleConfigurations", "DebugRuleEvaluationStatuses", "DebugHookConfig", "tensors_s3_uri", DEBUG_RULES),
    Watch("ProfilerRuleConfigurations", "ProfilerRuleEvaluationStatuses", "ProfilerConfig", "profile_s3_uri", PROFILER_RULES),
)


def add_rules(document: dict[str, Any], req: dict[str, Any], at: datetime) -> None:
    """Record the request's rules with their first statuses. Raises AWS's error when a name comes twice."""
    for watch in WATCHES:
        for rule in req.get(watch.configurations, ()):
            known = document.setdefault(watch.configurations, [])
            if any(one["RuleConfigurationName"] == rule["RuleConfigurationName"] for one in known):
                raise validation(f"RuleConfigurationName {rule['RuleConfigurationName']} in {watch.configurations} is not unique.")
            known.append({"VolumeSizeInGB": 0, **rule})  # AWS tells 0 where the rule has the instance that AWS chooses
            document.setdefault(watch.statuses, []).append(_first_status(rule, watch, at))


def rule_entries(document: dict[str, Any]) -> Iterator[tuple[Watch, dict[str, Any]]]:
    """Every rule's status."""
    for watch in WATCHES:
        for entry in document.get(watch.statuses, ()):
            yield watch, entry


def settle_rule(ctx: Ctx, tx: Tx, job: dict[str, Any]) -> None:
    """A processing job has ended: when it evaluated a rule, its training job says how that went."""
    name = job.get("TrainingJobArn", "").rpartition("/")[2]
    record = tx.records.get(Key(ctx.account, ctx.region, "sagemaker", "training-job", name)) if name else None
    mine = [entry for _, entry in rule_entries(record.document) if entry.get("RuleEvaluationJobArn") == job["ProcessingJobArn"]] if record else []
    if record is None or not mine:
        return
    for entry in mine:
        status, details = _outcome(job)
        entry |= {"RuleEvaluationStatus": status, "LastModifiedTime": ctx.now()}
        if details:
            entry["StatusDetails"] = details[:DETAILS_LIMIT]
    tx.records.save(record)


def _first_status(rule: dict[str, Any], watch: Watch, at: datetime) -> dict[str, Any]:
    """In progress, or an error that says why the rule is not evaluated."""
    entry = {"RuleConfigurationName": rule["RuleConfigurationName"], "RuleEvaluationStatus": "InProgress", "LastModifiedTime": at}
    problem = _problem(rule, watch)
    return entry | {"RuleEvaluationStatus": "Error", "StatusDetails": problem} if problem else entry


def _problem(rule: dict[str, Any], watch: Watch) -> str:
    from dewfall.images.catalog import split_uri

    parameters = rule.get("RuleParameters", {})
    image = split_uri(rule["RuleEvaluatorImage"])[0].rpartition("/")[2]
    if image == CUSTOM:
        return "" if parameters.get(PARAMETER) and parameters.get(SOURCE) else NO_SOURCE
    if image != EVALUATOR:
        return NOT_OURS.format(what=f"the image {rule['RuleEvaluatorImage']}")
    return "" if parameters.get(PARAMETER) in watch.rules else NOT_OURS.format(what=f"the rule {parameters.get(PARAMETER, '')}")


def _outcome(job: dict[str, Any]) -> tuple[str, str]:
    """The rule's status and its details; a rule that had nothing to look at has said so."""
    message = job.get("ExitMessage", "")
    if job["ProcessingJobStatus"] == "Completed":
        return ("IssuesFound" if message.startswith(CONDITION_MET) else "NoIssuesFound"), message
    if job["ProcessingJobStatus"] == "Stopped":
        return "Stopped", ""
    return "Error", job.get("FailureReason") or message
