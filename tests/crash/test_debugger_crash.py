"""A rule goes on watching while the server is away, and its training job learns what it found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.world import BUCKET, ROLE, World, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
RULES = "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"
ROWS = "".join(f"{n % 7},{n % 7},{n % 3}\n" for n in range(60)).encode()


EVALUATOR = "759209512951.dkr.ecr.us-west-2.amazonaws.com/sagemaker-debugger-rule-evaluator:latest"
SCRIPT = """
from smdebug.rules import Rule
class Late(Rule):
    def invoke_at_step(self, step):
        return step >= 7000 and self.base_trial.tensor("train-rmse").value(step).mean() > 0
"""


def rules(world: World) -> dict[str, str]:
    found: Any = world.sagemaker.describe_training_job(TrainingJobName="watched")
    entries = [*found["DebugRuleEvaluationStatuses"], *found["ProfilerRuleEvaluationStatuses"]]
    return {one["RuleConfigurationName"]: one["RuleEvaluationStatus"] for one in entries}


def rule(name: str, **members: Any) -> dict[str, Any]:
    parameters = {"rule_to_invoke": name, **members.pop("RuleParameters", {})}
    return {"RuleConfigurationName": name, "RuleEvaluatorImage": RULES, "RuleParameters": parameters, **members}


def test_a_killed_server_loses_no_rule(world: World) -> None:
    world.s3.put_object(Bucket=BUCKET, Key="rows/train.csv", Body=ROWS)
    world.s3.put_object(Bucket=BUCKET, Key="late.py", Body=SCRIPT.encode())
    own = rule("Late", RuleEvaluatorImage=EVALUATOR, RuleParameters={"source_s3_uri": f"s3://{BUCKET}/late.py"})
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/rows/"}
    losses = {"CollectionName": "losses", "CollectionParameters": {"save_interval": "1000"}}
    world.sagemaker.create_training_job(
        TrainingJobName="watched",
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        HyperParameters={"num_round": "8000", "eta": "0", "objective": "reg:squarederror"},
        InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 300},
        DebugHookConfig={"S3OutputPath": f"s3://{BUCKET}/debug", "CollectionConfigurations": [losses]},
        DebugRuleConfigurations=[rule("ExplodingTensor"), rule("LossNotDecreasing"), own],
        ProfilerConfig={"S3OutputPath": f"s3://{BUCKET}/profiles"},
        ProfilerRuleConfigurations=[rule("ProfilerReport")],
    )
    # One sample before the first kill: on a fast machine the job may be over before a new server has measured.
    until(lambda: list((world.data / "jobs").glob("training-job.*/profile/system/incremental/*/*.json")))
    for _ in range(2):
        until(lambda: world.sagemaker.describe_training_job(TrainingJobName="watched")["SecondaryStatus"] != "Starting")
        world.kill()
        world.up()
    until(lambda: "InProgress" not in rules(world).values(), 200)
    found = {"ExplodingTensor": "NoIssuesFound", "LossNotDecreasing": "IssuesFound", "Late": "IssuesFound", "ProfilerReport": "NoIssuesFound"}
    assert rules(world) == found
    report = "profiles/watched/rule-output/ProfilerReport/profiler-output/profiler-report.html"
    assert b"System usage statistics" in world.s3.get_object(Bucket=BUCKET, Key=report)["Body"].read()
