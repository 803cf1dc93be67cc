"""AsyncInferenceConfig: what of it can be served, and what DescribeEndpoint says of it.

Why apart from async_inference.py: configurations are read by everything about endpoints, invocations need all of that.
"""

from __future__ import annotations

from typing import Any

from dewfall.errors import validation
from dewfall.services.sagemaker.models import s3_uri


def check_async(req: dict[str, Any]) -> None:
    """Raise unless the configuration's AsyncInferenceConfig, if it has one, can be served."""
    config = req.get("AsyncInferenceConfig")
    if not config:
        return
    if any(variant.get("ServerlessConfig") for variant in req["ProductionVariants"]) or req.get("ShadowProductionVariants"):
        raise validation("One or more endpoint features are not supported using this configuration.")
    for member in ("S3OutputPath", "S3FailurePath"):
        path = config["OutputConfig"].get(member)
        if path and not s3_uri(path).startswith("s3://"):
            raise validation(f"The S3 URI '{path}' of {member} is not valid. It must have the form s3://bucket/prefix.")
    if not config["OutputConfig"].get("S3OutputPath") and not config["OutputConfig"].get("NotificationConfig"):
        raise validation("S3OutputPath or NotificationConfig is required in OutputConfig of AsyncInferenceConfig.")


def check_async_model(model: dict[str, Any]) -> None:
    """Raise for a model whose requests must name a model or a container: InvokeEndpointAsync has no member for that."""
    containers = model.get("Containers") or [model["PrimaryContainer"]]
    is_direct = model.get("InferenceExecutionConfig", {}).get("Mode") == "Direct"
    if is_direct or any(container.get("Mode") == "MultiModel" for container in containers):
        raise validation("One or more endpoint features are not supported using this configuration.")


def check_async_stays(name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Refuse an update after which nobody would answer the requests that wait."""
    if "Async" in old and "Async" not in new:
        raise validation(
            f"The AsyncInferenceConfig parameter cannot be removed from this endpoint {name}. For an endpoint of another type, create a new one."
        )


def async_summary(document: dict[str, Any]) -> dict[str, Any]:
    """AsyncInferenceConfig in DescribeEndpoint; empty where the endpoint answers at once."""
    config = (document.get("_Fleet") or document.get("_Incoming") or {}).get("Async")
    return {"AsyncInferenceConfig": config} if config else {}
