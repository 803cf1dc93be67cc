"""SDK v2: an estimator with built-in and own Debugger rules and Profiler rules, a framework that asks for none, and rules that come later."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import sagemaker
from sagemaker.debugger import CollectionConfig, DebuggerHookConfig, ProfilerConfig, ProfilerRule, Rule, rule_configs
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.s3 import S3Downloader
from sagemaker.sklearn import SKLearn

EVALUATOR = "759209512951.dkr.ecr.us-west-2.amazonaws.com/sagemaker-debugger-rule-evaluator:latest"
OWN = """
from smdebug.rules.rule import Rule

class CustomLossRule(Rule):
    def __init__(self, base_trial, threshold=10.0):
        super().__init__(base_trial)
        self.threshold = float(threshold)

    def set_required_tensors(self, step):
        for tname in self.base_trial.tensor_names(collection="losses"):
            self.req_tensors.add(tname, steps=[step])

    def invoke_at_step(self, step):
        return any(t.reduction_value(step, "mean", abs=True) > self.threshold for t in self.req_tensors.get())
"""
WAITING = "import time\nwhile True: time.sleep(0.05)\n"


def tell(**found: object) -> None:
    """A result for the test to read."""
    print("FOUND", json.dumps(found), flush=True)


def main(folder: Path) -> None:
    """Boosting with rules of all kinds, then a script."""
    session, role = sagemaker.Session(), sagemaker.get_execution_role()
    (folder / "rules").mkdir()
    (folder / "rules" / "my_rules.py").write_text(OWN)
    boost(session, role, folder)
    script(session, role, folder)


def boost(session: sagemaker.Session, role: str, folder: Path) -> None:
    """The flow of AWS's examples."""
    rows = folder / "rows.csv"
    rows.write_text("".join(f"{n % 7},{n % 7},{n % 3}\n" for n in range(60)))
    own = Rule.custom(
        name="Mine",
        image_uri=EVALUATOR,
        instance_type="ml.t3.medium",
        volume_size_in_gb=10,
        source=str(folder / "rules" / "my_rules.py"),
        rule_to_invoke="CustomLossRule",
        rule_parameters={"threshold": "0.5"},
        collections_to_save=[CollectionConfig("losses", {"save_interval": "5"})],
    )
    estimator = Estimator(
        sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"),
        role,
        1,
        "ml.m5.large",
        hyperparameters={"num_round": 20, "eta": 0, "objective": "reg:squarederror"},
        sagemaker_session=session,
        rules=[Rule.sagemaker(rule_configs.exploding_tensor()), own, ProfilerRule.sagemaker(rule_configs.ProfilerReport())],
        debugger_hook_config=DebuggerHookConfig(collection_configs=[CollectionConfig("losses", {"save_interval": "5"})]),
        profiler_config=ProfilerConfig(system_monitor_interval_millis=500),
    )
    estimator.fit({"train": TrainingInput(session.upload_data(str(rows), key_prefix="rows"), content_type="text/csv")}, logs=True)
    tell(rules=evaluated(estimator))
    report = f"{estimator.output_path}{estimator.latest_training_job.name}/rule-output/ProfilerReport/profiler-output"
    tell(report=sorted(uri.rpartition("/")[2] for uri in S3Downloader.list(report, sagemaker_session=session)))


def script(session: sagemaker.Session, role: str, folder: Path) -> None:
    """A framework's estimator: what the SDK asks for by itself, then a rule while it runs, then none."""
    (folder / "wait.py").write_text(WAITING)
    estimator = SKLearn(str(folder / "wait.py"), role=role, instance_type="ml.m5.large", framework_version="1.2-1", sagemaker_session=session)
    estimator.fit(wait=False)
    name = estimator.latest_training_job.name
    until(lambda: session.describe_training_job(name)["SecondaryStatus"] == "Training")
    by_default = session.describe_training_job(name)
    tell(by_default=by_default.get("ProfilerRuleConfigurations", []), profiling=by_default["ProfilingStatus"])
    estimator.update_profiler(rules=[ProfilerRule.sagemaker(rule_configs.OverallSystemUsage())])
    until(lambda: "RuleEvaluationJobArn" in estimator.latest_training_job.rule_job_summary()[0])
    estimator.disable_profiling()
    tell(disabled=evaluated(estimator), status=session.describe_training_job(name)["TrainingJobStatus"])
    estimator.latest_training_job.stop()


def evaluated(estimator: Estimator) -> dict[str, str]:
    """The rules' statuses in the end."""
    found: dict[str, str] = {}

    def is_over() -> bool:
        found.update({one["RuleConfigurationName"]: one["RuleEvaluationStatus"] for one in estimator.latest_training_job.rule_job_summary()})
        return not {"InProgress", "Stopping"} & set(found.values())

    until(is_over)
    return found


def until(is_so: object) -> None:
    """Wait."""
    while not is_so():  # type: ignore[operator]
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
