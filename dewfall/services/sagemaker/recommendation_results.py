"""From the tests of an inference recommendations job to what AWS's operations show of them."""

from __future__ import annotations

from typing import Any

from dewfall.context import new_id
from dewfall.rules.instances import find_instance
from dewfall.rules.recommendation import best_level, cost_per_hour, cost_per_inference, keeps, ranked, serverless_cost

VARIANT = "AllTraffic"
MOST = 10  # recommendations
ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
TIMES = ("InvocationStartTime", "InvocationEndTime")


def measured(test: dict[str, Any], conditions: dict[str, Any], usage: list[list[float]], prices: dict[str, Any]) -> dict[str, Any] | None:
    """A test's Metrics: at the level of load that serves most, in the prices of the table. None where requests failed at every level.

    usage: (seconds since the epoch, percent of a processor, percent of the memory), sampled while the load went on.
    """
    best = best_level(test["Levels"], threshold_of(conditions))
    if best is None:
        return None
    percentile = (threshold_of(conditions) or {}).get("Percentile", "P95")
    micros = int(best["latency"].get(percentile, best["latency"]["P95"]))
    metrics: dict[str, Any] = {"MaxInvocations": int(best["per_minute"]), "ModelLatency": micros}
    if "InstanceType" in test:
        hourly = cost_per_hour(prices, test["InstanceType"])
        if hourly is not None:
            metrics |= {"CostPerHour": hourly, "CostPerInference": cost_per_inference(hourly, best["per_minute"])}
    elif "ServerlessConfig" in test:
        metrics["CostPerInference"] = serverless_cost(prices, test["ServerlessConfig"]["MemorySizeInMB"], best["latency"]["mean"])
    during = [sample for sample in usage if best["started"] < sample[0] <= best["started"] + best["seconds"] + 1] or usage[-1:]
    if during:
        metrics["CpuUtilization"] = sum(sample[1] for sample in during) / len(during)
        metrics["MemoryUtilization"] = max(sample[2] for sample in during)
    return metrics


def threshold_of(conditions: dict[str, Any]) -> dict[str, Any] | None:
    """The latency that was asked for."""
    return next(iter(conditions.get("ModelLatencyThresholds", ())), None)


def rank(document: dict[str, Any]) -> None:
    """Write down the ranks, recommendations and performances of what was measured."""
    conditions, tests = document.get("StoppingConditions", {}), document["_Tests"]
    found = [test for test in tests if "Metrics" in test and "Endpoint" not in test]
    places = ranked((test["Metrics"], _reaches(test, conditions)) for test in found)
    for number, place in enumerate(places, 1):
        found[place]["Rank"] = number
    best = [found[place] for place in places[:MOST]]
    if best:
        document["InferenceRecommendations"] = [{**benchmark(test), "RecommendationId": _id(document, test)} for test in best]
    endpoints = [test for test in tests if "Metrics" in test and "Endpoint" in test]
    if endpoints:
        document["EndpointPerformances"] = [
            {"Metrics": _endpoint_metrics(test), "EndpointInfo": {"EndpointName": test["Endpoint"]}} for test in endpoints
        ]


def steps(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The job's tests as ListInferenceRecommendationsJobSteps shows them."""
    return [
        {"StepType": "BENCHMARK", "JobName": document["JobName"], "Status": test["Status"], "InferenceBenchmark": benchmark(test, with_reason=True)}
        for test in document["_Tests"]
    ]


def benchmark(test: dict[str, Any], *, with_reason: bool = False) -> dict[str, Any]:
    """A test with AWS's members."""
    configuration: dict[str, Any] = {"EndpointName": test.get("Endpoint") or test["Made"], "VariantName": VARIANT}
    if "InstanceType" in test:
        configuration |= {"InstanceType": test["InstanceType"], "InitialInstanceCount": 1}
    if "ServerlessConfig" in test:
        configuration["ServerlessConfig"] = test["ServerlessConfig"]
    model: dict[str, Any] = {}
    if test.get("InferenceSpecificationName"):
        model["InferenceSpecificationName"] = test["InferenceSpecificationName"]
    if test.get("Environment"):
        model["EnvironmentParameters"] = [{"Key": key, "ValueType": "String", "Value": value} for key, value in test["Environment"].items()]
    shown: dict[str, Any] = {"EndpointConfiguration": configuration, "ModelConfiguration": model}
    shown |= {member: test[member] for member in TIMES if member in test}
    if "Metrics" in test and "Endpoint" in test and with_reason:
        shown["EndpointMetrics"] = _endpoint_metrics(test)
    elif "Metrics" in test:
        shown["Metrics"] = test["Metrics"]
    if with_reason and test.get("FailureReason"):
        shown["FailureReason"] = test["FailureReason"]
    return shown


def told(document: dict[str, Any], prices: dict[str, Any]) -> dict[str, Any]:
    """What the report is drawn from."""
    members = ("Name", "Status", "InstanceType", "ServerlessConfig", "Environment", "Metrics", "Levels", "Why", "FailureReason", "Rank")
    tests = [{member: test[member] for member in members if member in test} for test in document["_Tests"]]
    table = {member: prices[member] for member in ("date", "region", "currency")}
    subtitle = document["InputConfig"].get("ModelPackageVersionArn") or document["InputConfig"].get("ModelName", "")
    return {"JobName": document["JobName"], "Subtitle": subtitle, "Prices": table, "Tests": tests}


def cpu_per_core(recommendation: dict[str, Any]) -> float:
    """Percent of each processor of the instance that was busy."""
    instance = find_instance(recommendation["EndpointConfiguration"].get("InstanceType", ""))
    return float(recommendation["Metrics"].get("CpuUtilization", 0.0)) / (instance.cpus if instance else 1)


def _reaches(test: dict[str, Any], conditions: dict[str, Any]) -> bool:
    wanted = conditions.get("MaxInvocations")
    enough = not wanted or test["Metrics"]["MaxInvocations"] >= wanted
    return enough and any(level["requests"] and keeps(level, threshold_of(conditions)) for level in test["Levels"])


def _id(document: dict[str, Any], test: dict[str, Any]) -> str:
    return f"{document['JobName']}/{test.setdefault('Id', new_id(8, ID_LETTERS))}"


def _endpoint_metrics(test: dict[str, Any]) -> dict[str, Any]:
    return {member: test["Metrics"][member] for member in ("MaxInvocations", "ModelLatency")}
