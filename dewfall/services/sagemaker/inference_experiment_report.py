"""The comparison of an inference experiment's variants: from their CloudWatch metrics to a JSON document and a page in S3.

    <Destination>/<experiment>/comparison.json, comparison.html

Why from the metrics: whoever plots them, or alarms on them, sees the same numbers.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from html import escape
from typing import Any

from dewfall.context import Ctx
from dewfall.services.sagemaker.endpoint_metrics import NAMESPACE, SHADOW_NAMESPACE
from dewfall.services.sagemaker.inference_experiments import source_and_shadow

COUNTS = ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors")
PERCENTILES = ["p50", "p90", "p99"]
STYLE = (
    "body{font:16px sans-serif;margin:3em;max-width:60em}table{border-collapse:collapse}"
    "td,th{padding:.4em 1em;border-bottom:1px solid #ccc;text-align:right}"
)
SHADOW_METRICS = ("Copies", "DroppedCopies", "AnswerAgreement", "AnswerDifference", "LatencyDifference")


def write_report(ctx: Ctx, document: dict[str, Any]) -> None:
    """Write the comparison of an experiment that has run; one without DataStorageConfig has its metrics only."""
    storage = document.get("DataStorageConfig")
    if not storage or "_Since" not in document:
        return
    found = comparison(ctx, document)
    place = f"{storage['Destination'].rstrip('/')}/{document['Name']}/comparison"
    ctx.ports.objects.put(f"{place}.json", json.dumps(found, indent=2).encode(), content_type="application/json")
    ctx.ports.objects.put(f"{place}.html", as_page(found).encode(), content_type="text/html; charset=utf-8")


def comparison(ctx: Ctx, document: dict[str, Any]) -> dict[str, Any]:
    """Requests, errors and latencies (milliseconds) of both variants, and how far the shadow's answers agreed with production's."""
    source, shadow = source_and_shadow(document)
    span = document["_Since"], document.get("CompletionTime", ctx.now())
    endpoint = document["EndpointMetadata"]["EndpointName"]
    beside = {name: _read(ctx, SHADOW_NAMESPACE, name, endpoint, shadow, span) for name in SHADOW_METRICS}
    compared = beside["AnswerAgreement"].get("SampleCount", 0.0)
    return {
        "Experiment": document["Name"],
        "EndpointName": endpoint,
        "StartTime": span[0].isoformat(),
        "EndTime": span[1].isoformat(),
        "ProductionVariant": _variant(ctx, endpoint, source, span),
        "ShadowVariant": _variant(ctx, endpoint, shadow, span),
        "Comparison": {
            "Copies": int(beside["Copies"].get("Sum", 0)),
            "DroppedCopies": int(beside["DroppedCopies"].get("Sum", 0)),
            "Compared": int(compared),
            "AgreementRate": beside["AnswerAgreement"]["Sum"] / compared if compared else None,
            "MeanAnswerDifference": beside["AnswerDifference"].get("Average"),
            "MeanLatencyDifference": _milliseconds(beside["LatencyDifference"].get("Average")),
        },
    }


def as_page(found: dict[str, Any]) -> str:
    """The comparison as an HTML page."""
    left, right = found["ProductionVariant"], found["ShadowVariant"]
    names = [name for name in left if name != "VariantName"]
    rows = "".join(f"<tr><th>{_words(name)}</th><td>{_text(left[name])}</td><td>{_text(right[name])}</td></tr>" for name in names)
    beside = "".join(f"<tr><th>{_words(name)}</th><td>{_text(value)}</td></tr>" for name, value in found["Comparison"].items())
    title = escape(f"Shadow test {found['Experiment']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>'
        f"<p>Endpoint {escape(found['EndpointName'])}, {escape(found['StartTime'])} to {escape(found['EndTime'])}; latencies in milliseconds.</p>"
        f"<table><tr><th></th><th>{escape(left['VariantName'])} (production)</th><th>{escape(right['VariantName'])} (shadow)</th></tr>{rows}</table>"
        f"<h2>The shadow beside production</h2><table>{beside}</table></body></html>\n"
    )


def _variant(ctx: Ctx, endpoint: str, variant: str, span: tuple[datetime, datetime]) -> dict[str, Any]:
    counts = {name: int(_read(ctx, NAMESPACE, name, endpoint, variant, span).get("Sum", 0)) for name in COUNTS}
    latency = _read(ctx, NAMESPACE, "ModelLatency", endpoint, variant, span)
    quantiles = latency.get("ExtendedStatistics", {})
    shown = {f"ModelLatency_{name}": _milliseconds(quantiles.get(name)) for name in PERCENTILES}
    return {"VariantName": variant, **counts, "ModelLatency_mean": _milliseconds(latency.get("Average")), **shown}


def _read(ctx: Ctx, namespace: str, name: str, endpoint: str, variant: str, span: tuple[datetime, datetime]) -> dict[str, Any]:
    """A metric over the whole span as one datapoint; empty where it has none."""
    start, end = span
    minutes = math.ceil((end.timestamp() - start.timestamp() // 60 * 60) / 60) + 1
    wanted = {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        "StartTime": start,
        "EndTime": end,
        "Period": minutes * 60,
        "Statistics": ["Sum", "Average", "SampleCount"],
        "ExtendedStatistics": PERCENTILES,
    }
    points = ctx.call("cloudwatch", "GetMetricStatistics", wanted)["Datapoints"]
    return dict(points[0]) if points else {}


def _milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else round(microseconds / 1000, 3)


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
