"""Quality, bias and attributions of a transform job's answers, by schedules that run at once, through a real client."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from dewfall.ml.explain import kernel_shap
from dewfall.testing import Server

pytestmark = pytest.mark.timeout(240)

ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ANALYZER = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
CLARIFY = "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0"
BUCKET = "transformed"
NAMES = ["a", "b", "group"]
COLUMNS = np.random.default_rng(3)


class Batch:
    """A model, a transform job of 120 rows whose answers carry ids, and the ground truth of all of them."""

    def __init__(self, server: Server) -> None:
        import xgboost

        self.sagemaker, self.s3 = server.client("sagemaker"), server.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.rows = rows = np.column_stack([COLUMNS.normal(size=(120, 2)).round(3), COLUMNS.integers(0, 2, 120)])
        self.labels = (rows[:, 0] > 0).astype(int)
        booster = xgboost.train(
            {"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, xgboost.DMatrix(rows, (rows[:, 0] + rows[:, 2] > 0.5).astype(int)), 8
        )
        self.predict = lambda table: booster.predict(xgboost.DMatrix(np.asarray(table, float)))
        self.put("model.tar.gz", packed(bytes(booster.save_raw("ubj"))))
        self.put("in/rows.csv", "\n".join(",".join(f"{value:g}" for value in row) for row in rows).encode())
        container = {"Image": XGBOOST, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
        self.sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, PrimaryContainer=container)
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}
        self.sagemaker.create_transform_job(
            TransformJobName="scored",
            ModelName="model",
            TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
            TransformOutput={"S3OutputPath": f"s3://{BUCKET}/out", "Accept": "text/csv", "AssembleWith": "Line"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
            DataCaptureConfig={"DestinationS3Uri": f"s3://{BUCKET}/captured", "GenerateInferenceId": True},
        )
        self.sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName="scored")
        answers = self.get("out/rows.csv.out").decode().splitlines()
        self.scores = np.array([float(line.split(",")[0]) for line in answers])
        told = [
            {"groundTruthData": {"data": str(label), "encoding": "CSV"}, "eventMetadata": {"eventId": line.split(",")[1]}, "eventVersion": "0"}
            for label, line in zip(self.labels, answers, strict=True)
        ]
        self.put(f"truth/{datetime.now(UTC):%Y/%m/%d/%H}/t.jsonl", "\n".join(map(json.dumps, told)).encode())

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def run(self, monitors: str, application: dict[str, Any], **given: Any) -> dict[str, Any]:
        """The files of a run by their names."""
        source = {
            "DataCapturedDestinationS3Uri": f"s3://{BUCKET}/captured",
            "DatasetFormat": {"Csv": {"Header": False}},
            "LocalPath": "/opt/ml/processing/input/batch",
            **given,
        }
        wanted: dict[str, Any] = {"BatchTransformInput": source}
        if monitors != "ModelExplainability":
            wanted["GroundTruthS3Input"] = {"S3Uri": f"s3://{BUCKET}/truth"}
        create = getattr(self.sagemaker, f"create_{'_'.join(words(monitors))}_job_definition")
        create(
            **{
                "JobDefinitionName": monitors,
                f"{monitors}AppSpecification": application,
                f"{monitors}JobInput": wanted,
                f"{monitors}JobOutputConfig": {
                    "MonitoringOutputs": [{"S3Output": {"S3Uri": f"s3://{BUCKET}/reports", "LocalPath": "/opt/ml/processing/output"}}]
                },
                "JobResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}},
                "RoleArn": ROLE,
            }
        )
        window = {"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-PT2H", "DataAnalysisEndTime": "PT1H"}
        config = {"ScheduleConfig": window, "MonitoringJobDefinitionName": monitors, "MonitoringType": monitors}
        self.sagemaker.create_monitoring_schedule(MonitoringScheduleName=monitors, MonitoringScheduleConfig=config)
        end = datetime.now(UTC) + timedelta(seconds=90)
        while datetime.now(UTC) < end:
            found = self.sagemaker.list_monitoring_executions(MonitoringScheduleName=monitors)["MonitoringExecutionSummaries"]
            if found and found[0]["MonitoringExecutionStatus"] not in ("Pending", "InProgress"):
                break
            threading.Event().wait(0.1)
        assert found[0]["MonitoringExecutionStatus"] == "Completed", found[0].get("FailureReason")
        keys = [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"reports/batch/{monitors}/")["Contents"]]
        return {key.rsplit("/", 1)[1]: json.loads(self.get(key)) for key in keys if key.endswith(".json")}


def words(name: str) -> list[str]:
    """ModelQuality as model and quality."""
    return [name[:5].lower(), name[5:].lower()]


def packed(model: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo("xgboost-model")
        member.size = len(model)
        archive.addfile(member, io.BytesIO(model))
    return file.getvalue()


def test_the_answers_of_a_transform_job_are_watched(dewfall: Server) -> None:
    batch = Batch(dewfall)
    predicted = (batch.scores > 0.5).astype(int)
    quality = batch.run("ModelQuality", {"ImageUri": ANALYZER, "ProblemType": "BinaryClassification"}, ProbabilityAttribute="0")
    metrics = quality["statistics.json"]["binary_classification_metrics"]
    assert metrics["accuracy"]["value"] == pytest.approx(float((predicted == batch.labels).mean()))
    assert batch.s3.list_objects_v2(Bucket=BUCKET, Prefix="reports/merge/batch/")["KeyCount"] == 1

    facets = [{"name_or_index": "group", "value_or_threshold": [1]}]
    config = {"headers": [*NAMES, "label"], "label": "label", "label_values_or_threshold": [1], "facet": facets}
    batch.put("bias.json", json.dumps(config).encode())
    answers: dict[str, Any] = {"ProbabilityAttribute": "0", "ProbabilityThresholdAttribute": 0.5}
    bias = batch.run("ModelBias", {"ImageUri": CLARIFY, "ConfigUri": f"s3://{BUCKET}/bias.json"}, **answers)
    (facet,) = bias["analysis.json"]["post_training_bias_metrics"]["facets"]["group"]
    values = {metric["name"]: metric["value"] for metric in facet["metrics"]}
    group = np.array([row.rsplit(",", 1)[1] == "1" for row in batch.get("in/rows.csv").decode().splitlines()])
    assert values["DPPL"] == pytest.approx(float(predicted[~group].mean() - predicted[group].mean()))

    shap = {"baseline": [[0, 0, 0]], "num_samples": 8, "agg_method": "mean_abs"}
    predictor = {"model_name": "model", "instance_type": "ml.m5.large", "initial_instance_count": 1, "accept_type": "text/csv"}
    batch.put("shap.json", json.dumps({"headers": NAMES, "methods": {"shap": shap}, "predictor": predictor}).encode())
    told = batch.run("ModelExplainability", {"ImageUri": CLARIFY, "ConfigUri": f"s3://{BUCKET}/shap.json"})
    importance = told["analysis.json"]["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
    expected = np.abs(kernel_shap(batch.predict, batch.rows.tolist(), [[0, 0, 0]]).values).mean(axis=0).ravel()
    assert [importance[name] for name in NAMES] == pytest.approx(expected.tolist(), rel=1e-3)
