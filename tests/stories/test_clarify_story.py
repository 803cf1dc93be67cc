"""A Clarify job from end to end: a model, its shadow endpoint, bias, explanations and reports in S3."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dewfall.ml.explain import kernel_shap
from dewfall.testing import Server
from tests.stories.test_processing_story import finished

IMAGE = "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
BUCKET = "clarify-stories"
NAMES = ["paid", "age", "income", "sex"]
RNG = np.random.default_rng(0)
ROWS = np.column_stack([RNG.integers(20, 70, 60), RNG.normal(50, 15, 60).round(2), RNG.integers(0, 2, 60)])
PAID = (ROWS[:, 1] + 10 * ROWS[:, 2] > 55).astype(int)
CONFIG: dict[str, Any] = {
    "dataset_type": "text/csv",
    "headers": NAMES,
    "label": "paid",
    "label_values_or_threshold": [1],
    "facet": [{"name_or_index": "sex", "value_or_threshold": [0]}],
    "methods": {
        "pre_training_bias": {"methods": "all"},
        "post_training_bias": {"methods": ["DPPL"]},
        "shap": {"baseline": [[45, 50, 0]], "save_local_shap_values": True},
        "pdp": {"grid_resolution": 4, "features": ["income"]},
        "report": {"name": "report", "title": "Analysis Report"},
    },
    "predictor": {"model_name": "payers", "instance_type": "ml.m5.large", "initial_instance_count": 1},
}


@pytest.fixture
def booster(dewfall: Server, tmp_path: Path) -> Any:
    """A model of SageMaker's on a real file, and the booster itself."""
    import xgboost

    made = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, xgboost.DMatrix(ROWS, label=PAID), 10)
    made.save_model(tmp_path / "model.ubj")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(tmp_path / "model.ubj", "xgboost-model")
    s3 = dewfall.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=archive.getvalue())
    container = {"Image": XGBOOST, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
    dewfall.client("sagemaker").create_model(ModelName="payers", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    return made


def analyse(dewfall: Server, config: dict[str, Any]) -> dict[str, Any]:
    s3 = dewfall.client("s3")
    s3.put_object(Bucket=BUCKET, Key="data/rows.csv", Body="".join(f"{y},{a:g},{b:g},{c:g}\n" for y, (a, b, c) in zip(PAID, ROWS, strict=True)))
    s3.put_object(Bucket=BUCKET, Key="config/analysis_config.json", Body=json.dumps(config))
    root = "/opt/ml/processing"
    inputs = [
        {
            "InputName": name,
            "S3Input": {"S3Uri": f"s3://{BUCKET}/{key}", "LocalPath": f"{root}/input/{path}", "S3DataType": "S3Prefix", "S3InputMode": "File"},
        }
        for name, key, path in (("dataset", "data", "data"), ("analysis_config", "config/analysis_config.json", "config"))
    ]
    output = {"S3Uri": f"s3://{BUCKET}/out", "LocalPath": f"{root}/output", "S3UploadMode": "EndOfJob"}
    dewfall.client("sagemaker").create_processing_job(
        ProcessingJobName="job",
        RoleArn=ROLE,
        AppSpecification={"ImageUri": IMAGE},
        ProcessingInputs=inputs,
        ProcessingOutputConfig={"Outputs": [{"OutputName": "analysis_result", "S3Output": output}]},
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
    )
    return finished(dewfall)


def read(dewfall: Server, key: str) -> bytes:
    body: bytes = dewfall.client("s3").get_object(Bucket=BUCKET, Key=f"out/{key}")["Body"].read()
    return body


def test_a_models_bias_and_explanations(dewfall: Server, booster: Any) -> None:
    import xgboost

    assert analyse(dewfall, CONFIG)["ProcessingJobStatus"] == "Completed"
    found = json.loads(read(dewfall, "analysis.json"))
    scores = booster.predict(xgboost.DMatrix(ROWS))
    women = ROWS[:, 2] == 0
    (dppl,) = found["post_training_bias_metrics"]["facets"]["sex"][0]["metrics"]
    assert dppl["value"] == pytest.approx((scores[~women] > 0.5).mean() - (scores[women] > 0.5).mean())
    own = kernel_shap(lambda rows: booster.predict(xgboost.DMatrix(rows)), ROWS, [[45, 50, 0]])
    told = found["explanations"]["kernel_shap"]["label0"]
    assert list(told["global_shap_values"].values()) == pytest.approx(own.overall()[:, 0].tolist(), abs=1e-5)
    assert len(found["explanations"]["pdp"][0]["model_predictions"][0]) == 4
    assert read(dewfall, "explanations_shap/out.csv").count(b"\n") == 61
    assert read(dewfall, "report.pdf")[:5] == b"%PDF-"
    assert b"Analysis Report" in read(dewfall, "report.html")
    assert dewfall.client("sagemaker").list_endpoints()["Endpoints"] == []
    assert dewfall.client("sagemaker").list_endpoint_configs()["EndpointConfigs"] == []


def test_a_model_that_does_not_exist(dewfall: Server, booster: Any) -> None:
    predictor = CONFIG["predictor"] | {"model_name": "nobody"}
    job = analyse(dewfall, CONFIG | {"predictor": predictor})
    assert job["ProcessingJobStatus"] == "Failed"
    assert "ClientError: The endpoint for model nobody cannot be created" in job["FailureReason"]


def test_a_misspelt_member(dewfall: Server, booster: Any) -> None:
    job = analyse(dewfall, CONFIG | {"facets": []})
    assert job["ProcessingJobStatus"] == "Failed"
    assert "unknown member 'facets'" in job["FailureReason"]
