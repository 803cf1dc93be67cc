"""Data capture of transform jobs: manifests that name the inputs and outputs, by the hour in which the job began.

Why no copies: as on AWS, the objects themselves are the captured data.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import validation
from dewfall.services.sagemaker.models import s3_uri

STAMPED = ("text/csv", "application/json", "application/jsonlines")


def check_capture(req: dict[str, Any], accept: str) -> None:
    """Raise unless the job's data can be captured."""
    config = req.get("DataCaptureConfig")
    if not config:
        return
    if not s3_uri(config["DestinationS3Uri"]).startswith("s3://"):
        raise validation(f"The S3 URI '{config['DestinationS3Uri']}' of DataCaptureConfig is not valid. It must have the form s3://bucket/prefix.")
    if config.get("GenerateInferenceId") and accept and accept not in STAMPED:
        raise validation(f"GenerateInferenceId requires an output among {', '.join(STAMPED)}; Accept is '{accept}'.")


def put_manifests(ctx: Ctx, document: dict[str, Any], inputs: list[str], outputs: list[str]) -> None:
    """Write both manifests; again after a crash, under the same names."""
    config = document.get("DataCaptureConfig")
    if not config or not outputs:
        return
    began: datetime = document.get("TransformStartTime") or document["CreationTime"]
    name = f"{began:%M-%S}-{began.microsecond // 1000:03d}-{uuid.uuid5(uuid.NAMESPACE_URL, document['TransformJobArn'] + began.isoformat())}.json"
    for side, uris in (("input", inputs), ("output", outputs)):
        target = f"{s3_uri(config['DestinationS3Uri']).rstrip('/')}/{side}/{began:%Y/%m/%d/%H}/{name}"
        ctx.ports.objects.put(target, json.dumps(manifest(uris)).encode(), content_type="application/json")


def manifest(uris: list[str]) -> list[Any]:
    """A manifest of these objects.

    >>> manifest(["s3://b/in/a.csv", "s3://b/in/x/b.csv"])
    [{'prefix': 's3://b/in/'}, 'a.csv', 'x/b.csv']
    """
    first, last = min(uris), max(uris)
    common = next((first[:n] for n in range(len(first)) if first[n] != last[n : n + 1]), first)
    prefix = common[: common.rfind("/") + 1]
    return [{"prefix": prefix}, *(uri.removeprefix(prefix) for uri in uris)]
