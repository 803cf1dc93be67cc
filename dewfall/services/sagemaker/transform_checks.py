"""What CreateTransformJob refuses before anything is recorded: AWS's synchronous checks, and what Dewfall has not built.

Why here and not in the step: a wrong request must be answered with an error, not with a job that fails later.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError, validation
from dewfall.rules import json_filters
from dewfall.services.sagemaker.input_sources import nothing_found
from dewfall.services.sagemaker.models import load_model, model_role, s3_uri
from dewfall.services.sagemaker.quotas import check_instances, instances_of
from dewfall.services.sagemaker.transform_capture import check_capture

LARGEST = 100  # megabytes under way at once
BINARY = ("RecordIO", "TFRecord")
FORMATS = ("text/csv", "application/json", "application/jsonlines")


def check_request(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Raise the AwsError that AWS answers to a wrong request; the model's document."""
    with ctx.ports.store.reading() as tx:
        model = load_model(ctx, tx, req["ModelName"]).document
    _check_images(ctx, containers_of(model))
    check_instances(ctx, "transform job", instances_of(req["TransformResources"]))
    _check_size(req)
    _check_processing(req)
    check_capture(req, _media(req["TransformOutput"].get("Accept")))
    output = req["TransformOutput"]["S3OutputPath"]
    if not s3_uri(output).startswith("s3://"):
        raise validation(f"The S3 URI '{output}' of TransformOutput is not valid. It must have the form s3://bucket/prefix.")
    _check_input(ctx, req, model_role(ctx, model))
    return model


def containers_of(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers of a model, in the order of an inference pipeline."""
    containers: list[dict[str, Any]] = model.get("Containers") or [model["PrimaryContainer"]]
    return containers


def _check_images(ctx: Ctx, containers: list[dict[str, Any]]) -> None:
    from dewfall.engine.runtimes import find_runtime

    for container in containers:
        if container["Mode"] == "MultiModel":
            raise validation("Multi-model containers are not supported by batch transform.")
        if not find_runtime(container["Image"], ctx.ports.settings).serve_command:
            raise validation(f"The image {container['Image']} cannot serve a model here.")


def _check_size(req: dict[str, Any]) -> None:
    size, count = req.get("MaxPayloadInMB"), req.get("MaxConcurrentTransforms")
    if (size or 0) * max(1, count or 0) > LARGEST:
        raise validation(f"The product of MaxConcurrentTransforms and MaxPayloadInMB must not exceed {LARGEST} MB.")


def _check_processing(req: dict[str, Any]) -> None:
    processing = req.get("DataProcessing", {})
    filters = {member: processing.get(member) or "$" for member in ("InputFilter", "OutputFilter")}
    for member, path in filters.items():
        try:
            json_filters.parse(path)
        except ValueError as error:
            raise validation(f"Invalid {member} of DataProcessing: {error}.") from None
    kind, accept = _media(req["TransformInput"].get("ContentType")), _media(req["TransformOutput"].get("Accept"))
    join = processing.get("JoinSource") == "Input"
    if (join or filters["InputFilter"] != "$") and kind not in FORMATS:
        raise validation(f"DataProcessing requires a ContentType among {', '.join(FORMATS)}; it is '{kind}'.")
    if (join or filters["OutputFilter"] != "$") and accept and accept not in FORMATS:
        raise validation(f"DataProcessing requires an Accept among {', '.join(FORMATS)}; it is '{accept}'.")
    split = req["TransformInput"].get("SplitType", "None")
    if join and split in BINARY:
        raise validation(f"JoinSource Input requires input files in JSON or CSV format; the SplitType is {split}.")
    if join and accept and (kind == "text/csv") != (accept == "text/csv"):
        raise validation(f"JoinSource Input requires that input and output have the same format; they are '{kind}' and '{accept}'.")


def _check_input(ctx: Ctx, req: dict[str, Any], role: str) -> None:
    source = req["TransformInput"]["DataSource"]["S3DataSource"]
    uri = s3_uri(source["S3Uri"])
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise validation(f"S3DataType {source['S3DataType']} is not supported by transform jobs. Use S3Prefix or ManifestFile.")
    if not uri.startswith("s3://"):
        raise validation(f"The S3 URI '{source['S3Uri']}' of TransformInput is not valid. It must have the form s3://bucket/key.")
    try:
        if next(iter(ctx.ports.objects.list(uri)), None) is not None:
            return
        why = ""
    except AwsError as error:
        why = f" Error message from S3: {error.message}"
    raise validation(nothing_found(ctx.region, uri, role) + why)


def _media(header: str | None) -> str:
    return (header or "").split(";")[0].strip().lower()
