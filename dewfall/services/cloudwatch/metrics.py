"""ListMetrics: which metrics have had points in the last two weeks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import Metric, dump_dimensions
from dewfall.services.cloudwatch.faults import page_of
from dewfall.services.common import with_token
from dewfall.services.registry import operation

LISTED = timedelta(days=14)
RECENT = timedelta(hours=3)
PAGE = 500


@operation("cloudwatch", "ListMetrics")
def list_metrics(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    since = int((ctx.now() - (RECENT if req.get("RecentlyActive") else LISTED)).timestamp())
    found = ctx.ports.series.metrics(ctx.account, ctx.region, req.get("Namespace"), since=since)
    kept = [metric for metric in found if _is_asked_for(metric, req)]
    shown, token = page_of(kept, req, _key, default=PAGE, models_token=False)
    return with_token({"Metrics": [_shown(metric) for metric in shown]}, token)


def _is_asked_for(metric: Metric, req: dict[str, Any]) -> bool:
    if req.get("MetricName") and metric.name != req["MetricName"]:
        return False
    wanted = req.get("Dimensions", ())
    return all(item["Name"] in metric.dimensions and item.get("Value") in (None, metric.dimensions[item["Name"]]) for item in wanted)


def _key(metric: Metric) -> str:
    return f"{metric.namespace}\n{metric.name}\n{dump_dimensions(metric.dimensions)}"


def _shown(metric: Metric) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions.items()]
    return {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}
