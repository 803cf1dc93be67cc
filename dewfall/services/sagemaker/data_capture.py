"""DataCaptureConfig: from an endpoint configuration to the router's rule and to what DescribeEndpoint says.

What is captured is written down by engine/serving/capture.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dewfall.engine.serving.capture import media_types
from dewfall.engine.serving.table import CaptureRule
from dewfall.services.sagemaker.models import s3_uri


def capture_rule(fleet: dict[str, Any]) -> CaptureRule | None:
    """What the router captures of a fleet's requests; None where nothing."""
    config = fleet.get("DataCapture")
    if config is None or not config["EnableCapture"] or not config["InitialSamplingPercentage"]:
        return None
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    types = config.get("CaptureContentTypeHeader", {})
    return CaptureRule(
        percentage=float(config["InitialSamplingPercentage"]),
        destination=s3_uri(config["DestinationS3Uri"]),
        takes_input=bool(modes & {"Input", "InputAndOutput"}),
        takes_output=bool(modes & {"Output", "InputAndOutput"}),
        csv_types=media_types(types.get("CsvContentTypes", ())),
        json_types=media_types(types.get("JsonContentTypes", ())),
    )


def capture_summary(document: dict[str, Any]) -> dict[str, Any]:
    """DataCaptureConfig in DescribeEndpoint; empty where the endpoint has none."""
    config = (document.get("_Fleet") or document.get("_Incoming") or {}).get("DataCapture")
    if config is None:
        return {}
    serves = "_Fleet" in document and config["EnableCapture"]
    summary = {
        "EnableCapture": config["EnableCapture"],
        "CaptureStatus": "Started" if serves else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }
    return {"DataCaptureConfig": summary}


def retain_capture(fleet: dict[str, Any], old: dict[str, Any], excluded: Iterable[dict[str, Any]]) -> None:
    """RetainAllVariantProperties: the new fleet captures as the old one does, unless DataCaptureConfig is excluded."""
    if "DataCaptureConfig" in {item["VariantPropertyType"] for item in excluded}:
        return
    fleet.pop("DataCapture", None)
    if "DataCapture" in old:
        fleet["DataCapture"] = old["DataCapture"]
