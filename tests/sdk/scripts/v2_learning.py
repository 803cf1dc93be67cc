"""SDK v2: runs of experiments, in this process and inside a job, and Debugger's rules on a built-in algorithm."""

from __future__ import annotations

import json
import sys
import sysconfig
import time
from pathlib import Path

import sagemaker
from sagemaker.analytics import ExperimentAnalytics
from sagemaker.debugger import CollectionConfig, DebuggerHookConfig, Rule, rule_configs
from sagemaker.estimator import Estimator
from sagemaker.experiments import Run, list_runs
from sagemaker.inputs import TrainingInput
from sagemaker.sklearn import SKLearn

INSIDE = """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--packages")
sys.path.append(parser.parse_args().packages)
import boto3, sagemaker
from sagemaker.experiments import load_run
with load_run(sagemaker_session=sagemaker.Session(boto3.Session())) as run:
    run.log_parameter("inside", 1)
    run.log_metric("depth", 7.5, step=0)
    run.log_confusion_matrix([0, 1, 1, 0], [0, 1, 0, 0], title="confusion")
    run.log_roc_curve([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2], title="roc")
    run.log_precision_recall([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2], title="precision")
"""


def tell(**found: object) -> None:
    """A result for the test to read."""
    print("FOUND", json.dumps(found), flush=True)


def main(folder: Path) -> None:
    """Experiments, then Debugger."""
    session = sagemaker.Session()
    role = sagemaker.get_execution_role()
    track(session, role, folder)
    debug(session, role, folder)


def track(session: sagemaker.Session, role: str, folder: Path) -> None:
    """A run with everything that can be logged."""
    code = folder / "code"
    code.mkdir()
    (code / "inside.py").write_text(INSIDE)
    (folder / "notes.txt").write_text("high water")
    with Run(experiment_name="tides", run_name="spring", sagemaker_session=session) as run:
        run.log_parameters({"eta": 0.1, "kind": "moon"})
        for step in range(3):
            run.log_metric("rmse", 1.0 / (step + 1), step=step)
        run.log_file(str(folder / "notes.txt"), name="notes")
        run.log_artifact("source", "s3://somewhere/tides.csv", is_output=False)
        job = SKLearn(
            entry_point="inside.py",
            source_dir=str(code),
            role=role,
            instance_type="ml.m5.large",
            framework_version="1.2-1",
            sagemaker_session=session,
            hyperparameters={"packages": sysconfig.get_paths()["purelib"]},
        )
        job.fit(logs=False)
    (run,) = [one for one in list_runs("tides", sagemaker_session=session) if one.run_name == "spring"]
    component = run._trial_component
    tell(
        parameters=dict(component.parameters),
        metrics={metric.metric_name: [metric.count, metric.last] for metric in component.metrics},
        outputs=sorted(component.output_artifacts),
        inputs=sorted(component.input_artifacts),
    )
    table = ExperimentAnalytics(experiment_name="tides", sagemaker_session=session).dataframe()
    tell(columns=[column for column in ("eta", "rmse - Last", "depth - Last") if column in table.columns], rows=len(table))
    arn = component.trial_component_arn
    linked = session.sagemaker_client.list_associations(SourceArn=arn)["AssociationSummaries"]
    tell(graphs=sorted({one["DestinationType"] for one in linked}))


def debug(session: sagemaker.Session, role: str, folder: Path) -> None:
    """A loss that never falls, found by its rule."""
    rows = folder / "rows.csv"
    rows.write_text("".join(f"{n % 7},{n % 7},{n % 3}\n" for n in range(60)))
    estimator = Estimator(
        sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"),
        role,
        1,
        "ml.m5.large",
        hyperparameters={"num_round": 30, "eta": 0, "objective": "reg:squarederror"},
        sagemaker_session=session,
        rules=[Rule.sagemaker(rule_configs.loss_not_decreasing(), rule_parameters={"num_steps": "5"})],
        debugger_hook_config=DebuggerHookConfig(collection_configs=[CollectionConfig("losses", {"save_interval": "5"})]),
    )
    uri = session.upload_data(str(rows), key_prefix="rows")
    estimator.fit({"train": TrainingInput(uri, content_type="text/csv")}, logs=False)
    summary = estimator.latest_training_job.rule_job_summary()
    while any(rule["RuleEvaluationStatus"] == "InProgress" for rule in summary):
        time.sleep(0.5)
        summary = estimator.latest_training_job.rule_job_summary()
    tensors = sagemaker.s3.S3Downloader.list(estimator.latest_job_debugger_artifacts_path(), sagemaker_session=session)
    tell(rules={rule["RuleConfigurationName"]: rule["RuleEvaluationStatus"] for rule in summary}, tensors=len(tensors))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
