"""Debugger with a real client: tensors in S3, rules as processing jobs, their statuses and what they do."""

from __future__ import annotations

from typing import Any

import pytest

from dewfall.images.debugging.events import decode
from dewfall.testing import Server

from .test_training_story import ENDLESS, ROLE, Train, channel, finished, train, until

__all__ = ["train"]

BUCKET = "training-stories"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
RULES = "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"
ROWS = "".join(f"{n % 7},{n % 7},{n % 3}\n" for n in range(60)).encode()


def rule(name: str, **parameters: str) -> dict[str, Any]:
    return {"RuleConfigurationName": name, "RuleEvaluatorImage": RULES, "RuleParameters": {"rule_to_invoke": name, **parameters}}


def boost(dewfall: Server, name: str, eta: str, rounds: str, *rules: dict[str, Any]) -> None:
    s3 = dewfall.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="rows/train.csv", Body=ROWS)
    losses = {"CollectionName": "losses", "CollectionParameters": {"save_interval": "2"}}
    dewfall.client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        HyperParameters={"num_round": rounds, "eta": eta, "objective": "reg:squarederror"},
        InputDataConfig=[channel("train", "rows/", ContentType="text/csv")],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 300},
        DebugHookConfig={"S3OutputPath": f"s3://{BUCKET}/debug", "CollectionConfigurations": [losses]},
        DebugRuleConfigurations=list(rules),
    )


def evaluated(dewfall: Server, name: str) -> dict[str, dict[str, Any]]:
    sagemaker, found = dewfall.client("sagemaker"), {}

    def is_over() -> bool:
        statuses = sagemaker.describe_training_job(TrainingJobName=name)["DebugRuleEvaluationStatuses"]
        found.update({one["RuleConfigurationName"]: one for one in statuses})
        return all(one["RuleEvaluationStatus"] != "InProgress" for one in statuses)

    until(is_over)
    return found


