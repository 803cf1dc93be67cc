"""ExplainerConfig: what of it can be served, and how a replica with Clarify's explainer is started.

The explaining itself is images/explainer, on the other side of the container contract: here are only its configuration and its baseline.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AgentSpec, Channel, FileLink
from dewfall.errors import AwsError, not_built, validation
from dewfall.services.sagemaker.models import s3_uri

CONFIG_FILE = "/opt/ml/explainer/config.json"
BASELINE_FOLDER, BASELINE = "/opt/ml/explainer/given", "baseline"
MIME_TYPES = ("text/csv", "application/jsonlines")
MODULE = "dewfall.images.explainer"
UNSUPPORTED = "One or more endpoint features are not supported using this configuration."


def check_explainer(req: dict[str, Any]) -> None:
    """Raise unless the configuration's ExplainerConfig, if it has one, can be served."""
    if not req.get("ExplainerConfig"):
        return
    clarify = req["ExplainerConfig"].get("ClarifyExplainerConfig")
    if not clarify:
        raise validation("ClarifyExplainerConfig is required in ExplainerConfig.")
    if req.get("AsyncInferenceConfig") or any(variant.get("ServerlessConfig") for variant in req["ProductionVariants"]):
        raise validation(UNSUPPORTED)
    if req.get("ShadowProductionVariants") or not all(variant.get("ModelName") for variant in req["ProductionVariants"]):
        raise validation(UNSUPPORTED)
    _check_baseline(clarify["ShapConfig"]["ShapBaselineConfig"])
    _check_features(clarify)


def check_explained_model(model: dict[str, Any]) -> None:
    """Raise unless an explainer can be put before this model."""
    if len(model.get("Containers") or ()) > 1:
        raise not_built("online explainability of pipelines of containers")


def explainer_summary(document: dict[str, Any]) -> dict[str, Any]:
    """ExplainerConfig in DescribeEndpoint; empty where the endpoint has no explainer."""
    config = (document.get("_Fleet") or document.get("_Incoming") or {}).get("Explainer")
    return {"ExplainerConfig": config} if config else {}


def with_explainer(ctx: Ctx, spec: AgentSpec, config: dict[str, Any]) -> AgentSpec:
    """The spec of a replica whose model is asked through the explainer. Raises AwsError for a baseline or expression that cannot be used."""
    clarify = config["ClarifyExplainerConfig"]
    _check_expression(clarify.get("EnableExplanations"))
    files = {CONFIG_FILE: json.dumps(clarify)}
    channels = spec.channels
    source = clarify["ShapConfig"]["ShapBaselineConfig"]
    if source.get("ShapBaseline"):
        files[f"{BASELINE_FOLDER}/{BASELINE}"] = source["ShapBaseline"]
    else:
        channels = (*channels, _baseline_channel(ctx, source["ShapBaselineUri"]))
    environment = spec.environment | {"DEWFALL_EXPLAINER": CONFIG_FILE, "DEWFALL_EXPLAINER_BASELINE": f"{BASELINE_FOLDER}/{BASELINE}"}
    if spec.port:  # the model keeps its own, the explainer listens beside it
        environment["DEWFALL_MODEL_PORT"] = str(spec.port)
    return dataclasses.replace(
        spec,
        command=(sys.executable, "-m", MODULE, *spec.command),
        environment=environment,
        files=spec.files | files,
        channels=channels,
        port=spec.port + 1 if spec.port else 0,
        preload="",
    )


def _check_baseline(source: dict[str, Any]) -> None:
    inline, uri = source.get("ShapBaseline"), source.get("ShapBaselineUri")
    if bool(inline) == bool(uri):
        raise validation("Exactly one of ShapBaseline and ShapBaselineUri must be specified in ShapBaselineConfig.")
    if uri and not s3_uri(uri).startswith("s3://"):
        raise validation(f"The S3 URI '{uri}' of ShapBaselineUri is not valid. It must have the form s3://bucket/key.")
    if source.get("MimeType") and source["MimeType"] not in MIME_TYPES:
        raise validation(f"MimeType '{source['MimeType']}' of ShapBaselineConfig is not one of {', '.join(MIME_TYPES)}.")


def _check_features(clarify: dict[str, Any]) -> None:
    inference = clarify.get("InferenceConfig") or {}
    headers, types = inference.get("FeatureHeaders"), inference.get("FeatureTypes")
    if types and "text" not in types:
        raise validation("FeatureTypes must have at least one 'text' feature.")
    if types and not clarify["ShapConfig"].get("TextConfig"):
        raise validation("TextConfig is required in ShapConfig when FeatureTypes has 'text' features.")
    if headers and types and len(headers) != len(types):
        raise validation(f"FeatureHeaders has {len(headers)} members, but FeatureTypes has {len(types)}.")


def _check_expression(expression: str | None) -> None:
    import jmespath

    try:
        jmespath.compile(expression or "`true`")
    except jmespath.exceptions.JMESPathError as error:
        raise validation(f"EnableExplanations '{expression}' is not a valid JMESPath expression: {error}") from None


def _baseline_channel(ctx: Ctx, uri: str) -> Channel:
    try:
        stored = ctx.ports.objects.get(s3_uri(uri))
    except AwsError:
        stored = None
    if stored is None:
        raise validation(f'Failed to download the SHAP baseline from URL: "{uri}". Please ensure that there is an object located at the URL.')
    return Channel("explainer", BASELINE_FOLDER, "FastFile", (FileLink(BASELINE, str(stored.path), stored.size),))
