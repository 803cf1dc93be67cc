"""SageMaker SDK v2's four monitors as a user writes them: baselines, schedules that run at once, and violations that were provoked.

The folder may hold a real `table.csv` with a header: the label first, the facet last, two features that matter next to the label.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import sagemaker
from sagemaker import clarify, image_uris
from sagemaker.inputs import TrainingInput
from sagemaker.model_monitor import (
    BiasAnalysisConfig,
    CronExpressionGenerator,
    DataCaptureConfig,
    DefaultModelMonitor,
    EndpointInput,
    ExplainabilityAnalysisConfig,
    ModelBiasMonitor,
    ModelExplainabilityMonitor,
    ModelQualityMonitor,
)
from sagemaker.model_monitor.dataset_format import DatasetFormat
from sagemaker.s3 import S3Downloader
from sagemaker.serializers import CSVSerializer

FOLDER = Path(sys.argv[1])
WINDOW: dict[str, Any] = {"data_analysis_start_time": "-PT1H", "data_analysis_end_time": "PT1H"}


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
role, bucket = sagemaker.get_execution_role(), session.default_bucket()
if (FOLDER / "table.csv").exists():
    NAMES = (FOLDER / "table.csv").read_text().partition("\n")[0].split(",")
    table = np.loadtxt(FOLDER / "table.csv", delimiter=",", skiprows=1)
else:
    NAMES, rng = ["target", "f0", "f1", "f2", "group"], np.random.default_rng(0)
    features = np.column_stack([rng.normal(size=(200, 3)).round(3), rng.integers(0, 2, 200)])
    table = np.column_stack([2 * features[:, 0] + features[:, 3] + rng.normal(0, 0.3, 200) > 0.5, features])
target, rows = table[:, 0].astype(int), table[:, 1:]
usual = rows.mean(axis=0).round(2)
np.savetxt(FOLDER / "train.csv", table, delimiter=",", fmt="%g")
np.savetxt(FOLDER / "baseline.csv", table, delimiter=",", fmt="%g", header=",".join(NAMES), comments="")
train = session.upload_data(str(FOLDER / "train.csv"), key_prefix="monitor/train")
baseline = session.upload_data(str(FOLDER / "baseline.csv"), key_prefix="monitor/baseline")
image = image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1")
estimator = sagemaker.estimator.Estimator(image, role, 1, "ml.m5.large", output_path=f"s3://{bucket}/models")
estimator.set_hyperparameters(objective="binary:logistic", num_round=10)
estimator.fit({"train": TrainingInput(train, content_type="text/csv")}, logs=False)
capture = DataCaptureConfig(enable_capture=True, sampling_percentage=100, destination_s3_uri=f"s3://{bucket}/captured")
predictor = estimator.deploy(1, "ml.m5.large", data_capture_config=capture, serializer=CSVSerializer(), model_name="watched", endpoint_name="watched")


def captured() -> list[str]:
    """Wait for captured requests; their keys."""
    for _ in range(300):
        found = S3Downloader.list(f"s3://{bucket}/captured/watched")
        if found:
            break
        time.sleep(0.2)
    return [uri.partition(f"{bucket}/")[2] for uri in found]


scores = [float(line) for line in predictor.predict(rows).decode().replace(",", "\n").split()]
for key in captured():  # what is scored for the baseline is not what customers ask
    boto3.client("s3").delete_object(Bucket=bucket, Key=key)
runtime = boto3.client("sagemaker-runtime")
truth = []
for number, row in enumerate(rows[:60]):  # what mattered is the same in all of them, so that it matters no more
    body = ",".join(f"{v:g}" for v in [*usual[:2], *row[2:]])
    runtime.invoke_endpoint(EndpointName="watched", ContentType="text/csv", InferenceId=str(number), Body=body)
    line = {"groundTruthData": {"data": str(1 - target[number]), "encoding": "CSV"}, "eventMetadata": {"eventId": str(number)}, "eventVersion": "0"}
    truth.append(json.dumps(line))
hour = time.strftime("%Y/%m/%d/%H", time.gmtime())
boto3.client("s3").put_object(Bucket=bucket, Key=f"truth/{hour}/truth.jsonl", Body="\n".join(truth))
captured()


def run(monitor: Any, **arguments: Any) -> Any:
    """Schedule a monitor once, wait for its execution, and return it."""
    name = f"schedule-{type(monitor).__name__.lower()}"
    monitor.create_monitoring_schedule(
        monitor_schedule_name=name,
        schedule_cron_expression=CronExpressionGenerator.now(),
        output_s3_uri=f"s3://{bucket}/reports",
        **WINDOW,
        **arguments,
    )
    client = boto3.client("sagemaker")
    for _ in range(600):
        found = client.list_monitoring_executions(MonitoringScheduleName=name)["MonitoringExecutionSummaries"]
        if found and found[0]["MonitoringExecutionStatus"] not in ("Pending", "InProgress"):
            break
        time.sleep(0.2)
    tell(**{type(monitor).__name__: found[0]["MonitoringExecutionStatus"], f"{type(monitor).__name__}Reason": found[0].get("FailureReason", "")})
    return monitor.list_executions()[-1]


def common(**more: Any) -> dict[str, Any]:
    return {"role": role, "instance_count": 1, "instance_type": "ml.m5.large", "sagemaker_session": session, **more}


data = DefaultModelMonitor(**common())
data.suggest_baseline(baseline, DatasetFormat.csv(header=True), output_s3_uri=f"s3://{bucket}/data-baseline", wait=True, logs=False)
execution = run(
    data, endpoint_input="watched", statistics=data.baseline_statistics(), constraints=data.suggested_constraints(), enable_cloudwatch_metrics=True
)
violations = execution.constraint_violations().body_dict["violations"]
tell(data_violations=sorted({(v["feature_name"], v["constraint_check_type"]) for v in violations}))
tell(statistics=[feature["name"] for feature in execution.statistics().body_dict["features"]])

scored = FOLDER / "scored.csv"
scored.write_text("label,probability,prediction\n" + "".join(f"{y},{p},{int(p > 0.5)}\n" for y, p in zip(target, scores, strict=True)))
quality = ModelQualityMonitor(**common())
quality.suggest_baseline(
    session.upload_data(str(scored), key_prefix="monitor/scored"),
    DatasetFormat.csv(header=True),
    problem_type="BinaryClassification",
    inference_attribute="prediction",
    probability_attribute="probability",
    ground_truth_attribute="label",
    output_s3_uri=f"s3://{bucket}/quality-baseline",
    wait=True,
    logs=False,
)
source = EndpointInput("watched", "/opt/ml/processing/input/endpoint", probability_attribute="0", probability_threshold_attribute=0.5)
execution = run(
    quality,
    endpoint_input=source,
    ground_truth_input=f"s3://{bucket}/truth",
    problem_type="BinaryClassification",
    constraints=quality.suggested_constraints(),
    enable_cloudwatch_metrics=True,
)
tell(quality_violations=sorted(v["metric_name"] for v in execution.constraint_violations().body_dict["violations"]))

config = clarify.DataConfig(
    s3_data_input_path=train, s3_output_path=f"s3://{bucket}/bias-baseline", label=NAMES[0], headers=NAMES, dataset_type="text/csv"
)
model = clarify.ModelConfig(model_name="watched", instance_type="ml.m5.large", instance_count=1, accept_type="text/csv", content_type="text/csv")
facet = clarify.BiasConfig(label_values_or_threshold=[1], facet_name=NAMES[-1], facet_values_or_threshold=[0])
bias = ModelBiasMonitor(**common())
bias.suggest_baseline(
    model_config=model,
    data_config=config,
    bias_config=facet,
    model_predicted_label_config=clarify.ModelPredictedLabelConfig(probability_threshold=0.5),
)
bias.latest_baselining_job.wait(logs=False)
execution = run(
    bias,
    endpoint_input=source,
    ground_truth_input=f"s3://{bucket}/truth",
    analysis_config=BiasAnalysisConfig(facet, headers=NAMES, label=NAMES[0]),
    constraints=bias.suggested_constraints(),
)
tell(bias_violations=sorted({(v["facet"], v["constraint_check_type"]) for v in execution.constraint_violations().body_dict["violations"]}))

shap = clarify.SHAPConfig(baseline=[usual.tolist()], num_samples=14, agg_method="mean_abs")
config.s3_output_path = f"s3://{bucket}/shap-baseline"
explained = ModelExplainabilityMonitor(**common())
explained.suggest_baseline(data_config=config, model_config=model, explainability_config=shap)
explained.latest_baselining_job.wait(logs=False)
execution = run(
    explained,
    endpoint_input=EndpointInput("watched", "/opt/ml/processing/input/endpoint"),
    analysis_config=ExplainabilityAnalysisConfig(shap, model, headers=NAMES[1:]),
    constraints=explained.suggested_constraints(),
)
tell(attributions=execution.constraint_violations().body_dict)
tell(explained=sorted(uri.rpartition("/")[2] for uri in S3Downloader.list(execution.output.destination)))
for monitor in (data, quality, bias, explained):
    monitor.delete_monitoring_schedule()
predictor.delete_endpoint()
tell(left=len(boto3.client("sagemaker").list_monitoring_schedules()["MonitoringScheduleSummaries"]))