def keys(dewfall: Server, prefix: str) -> list[str]:
    pages = dewfall.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def test_a_rule_without_an_instance_of_its_own_is_told_a_volume_of_none(dewfall: Server) -> None:
    boost(dewfall, "told", "0.1", "1", rule("LossNotDecreasing"), {**rule("TreeDepth"), "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30})
    rules = dewfall.client("sagemaker").describe_training_job(TrainingJobName="told")["DebugRuleConfigurations"]
    assert [one["VolumeSizeInGB"] for one in rules] == [0, 30]


def test_rules_say_what_they_have_found(dewfall: Server) -> None:
    boost(dewfall, "flat", "0", "30", rule("LossNotDecreasing"), rule("CreateXgboostReport"))
    found = evaluated(dewfall, "flat")
    statuses = {name: one["RuleEvaluationStatus"] for name, one in found.items()}
    assert statuses == {"LossNotDecreasing": "IssuesFound", "CreateXgboostReport": "NoIssuesFound"}
    message = "RuleEvaluationConditionMet: Evaluation of the rule LossNotDecreasing at step 10 resulted in the condition being met\n"
    assert found["LossNotDecreasing"]["StatusDetails"] == message
    job = dewfall.client("sagemaker").describe_processing_job(
        ProcessingJobName=found["CreateXgboostReport"]["RuleEvaluationJobArn"].rpartition("/")[2]
    )
    assert job["TrainingJobArn"].endswith("/flat")
    assert "debug/flat/rule-output/CreateXgboostReport/xgboost_report.html" in keys(dewfall, "debug/flat/rule-output/")


def test_tensors_are_in_s3_as_smdebug_lays_them_out(dewfall: Server) -> None:
    boost(dewfall, "laid-out", "0.3", "4")
    assert finished(dewfall, "laid-out")["TrainingJobStatus"] == "Completed"
    prefix = "debug/laid-out/debug-output/"
    assert [key.removeprefix(prefix) for key in keys(dewfall, prefix)] == [
        "collections/000000000/worker_0_collections.json",
        *(f"events/{step:012d}/{step:012d}_worker_0.tfevents" for step in (0, 2)),
        *(f"index/000000000/{step:012d}_worker_0.json" for step in (0, 2)),
    ]
    body = dewfall.client("s3").get_object(Bucket=BUCKET, Key=f"{prefix}events/{2:012d}/{2:012d}_worker_0.tfevents")["Body"].read()
    assert [one.name for one in decode(body)] == ["train-rmse"]


def test_a_rule_stops_its_training_job(dewfall: Server) -> None:
    action = '{\\"name\\": \\"stoptraining\\", \\"training_job_prefix\\": \\"stuck\\"}'
    boost(dewfall, "stuck", "0", "1000000", rule("LossNotDecreasing", action_json=action))
    assert finished(dewfall, "stuck")["TrainingJobStatus"] == "Stopped"
    assert evaluated(dewfall, "stuck")["LossNotDecreasing"]["RuleEvaluationStatus"] == "IssuesFound"


@pytest.mark.slow
def test_a_run_is_compared_with_another(dewfall: Server) -> None:
    boost(dewfall, "first", "0.3", "3")
    assert finished(dewfall, "first")["TrainingJobStatus"] == "Completed"
    by_path = rule("SimilarAcrossRuns", other_trial_0=f"s3://{BUCKET}/debug/first/debug-output") | {"RuleConfigurationName": "ByPath"}
    absent = rule("SimilarAcrossRuns", other_trial="absent") | {"RuleConfigurationName": "Absent"}
    boost(dewfall, "second", "0.9", "3", rule("SimilarAcrossRuns", other_trial="first"), by_path, absent)
    found = evaluated(dewfall, "second")
    assert {name: one["RuleEvaluationStatus"] for name, one in found.items()} == {
        "SimilarAcrossRuns": "IssuesFound",
        "ByPath": "IssuesFound",
        "Absent": "Error",
    }
    assert "SimilarAcrossRuns at step 0" in found["SimilarAcrossRuns"]["StatusDetails"]
    assert "The other trial absent cannot be found" in found["Absent"]["StatusDetails"]


def test_what_is_not_built_says_so(dewfall: Server) -> None:
    own = rule("Mine") | {"RuleEvaluatorImage": "759209512951.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rule-evaluator:latest"}
    boost(dewfall, "custom", "0.3", "1", own)
    status = evaluated(dewfall, "custom")["Mine"]
    assert status["RuleEvaluationStatus"] == "Error"
    assert "needs rule_to_invoke" in status["StatusDetails"]


def test_tensorboard_events_are_uploaded_while_the_job_runs(dewfall: Server, train: Train) -> None:
    code = (
        "import pathlib; f = pathlib.Path('/opt/ml/output/tensorboard/run'); f.mkdir(parents=True); (f / 'events.out.tfevents.1').write_text('x')\n"
    )
    train(code + ENDLESS, "boarded", wait=False, TensorBoardOutputConfig={"S3OutputPath": f"s3://{BUCKET}/boards"})
    until(lambda: keys(dewfall, "boards/") == ["boards/boarded/tensorboard-output/run/events.out.tfevents.1"])
    dewfall.client("sagemaker").stop_training_job(TrainingJobName="boarded")
    assert finished(dewfall, "boarded")["TrainingJobStatus"] == "Stopped"


@pytest.mark.parametrize("member", ["DebugHookConfig", "TensorBoardOutputConfig"])
def test_a_bucket_that_is_not_there_costs_the_job_nothing(dewfall: Server, train: Train, member: str) -> None:
    code = (
        "import pathlib\nfor name in ('tensors', 'tensorboard'):\n    f = pathlib.Path('/opt/ml/output', name); f.mkdir(); (f / 'a').write_text('x')"
    )
    described = train(code, "poor", **{member: {"S3OutputPath": "s3://no-such-bucket-here/x"}})
    assert described["TrainingJobStatus"] == "Completed"
