"""Compilation jobs: create, describe, list, stop, delete. For processors of this kind a model is converted to ONNX; other targets are refused.

Why ONNX: onnxruntime compiles the graph for the processor that it finds, when the model is loaded.
"""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import not_built, validation
from dewfall.services.registry import operation
from dewfall.services.sagemaker.conversion_jobs import create_job, delete_job, describe_job, list_jobs, stop_job
from dewfall.services.sagemaker.model_conversion import COMPILATION as KIND
from dewfall.services.sagemaker.model_conversion import check_libraries, check_object
from dewfall.services.sagemaker.models import s3_uri

TARGETS = ("ml_c4", "ml_c5", "ml_m4", "ml_m5")
FRAMEWORKS = {"XGBOOST": "xgboost", "SKLEARN": "sklearn", "PYTORCH": "pytorch", "ONNX": "onnx"}
KEPT_MEMBERS = ("CompilationJobName", "RoleArn", "ModelPackageVersionArn", "InputConfig", "OutputConfig", "VpcConfig", "StoppingCondition")
SUMMARY = (
    "CompilationJobName", "CompilationJobArn", "CreationTime", "CompilationStartTime", "CompilationEndTime", "LastModifiedTime",
    "CompilationJobStatus",
)  # fmt: skip


@operation("sagemaker", "CreateCompilationJob")
def create_compilation_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    work = _work(ctx, req)
    check_libraries()
    return create_job(ctx, KIND, req, KEPT_MEMBERS, lambda tx: work, FailureReason="", ModelArtifacts={"S3ModelArtifacts": ""})


@operation("sagemaker", "DescribeCompilationJob")
def describe_compilation_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return describe_job(ctx, KIND, req)


@operation("sagemaker", "ListCompilationJobs")
def list_compilation_jobs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return list_jobs(ctx, KIND, req, _summary)


@operation("sagemaker", "StopCompilationJob")
def stop_compilation_job(ctx: Ctx, req: dict[str, Any]) -> None:
    stop_job(ctx, KIND, req)


@operation("sagemaker", "DeleteCompilationJob")
def delete_compilation_job(ctx: Ctx, req: dict[str, Any]) -> None:
    delete_job(ctx, KIND, req)


def _work(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """What is to be done. Raises AwsError for other targets and frameworks."""
    given, output = req.get("InputConfig"), req["OutputConfig"]
    if not given:
        raise not_built("the compilation of model packages (give an InputConfig)")
    target = _target(output)
    if given["Framework"] not in FRAMEWORKS:
        raise not_built(f"the compilation of {given['Framework']} models (it has {', '.join(FRAMEWORKS)})")
    archive = check_object(ctx, s3_uri(given["S3Uri"]))
    stem = archive.rpartition("/")[2].removesuffix(".tar.gz")
    return {
        "Archive": archive,
        "Framework": FRAMEWORKS[given["Framework"]],
        "Shape": _shape(given.get("DataInputConfig")),
        "Target": f"{s3_uri(output['S3OutputLocation']).rstrip('/')}/{stem}-{target}.tar.gz",
    }


def _target(output: dict[str, Any]) -> str:
    device, platform = output.get("TargetDevice"), output.get("TargetPlatform")
    if bool(device) == bool(platform):
        raise validation("Exactly one of TargetDevice or TargetPlatform must be specified in OutputConfig.")
    if device in TARGETS:
        return str(device)
    if platform and (platform["Os"], platform["Arch"], platform.get("Accelerator")) == ("LINUX", "X86_64", None):
        return "LINUX_X86_64"
    named = device or " ".join(str(one) for one in (platform or {}).values())
    raise not_built(f"compilation for {named} (it compiles for {', '.join(TARGETS)} and for LINUX X86_64)")


def _shape(text: str | None) -> list[int]:
    """The shape of one row in a DataInputConfig: {"input": [1, 4]}, or [[1, 4]] of XGBoost and PyTorch; the first number counts rows."""
    if not text:
        return []
    try:
        given = json.loads(text.replace("'", '"'))
        first = next(iter(given.values())) if isinstance(given, dict) else given[0]
        shape = first.get("shape") if isinstance(first, dict) else first
        return [int(one) for one in shape or ()][1:]
    except (ValueError, TypeError, LookupError, StopIteration, AttributeError):
        raise validation(f'Invalid DataInputConfig: {text}. It must name the shape of the input, for example {{"input": [1, 4]}}.') from None


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    shown = {member: document[member] for member in SUMMARY if member in document}
    output = document["OutputConfig"]
    if output.get("TargetDevice"):
        shown["CompilationTargetDevice"] = output["TargetDevice"]
    platform = output.get("TargetPlatform", {})
    return shown | {f"CompilationTargetPlatform{member}": value for member, value in platform.items()}
