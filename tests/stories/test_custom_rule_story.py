"""Debugger rules of one's own: a class of the user's script, on the tensors that a training job saves."""

from __future__ import annotations

from typing import Any

import pytest

from dewfall.testing import Server

from .test_debugger_story import BUCKET, boost, evaluated
from .test_training_story import ENDLESS, Train, finished, train, until

__all__ = ["train"]

EVALUATOR = "759209512951.dkr.ecr.us-west-2.amazonaws.com/sagemaker-debugger-rule-evaluator:latest"
# AWS's example of a custom rule, with losses in the place of gradients.
SCRIPT = """
from smdebug.exceptions import TensorUnavailable
from smdebug.rules.rule import Rule

class CustomLossRule(Rule):
    def __init__(self, base_trial, threshold=10.0):
        super().__init__(base_trial)
        assert isinstance(threshold, str)
        self.threshold = float(threshold)

    def invoke_at_step(self, step):
        for tname in self.base_trial.tensor_names(collection="losses"):
            loss = self.base_trial.tensor(tname)
            before = loss.prev_steps(step, n=2)
            if loss.reduction_value(step, "mean", abs=True) < self.threshold and before[-1] == step:
                return True
        return False

class Required(Rule):
    def __init__(self, base_trial):
        super().__init__(base_trial, other_trials=None)

    def set_required_tensors(self, step):
        self.req_tensors.add(".*rmse", steps=[step], should_match_regex=True)

    def invoke_at_step(self, step):
        assert not self.base_trial.has_tensor("nonsense")
        return any(tensor.value(step).mean() > 1e9 for tensor in self.req_tensors.get())

class Broken(Rule):
    def invoke_at_step(self, step):
        return 1 / 0
"""

PROFILER = """
from smdebug.exceptions import RuleEvaluationConditionMet
from smdebug.rules.rule import Rule

class Measured(Rule):
    def __init__(self, base_trial, scan_interval_us="1000000"):
        super().__init__(base_trial)
        self.last, self.interval = base_trial.first_timestamp, int(scan_interval_us)

    def invoke_at_step(self, step):
        pass

    def invoke(self, step):
        now = self.last + self.interval
        self.base_trial.wait_for_data(now, self.last)
        if any(event.dimension == "CPUUtilization" for event in self.base_trial.get_system_metrics(self.last, now)):
            raise RuleEvaluationConditionMet(self.rule_name, step)
        self.last = now
"""


def rule(name: str, **parameters: str) -> dict[str, Any]:
    return {
        "RuleConfigurationName": name,
        "RuleEvaluatorImage": EVALUATOR,
        "InstanceType": "ml.t3.medium",
        "VolumeSizeInGB": 10,
        "RuleParameters": {"source_s3_uri": f"s3://{BUCKET}/rules/my_rules.py", "rule_to_invoke": name, **parameters},
    }


@pytest.fixture
def script(dewfall: Server) -> None:
    s3 = dewfall.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="rules/my_rules.py", Body=SCRIPT.encode())


def test_classes_of_a_script_look_at_the_tensors(dewfall: Server, script: None) -> None:
    boost(dewfall, "owned", "0.5", "12", rule("CustomLossRule", threshold="0.5"), rule("Required"))
    found = evaluated(dewfall, "owned")
    assert {name: one["RuleEvaluationStatus"] for name, one in found.items()} == {"CustomLossRule": "IssuesFound", "Required": "NoIssuesFound"}
    message = "RuleEvaluationConditionMet: Evaluation of the rule CustomLossRule at step "
    assert found["CustomLossRule"]["StatusDetails"].startswith(message)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_rule_of_ones_own_stops_its_training_job(dewfall: Server, script: None) -> None:
    action = '{"name": "stoptraining", "training_job_prefix": "halted"}'
    boost(dewfall, "halted", "0.3", "1000000", rule("CustomLossRule", threshold="1000", action_json=action))
    assert finished(dewfall, "halted")["TrainingJobStatus"] == "Stopped"
    assert evaluated(dewfall, "halted")["CustomLossRule"]["RuleEvaluationStatus"] == "IssuesFound"


def test_what_a_script_does_wrong_is_the_rules_error(dewfall: Server, script: None) -> None:
    lost = rule("Lost") | {"RuleParameters": {"source_s3_uri": f"s3://{BUCKET}/none.py", "rule_to_invoke": "Lost"}}
    boost(dewfall, "faulty", "0.3", "4", rule("Broken"), rule("Missing"), rule("Required", nonsense="1"), lost)
    found = evaluated(dewfall, "faulty")
    assert finished(dewfall, "faulty")["TrainingJobStatus"] == "Completed"
    assert {one["RuleEvaluationStatus"] for one in found.values()} == {"Error"}
    details = {name: one["StatusDetails"] for name, one in found.items()}
    assert "ZeroDivisionError: division by zero" in details["Broken"]
    assert "has no class Missing" in details["Missing"]
    assert "unexpected keyword argument 'nonsense'" in details["Required"]
    assert "none.py cannot be read" in details["Lost"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_rule_of_ones_own_looks_at_what_was_measured(dewfall: Server, train: Train) -> None:
    sagemaker = dewfall.client("sagemaker")
    dewfall.client("s3").put_object(Bucket=BUCKET, Key="rules/my_rules.py", Body=PROFILER.encode())
    profiler = {"S3OutputPath": f"s3://{BUCKET}/profiles"}
    train(ENDLESS, "measured", wait=False, ProfilerConfig=profiler, ProfilerRuleConfigurations=[rule("Measured")])

    def status() -> str:
        return str(sagemaker.describe_training_job(TrainingJobName="measured")["ProfilerRuleEvaluationStatuses"][0]["RuleEvaluationStatus"])

    until(lambda: status() != "InProgress")
    assert status() == "IssuesFound"
    sagemaker.stop_training_job(TrainingJobName="measured")
    assert finished(dewfall, "measured")["TrainingJobStatus"] == "Stopped"
