"""Optimization jobs: create, describe, list, stop, delete. A quantization to ONNX is what is built.

Settings come as AWS's do, in the environment of the quantization: OPTION_QUANTIZE, OPTION_FRAMEWORK, OPTION_DATASET, OPTION_SHAPE.
"""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.errors import not_built, validation
from dewfall.services.registry import operation
from dewfall.services.sagemaker.conversion_jobs import create_job, delete_job, describe_job, list_jobs, stop_job
from dewfall.services.sagemaker.model_conversion import OPTIMIZATION as KIND
from dewfall.services.sagemaker.model_conversion import check_libraries, check_object, source_of_model
from dewfall.services.sagemaker.models import s3_uri

METHODS = ("dynamic-int8", "static-int8", "fp16", "none")
NOT_BUILT = {
    "ModelCompilationConfig": "compilation for accelerators",
    "ModelShardingConfig": "sharding",
    "ModelSpeculativeDecodingConfig": "speculative decoding",
}
KEPT_MEMBERS = (
    "OptimizationJobName", "RoleArn", "ModelSource", "DeploymentInstanceType", "MaxInstanceCount", "OptimizationEnvironment",
    "OptimizationConfigs", "OutputConfig", "StoppingCondition", "VpcConfig",
)  # fmt: skip
SUMMARY = (
    "OptimizationJobName", "OptimizationJobArn", "CreationTime", "OptimizationJobStatus", "OptimizationStartTime", "OptimizationEndTime",
    "LastModifiedTime", "DeploymentInstanceType", "MaxInstanceCount",
)  # fmt: skip


@operation("sagemaker", "CreateOptimizationJob")
def create_optimization_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    settings = _settings(req)
    check_libraries()
    return create_job(ctx, KIND, req, KEPT_MEMBERS, lambda tx: _work(ctx, tx, req, settings))


@operation("sagemaker", "DescribeOptimizationJob")
def describe_optimization_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return describe_job(ctx, KIND, req)


@operation("sagemaker", "ListOptimizationJobs")
def list_optimization_jobs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return list_jobs(ctx, KIND, req, _summary)


@operation("sagemaker", "StopOptimizationJob")
def stop_optimization_job(ctx: Ctx, req: dict[str, Any]) -> None:
    stop_job(ctx, KIND, req)


@operation("sagemaker", "DeleteOptimizationJob")
def delete_optimization_job(ctx: Ctx, req: dict[str, Any]) -> None:
    delete_job(ctx, KIND, req)


def _settings(req: dict[str, Any]) -> dict[str, str]:
    """The settings of the one quantization. Raises AwsError for what is not built."""
    configs = req["OptimizationConfigs"]
    for config in configs:
        for member, what in NOT_BUILT.items():
            if config.get(member):
                raise not_built(f"{what} (it quantizes models to ONNX: ModelQuantizationConfig)")
    if len(configs) != 1 or "ModelQuantizationConfig" not in configs[0]:
        raise validation("Exactly one ModelQuantizationConfig must be specified in OptimizationConfigs.")
    settings = {**req.get("OptimizationEnvironment", {}), **configs[0]["ModelQuantizationConfig"].get("OverrideEnvironment", {})}
    if settings.get("OPTION_QUANTIZE", "none") not in METHODS:
        raise validation(f"OPTION_QUANTIZE {settings['OPTION_QUANTIZE']} is not supported. Dewfall has {', '.join(METHODS)}.")
    if settings.get("OPTION_QUANTIZE") == "static-int8" and not settings.get("OPTION_DATASET"):
        raise validation("OPTION_QUANTIZE static-int8 needs OPTION_DATASET, CSV files in S3 by which the ranges of activations are found.")
    return settings


def _work(ctx: Ctx, tx: Tx, req: dict[str, Any], settings: dict[str, str]) -> dict[str, Any]:
    source = req["ModelSource"]
    if bool(source.get("S3")) == bool(source.get("SageMakerModel")):
        raise validation("Exactly one of S3 or SageMakerModel must be specified in ModelSource.")
    if source.get("S3"):
        archive, framework = s3_uri(source["S3"]["S3Uri"]), ""
    else:
        archive, framework = source_of_model(ctx, tx, source["SageMakerModel"]["ModelName"])
    try:
        shape = [int(one) for one in json.loads(settings.get("OPTION_SHAPE", "[]"))]
    except (ValueError, TypeError):
        raise validation("OPTION_SHAPE must be a JSON list: the shape of one row, for example [4].") from None
    method = settings.get("OPTION_QUANTIZE", "none")
    return {
        "Archive": check_object(ctx, archive),
        "Framework": settings.get("OPTION_FRAMEWORK", framework),
        "Quantize": "" if method == "none" else method,
        "Dataset": s3_uri(settings.get("OPTION_DATASET", "")),
        "Shape": shape,
        "Target": f"{s3_uri(req['OutputConfig']['S3OutputLocation']).rstrip('/')}/model.tar.gz",
        "ModelName": req["OutputConfig"].get("SageMakerModel", {}).get("ModelName", ""),
    }


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    return {**{member: document[member] for member in SUMMARY if member in document}, "OptimizationTypes": ["Quantization"]}
