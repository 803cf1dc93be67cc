"""Optimization and compilation jobs through a real client: models become ONNX, are measured and served."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from .conftest import BUCKET, ROLE

if TYPE_CHECKING:
    from .conftest import Hosting

ROWS = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
LABELS = (ROWS[:, 0] > 0).astype(int)
SOURCE = f"s3://{BUCKET}/trained.tar.gz"


def archive(hosting: Hosting, name: str, body: bytes) -> None:
    """A model's archive, and the data set it is tried on."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        member = tarfile.TarInfo(name)
        member.size = len(body)
        packed.addfile(member, io.BytesIO(body))
    hosting.s3.put_object(Bucket=BUCKET, Key="trained.tar.gz", Body=buffer.getvalue())
    text = "\n".join(",".join(map(str, [label, *row])) for label, row in zip(LABELS, ROWS, strict=True))
    hosting.s3.put_object(Bucket=BUCKET, Key="data/test.csv", Body=text.encode())


def ended(describe: Callable[[], dict[str, Any]], member: str) -> dict[str, Any]:
    end = time.monotonic() + 100
    while time.monotonic() < end:
        found = describe()
        if found[member] in ("COMPLETED", "FAILED", "STOPPED"):
            return found
        threading.Event().wait(0.2)
    raise AssertionError(f"still {found[member]}")


def optimize(hosting: Hosting, **members: Any) -> None:
    environment = {"OPTION_QUANTIZE": "static-int8", "OPTION_DATASET": f"s3://{BUCKET}/data/"} | members.pop("environment", {})
    given: dict[str, Any] = {
        "OptimizationJobName": "job",
        "RoleArn": ROLE,
        "ModelSource": {"S3": {"S3Uri": SOURCE}},
        "DeploymentInstanceType": "ml.g5.xlarge",
        "OptimizationConfigs": [{"ModelQuantizationConfig": {"OverrideEnvironment": environment}}],
        "OutputConfig": {"S3OutputLocation": f"s3://{BUCKET}/small"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        **members,
    }
    hosting.sagemaker.create_optimization_job(**given)


def compiled(hosting: Hosting, framework: str, **output: Any) -> None:
    hosting.sagemaker.create_compilation_job(
        CompilationJobName="job",
        RoleArn=ROLE,
        InputConfig={"S3Uri": SOURCE, "Framework": framework, "DataInputConfig": '{"input": [1, 4]}'},
        OutputConfig={"S3OutputLocation": f"s3://{BUCKET}/compiled", **(output or {"TargetDevice": "ml_c5"})},
        StoppingCondition={"MaxRuntimeInSeconds": 300},
    )


def report(hosting: Hosting, key: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(hosting.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    return told


@pytest.mark.filterwarnings("ignore")
def test_a_network_is_quantized_measured_and_served(hosting: Hosting) -> None:
    for library in ("onnxruntime", "onnxmltools", "skl2onnx"):
        pytest.importorskip(library)
    import joblib
    from sklearn.neural_network import MLPRegressor

    network = MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=60, random_state=0).fit(ROWS, LABELS)
    buffer = io.BytesIO()
    joblib.dump(network, buffer)
    archive(hosting, "model.joblib", buffer.getvalue())
    optimize(hosting, OutputConfig={"S3OutputLocation": f"s3://{BUCKET}/small", "SageMakerModel": {"ModelName": "model"}})
    found = ended(lambda: hosting.sagemaker.describe_optimization_job(OptimizationJobName="job"), "OptimizationJobStatus")
    assert found["OptimizationJobStatus"] == "COMPLETED", found
    told = report(hosting, "small/job-report.json")
    assert told["Quantized"]["Size"] < told["Onnx"]["Size"]
    assert told["Onnx"]["MetricAfter"] == pytest.approx(told["Onnx"]["MetricBefore"])
    assert abs(told["Quantized"]["MetricAfter"] - told["Quantized"]["MetricBefore"]) < 0.05
    hosting.config()
    assert hosting.endpoint()["EndpointStatus"] == "InService"
    body = ",".join(map(str, ROWS[0])).encode()
    answer = hosting.runtime.invoke_endpoint(EndpointName="endpoint", Body=body, ContentType="text/csv", Accept="application/json")
    assert json.loads(answer["Body"].read())[0] == pytest.approx(network.predict(ROWS[:1])[0], abs=0.1)
    hosting.sagemaker.delete_optimization_job(OptimizationJobName="job")
    assert hosting.sagemaker.list_optimization_jobs()["OptimizationJobSummaries"] == []


def test_a_booster_is_compiled_for_processors(hosting: Hosting) -> None:
    for library in ("onnxruntime", "onnxmltools", "skl2onnx"):
        pytest.importorskip(library)
    import xgboost

    trained = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(ROWS, LABELS), 5)
    archive(hosting, "xgboost-model", bytes(trained.save_raw("ubj")))
    compiled(hosting, "XGBOOST")
    found = ended(lambda: hosting.sagemaker.describe_compilation_job(CompilationJobName="job"), "CompilationJobStatus")
    assert found["CompilationJobStatus"] == "COMPLETED", found
    assert found["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/compiled/trained-ml_c5.tar.gz"
    assert found["InferenceImage"] == "dewfall/onnx:1"
    (listed,) = hosting.sagemaker.list_compilation_jobs()["CompilationJobSummaries"]
    assert listed["CompilationTargetDevice"] == "ml_c5"


def test_a_converter_that_is_wrong_fails_the_job(hosting: Hosting) -> None:
    for library in ("onnxruntime", "onnxmltools", "skl2onnx"):
        pytest.importorskip(library)
    archive(hosting, "xgboost-model", b"this is no model")
    optimize(hosting, environment={"OPTION_FRAMEWORK": "xgboost"})
    found = ended(lambda: hosting.sagemaker.describe_optimization_job(OptimizationJobName="job"), "OptimizationJobStatus")
    assert found["OptimizationJobStatus"] == "FAILED"
    assert found["FailureReason"].startswith("ClientError: InputConfiguration: Unable to load provided XGBoost model. Error: ")
    assert "Stack trace" not in found["FailureReason"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"OptimizationConfigs": [{"ModelShardingConfig": {"Image": "x"}}]}, "has not built sharding"),
        ({"environment": {"OPTION_QUANTIZE": "awq"}}, "OPTION_QUANTIZE awq is not supported"),
        ({"environment": {"OPTION_DATASET": ""}}, "needs OPTION_DATASET"),
    ],
)
def test_other_optimizations_are_refused(hosting: Hosting, members: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError) as caught:
        optimize(hosting, **members)
    assert said in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("framework", "output", "said"),
    [
        ("XGBOOST", {"TargetDevice": "jetson_nano"}, "compilation for jetson_nano"),
        ("XGBOOST", {"TargetPlatform": {"Os": "LINUX", "Arch": "ARM64"}}, "compilation for LINUX ARM64"),
        ("TENSORFLOW", {}, "compilation of TENSORFLOW models"),
    ],
)
def test_other_targets_are_refused(hosting: Hosting, framework: str, output: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError) as caught:
        compiled(hosting, framework, **output)
    assert said in caught.value.response["Error"]["Message"]


def test_missing_jobs_are_not_found(hosting: Hosting) -> None:
    with pytest.raises(hosting.sagemaker.exceptions.ResourceNotFound):
        hosting.sagemaker.describe_compilation_job(CompilationJobName="none")
    with pytest.raises(hosting.sagemaker.exceptions.ResourceNotFound):
        hosting.sagemaker.describe_optimization_job(OptimizationJobName="none")
