"""sagemaker-metrics: points that code logs to a trial component, and their series read back.

Why beside the trial components: a point changes the component's metric summaries in the same transaction.
"""

from __future__ import annotations

from itertools import compress
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.services.registry import operation
from dewfall.services.sagemaker.experiments import COMPONENT, find
from dewfall.services.sagemaker.trial_components import is_a_metric, measure

POINTS = "trial-component-metric"
PERIODS = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600, "IterationNumber": 1}


@operation("sagemaker-metrics", "BatchPutMetrics")
def batch_put_metrics(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Points of a component that is not there, and values that are NaN or infinite, are refused one by one, in an answer that succeeds."""
    with ctx.ports.store.transaction() as tx:
        component = _component(ctx, tx, req["TrialComponentName"])
        good = [component is not None and is_a_metric(point["Value"]) for point in req["MetricData"]]
        errors = [{"Code": "VALIDATION_ERROR", "MetricIndex": index} for index, is_good in enumerate(good) if not is_good]
        if component is None:
            return {"Errors": errors}
        arn = component.document["TrialComponentArn"]
        for point in compress(req["MetricData"], good):
            measure(component.document, arn, point["MetricName"], point["Value"], point["Timestamp"])
            series = _series(ctx, tx, component.key.name, point["MetricName"])
            series.document["Points"].append([point["Timestamp"].timestamp(), point.get("Step"), point["Value"]])
            tx.records.save(series)
        tx.records.save(component)
    return {"Errors": errors}


@operation("sagemaker-metrics", "BatchGetMetrics")
def batch_get_metrics(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"MetricQueryResults": [_answer(ctx, tx, query) for query in req["MetricQueries"]]}


def add_points(ctx: Ctx, component: str, points: dict[str, list[tuple[float, float]]]) -> None:
    """Put (seconds since the epoch, value) of metrics into a component's series; one that is gone gets none."""
    with ctx.ports.store.transaction() as tx:
        found = find(ctx, tx, COMPONENT, component)
        if found is None:
            return
        for name, values in points.items():
            series = _series(ctx, tx, found.key.name, name)
            series.document["Points"] += [[at, None, value] for at, value in values]
            tx.records.save(series)


def reduce_points(values: list[float], stat: str) -> float:
    """One statistic of the values that fall into one period."""
    mean = sum(values) / len(values)
    if stat == "StdDev":
        return float((sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5)
    return float({"Min": min(values), "Max": max(values), "Avg": mean, "Count": len(values), "Last": values[-1]}[stat])


def _answer(ctx: Ctx, tx: Tx, query: dict[str, Any]) -> dict[str, Any]:
    name = query["ResourceArn"].rsplit("/", 1)[-1]
    component = _component(ctx, tx, name)
    if component is None:
        return {"Status": "ValidationError", "Message": f"Trial Component '{name}' does not exist.", "XAxisValues": [], "MetricValues": []}
    record = tx.records.get(_key(ctx, component.key.name, query["MetricName"]))
    by_step = query["XAxisType"] == "IterationNumber"
    period = PERIODS[query["Period"]]
    groups: dict[int, list[float]] = {}
    for at, step, value in sorted(record.document["Points"], key=lambda point: point[0]) if record else ():
        place = step if by_step else int(at // period * period)
        if place is not None and query.get("Start", place) <= place <= query.get("End", place):
            groups.setdefault(place, []).append(value)
    places = sorted(groups)
    return {"Status": "Complete", "XAxisValues": places, "MetricValues": [reduce_points(groups[p], query["MetricStat"]) for p in places]}


def _component(ctx: Ctx, tx: Tx, name: str) -> Record | None:
    """A trial component by its name in lower case, the only form this service takes; older data folders have capitals in keys."""
    exact = find(ctx, tx, COMPONENT, name)
    if exact is not None:
        return exact
    return next((c for c in tx.records.list(ctx.account, ctx.region, "sagemaker", COMPONENT) if c.key.name.lower() == name.lower()), None)


def _series(ctx: Ctx, tx: Tx, component: str, metric: str) -> Record:
    key = _key(ctx, component, metric)
    return tx.records.get(key) or tx.records.create(Record(key, {"Points": []}, parent=component))


def _key(ctx: Ctx, component: str, metric: str) -> Key:
    return Key(ctx.account, ctx.region, "sagemaker", POINTS, f"{component}/{metric}")
