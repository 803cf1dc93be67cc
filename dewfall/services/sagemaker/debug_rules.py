"""Debugger's and Profiler's rules: each is a processing job of its own, which looks at the training job's data in S3 while they come.

    training starts ─ CreateProcessingJob for each rule ─ … tensors, samples … ─ training ends: training_job_end.ts ─ rule ends ─ its status

Such a job takes no slot: it would wait behind the job that it is to watch, or keep it from going on after an interruption.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.services.sagemaker.debug_rule_status import Watch, rule_entries
from dewfall.services.sagemaker.live_outputs import FRAMEWORK, SYSTEM, live_prefix, profile_prefix

log = logging.getLogger(__name__)

ROOT = "/opt/ml/processing"
INSTANCE = "ml.t3.medium"  # AWS's own for built-in rules
LATER = 3600  # seconds that a rule may run on after its training job's longest time
LONGEST = 777600
END_OF_JOB = "training_job_end.ts"
TENSORS, PROFILER = "DebugHookConfig", "ProfilerConfig"
PART = 26  # characters of the job's and of the rule's name in the processing job's


def start_rules(ctx: Ctx, document: dict[str, Any]) -> bool:
    """Start the jobs of rules that have none yet; their ARNs go into the document, which the caller saves. Whether there were any."""
    waiting = [(watch, entry) for watch, entry in rule_entries(document) if _is_waiting(entry)]
    for watch, entry in waiting:
        rule = next(one for one in document[watch.configurations] if one["RuleConfigurationName"] == entry["RuleConfigurationName"])
        try:
            entry["RuleEvaluationJobArn"] = _start(ctx, document, watch, rule)
        except AwsError as error:
            entry |= {"RuleEvaluationStatus": "Error", "StatusDetails": error.message, "LastModifiedTime": ctx.now()}
    return bool(waiting)


def stop_profiler_rules(ctx: Ctx, document: dict[str, Any]) -> bool:
    """Stop Profiler's rules when the profiler has been disabled meanwhile. Whether there were any, so that the caller saves the document."""
    if document["ProfilingStatus"] == "Enabled":
        return False
    running = [entry for watch, entry in rule_entries(document) if watch.config == PROFILER and entry["RuleEvaluationStatus"] == "InProgress"]
    for entry in running:
        entry |= {"RuleEvaluationStatus": "Stopping" if "RuleEvaluationJobArn" in entry else "Stopped", "LastModifiedTime": ctx.now()}
        try:
            if "RuleEvaluationJobArn" in entry:
                ctx.call("sagemaker", "StopProcessingJob", {"ProcessingJobName": entry["RuleEvaluationJobArn"].rpartition("/")[2]})
        except AwsError as error:  # it has ended by itself, and its end says how
            log.info("rule cannot be stopped job=%s problem=%s", document["TrainingJobName"], error.message)
    return bool(running)


def end_rules(ctx: Ctx, document: dict[str, Any]) -> None:
    """The training job has ended: its rules are told so, and those that never started will not."""
    for _, entry in rule_entries(document):
        if _is_waiting(entry):
            entry |= {"RuleEvaluationStatus": "Stopped", "LastModifiedTime": ctx.now()}
    told = {watch.config for watch, entry in rule_entries(document) if "RuleEvaluationJobArn" in entry}
    profile = profile_prefix(document)
    ends = [live_prefix(document, TENSORS)] if TENSORS in told else []
    ends += [f"{profile}{SYSTEM}/", f"{profile}{FRAMEWORK}/"] if PROFILER in told else []
    try:
        for prefix in ends:
            ctx.ports.objects.put(prefix + END_OF_JOB, b"")
    except AwsError as error:
        log.warning("rules cannot be told of the end job=%s problem=%s", document["TrainingJobName"], error.message)


def _is_waiting(entry: dict[str, Any]) -> bool:
    return entry["RuleEvaluationStatus"] == "InProgress" and "RuleEvaluationJobArn" not in entry


def rule_job_name(document: dict[str, Any], rule: str) -> str:
    """AWS's form: the beginnings of both names, and some letters of its own."""
    told = f"{document['TrainingJobArn']} {document['CreationTime'].isoformat()} {rule}"
    return f"{document['TrainingJobName'][:PART].rstrip('-')}-{rule[:PART]}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def _start(ctx: Ctx, document: dict[str, Any], watch: Watch, rule: dict[str, Any]) -> str:
    from dewfall.services.sagemaker.processing import start_processing_job

    request = _request(document, watch, rule)
    try:
        return start_processing_job(ctx, request, TrainingJobArn=document["TrainingJobArn"])
    except AwsError as error:
        if error.code != "ResourceInUse":
            raise
        return ctx.arn("sagemaker", f"processing-job/{request['ProcessingJobName']}")  # a former server was killed before it could say so


def _request(document: dict[str, Any], watch: Watch, rule: dict[str, Any]) -> dict[str, Any]:
    name = rule["RuleConfigurationName"]
    data = live_prefix(document, TENSORS) if watch.config == TENSORS else profile_prefix(document)
    if not data:
        raise AwsError("ValidationException", f"The rule {name} has nothing to look at: the training job has no {watch.config} with an S3OutputPath.")
    base = (rule.get("S3OutputPath") or document[watch.config]["S3OutputPath"]).rstrip("/")
    local = rule.get("LocalPath", "")
    output = {
        "S3Uri": f"{base}/{document['TrainingJobName']}/rule-output/{name}",
        "LocalPath": local if local.startswith(f"{ROOT}/") else f"{ROOT}/output/rule",
        "S3UploadMode": "Continuous",
    }
    longest = document["StoppingCondition"].get("MaxWaitTimeInSeconds") or document["StoppingCondition"]["MaxRuntimeInSeconds"]
    return {
        "ProcessingJobName": rule_job_name(document, name),
        "AppSpecification": {"ImageUri": rule["RuleEvaluatorImage"]},
        "Environment": {
            **rule.get("RuleParameters", {}),
            "rule_configuration_name": name,
            "training_job_name": document["TrainingJobName"],
            watch.variable: data,
            "rule_output_path": output["LocalPath"],
        },
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "rule-output", "S3Output": output}]},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": rule.get("InstanceType") or INSTANCE,
                "VolumeSizeInGB": rule.get("VolumeSizeInGB") or 10,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": min(LONGEST, longest + LATER)},
        "RoleArn": document["RoleArn"],
    }
