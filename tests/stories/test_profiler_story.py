"""Profiler's rules with a real client: what was measured of a job, looked at by processing jobs of their own, and what they leave in S3."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server

from .test_training_story import BUCKET, Train, finished, train, until

__all__ = ["train"]

RULES = "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"
CONFIG = {"S3OutputPath": f"s3://{BUCKET}/profiles", "ProfilingIntervalInMilliseconds": 1000}
# Some steps, as a framework of AWS's tells of them.
TRACED = """
import json, pathlib, sys, time
began = time.time() * 1e6
folder = pathlib.Path("/opt/ml/output/profiler/framework/pevents/2026010100"); folder.mkdir(parents=True)
events = [{"name": "process_name", "ph": "M", "pid": 0, "args": {"start_time_since_epoch_in_micros": began}},
          {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "Step:ModeKeys.TRAIN"}}]
for n in range(120):
    took = 900 if n % 10 else 90000
    events.append({"name": "Step:ModeKeys.TRAIN", "ph": "X", "pid": 1, "ts": 1000 * n, "dur": took, "args": {"step_num": n}})
(folder / f"{int(began)}_1-algo-1_model_timeline.json").write_text(json.dumps(events))
"""
BUSY = "import time\nwhile True: sum(range(20000)); time.sleep(0.01)"


def rule(name: str, configuration: str = "", **parameters: str) -> dict[str, Any]:
    return {"RuleConfigurationName": configuration or name, "RuleEvaluatorImage": RULES, "RuleParameters": {"rule_to_invoke": name, **parameters}}


def statuses(dewfall: Server, name: str) -> dict[str, dict[str, Any]]:
    described = dewfall.client("sagemaker").describe_training_job(TrainingJobName=name)
    return {one["RuleConfigurationName"]: one for one in described.get("ProfilerRuleEvaluationStatuses", ())}


def evaluated(dewfall: Server, name: str) -> dict[str, dict[str, Any]]:
    until(lambda: all(one["RuleEvaluationStatus"] not in ("InProgress", "Stopping") for one in statuses(dewfall, name).values()))
    return statuses(dewfall, name)


def outputs(dewfall: Server, job: str) -> dict[str, bytes]:
    s3, prefix = dewfall.client("s3"), f"profiles/{job}/rule-output/"
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
    return {one["Key"].removeprefix(prefix): s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found}


def measured(dewfall: Server, job: str) -> bool:
    found = dewfall.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"profiles/{job}/profiler-output/system/incremental/")
    return bool(found.get("KeyCount"))


def test_an_interval_alone_is_told(dewfall: Server, train: Train) -> None:
    job = train("print('done')", "quick", ProfilerConfig={"ProfilingIntervalInMilliseconds": 1000})
    assert (job["TrainingJobStatus"], job["ProfilerConfig"], job["ProfilingStatus"]) == (
        "Completed",
        {"ProfilingIntervalInMilliseconds": 1000},
        "Disabled",
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_report_of_a_short_job(dewfall: Server, train: Train) -> None:
    job = train("print('done')", "short", ProfilerConfig=CONFIG, ProfilerRuleConfigurations=[rule("ProfilerReport", "ProfilerReport-1636338020")])
    assert job["TrainingJobStatus"] == "Completed"
    found = evaluated(dewfall, "short")["ProfilerReport-1636338020"]
    assert found["RuleEvaluationStatus"] == "NoIssuesFound"
    assert ":processing-job/" in found["RuleEvaluationJobArn"]
    files = outputs(dewfall, "short")
    place = "ProfilerReport-1636338020/profiler-output/"
    assert {f"{place}profiler-report.html", f"{place}profiler-report.ipynb", f"{place}profiler-reports/LowGPUUtilization.json"} <= set(files)
    assert sum(name.startswith(f"{place}profiler-reports/") for name in files) == 11
    assert json.loads(files[f"{place}profiler-report.ipynb"])["nbformat"] == 4


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_was_measured_is_in_the_report(dewfall: Server, train: Train) -> None:
    report = rule("ProfilerReport", StepOutlier_stddev="2")
    train(TRACED + BUSY, "busy", wait=False, ProfilerConfig=CONFIG, ProfilerRuleConfigurations=[report, rule("LowGPUUtilization")])
    until(lambda: measured(dewfall, "busy"))
    dewfall.client("sagemaker").stop_training_job(TrainingJobName="busy")
    assert finished(dewfall, "busy")["TrainingJobStatus"] == "Stopped"
    found = evaluated(dewfall, "busy")
    assert found["LowGPUUtilization"]["RuleEvaluationStatus"] == "NoIssuesFound"
    assert "No GPU data" in found["LowGPUUtilization"]["StatusDetails"]
    assert found["ProfilerReport"]["RuleEvaluationStatus"] == "IssuesFound"
    said = found["ProfilerReport"]["StatusDetails"]
    assert re.match(r"RuleEvaluationConditionMet: Evaluation of the rule ProfilerReport at step \d+ resulted", said), said
    files = outputs(dewfall, "busy")
    usage = json.loads(files["ProfilerReport/profiler-output/profiler-reports/OverallSystemUsage.json"])
    assert usage["Datapoints"] >= 1
    assert 0 < usage["Details"]["CPU"]["algo-1"]["max"] <= 100
    outliers = json.loads(files["ProfilerReport/profiler-output/profiler-reports/StepOutlier.json"])
    assert (outliers["RuleTriggered"], outliers["Violations"], outliers["Datapoints"]) == (1, 12, 120)
    assert b"StepOutlier" in files["ProfilerReport/profiler-output/profiler-report.html"]


def test_rules_come_and_go_while_the_job_runs(dewfall: Server, train: Train) -> None:
    sagemaker = dewfall.client("sagemaker")
    train(BUSY, "changed", wait=False, ProfilerConfig=CONFIG)
    until(lambda: sagemaker.describe_training_job(TrainingJobName="changed")["SecondaryStatus"] == "Training")
    sagemaker.update_training_job(TrainingJobName="changed", ProfilerRuleConfigurations=[rule("OverallSystemUsage")])
    until(lambda: "RuleEvaluationJobArn" in statuses(dewfall, "changed")["OverallSystemUsage"])
    with pytest.raises(ClientError, match="is not unique"):
        sagemaker.update_training_job(TrainingJobName="changed", ProfilerRuleConfigurations=[rule("OverallSystemUsage")])
    with pytest.raises(ClientError, match="cannot be changed"):
        sagemaker.update_training_job(TrainingJobName="changed", ProfilerConfig={"S3OutputPath": f"s3://{BUCKET}/elsewhere"})
    sagemaker.update_training_job(TrainingJobName="changed", ProfilerConfig={"DisableProfiler": True})
    assert evaluated(dewfall, "changed")["OverallSystemUsage"]["RuleEvaluationStatus"] == "Stopped"
    assert sagemaker.describe_training_job(TrainingJobName="changed")["TrainingJobStatus"] == "InProgress"
    sagemaker.stop_training_job(TrainingJobName="changed")
    assert finished(dewfall, "changed")["TrainingJobStatus"] == "Stopped"


def test_a_rule_that_cannot_look_says_why(dewfall: Server, train: Train) -> None:
    wrong = [rule("CPUBottleneck", threshold="many"), rule("DetailedProfilerProcessingJobConfig")]
    train("", "wrong", ProfilerConfig=CONFIG, ProfilerRuleConfigurations=wrong)
    found = evaluated(dewfall, "wrong")
    assert {one["RuleEvaluationStatus"] for one in found.values()} == {"Error"}
    assert "threshold must be a number, not 'many'" in found["CPUBottleneck"]["StatusDetails"]
    assert "is not among them" in found["DetailedProfilerProcessingJobConfig"]["StatusDetails"]
