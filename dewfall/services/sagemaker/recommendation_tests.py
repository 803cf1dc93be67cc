"""The tests of an inference recommendations job: which candidates there are, on what payload, under what load.

Why all of this is read at the creation: the job does not mind what becomes of its model or package afterwards.
"""

from __future__ import annotations

import os
from typing import Any

from dewfall.context import Ctx, new_id
from dewfall.engine.ports import Tx
from dewfall.errors import AwsError, validation
from dewfall.rules.instances import find_instance
from dewfall.rules.recommendation import environments, obstacle
from dewfall.services.sagemaker.endpoint_status import load_endpoint
from dewfall.services.sagemaker.model_packages import load_package, specification
from dewfall.services.sagemaker.models import load_model, s3_uri
from dewfall.services.sagemaker.training_spec import host_memory

DEFAULT_TYPES = ("ml.c5.large", "ml.m5.large", "ml.r5.large", "ml.c5.xlarge", "ml.m5.xlarge", "ml.c5.2xlarge", "ml.m5.2xlarge")
MOST_TESTS = 10
# What a job without a traffic pattern sends: users double until they bring no more invocations.
DEFAULT_PATTERN = {
    "TrafficType": "PHASES",
    "Phases": [{"InitialNumberOfUsers": users, "SpawnRate": 0, "DurationInSeconds": 3} for users in (1, 2, 4, 8, 16, 32)],
}
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def read_source(ctx: Ctx, tx: Tx, config: dict[str, Any]) -> dict[str, Any]:
    """The job's `_Source`: containers by inference specification, payload, content types. Raises what AWS refuses."""
    package, model = config.get("ModelPackageVersionArn"), config.get("ModelName")
    endpoints = [one["EndpointName"] for one in config.get("Endpoints", ())]
    if package and model:
        raise validation("Only one of ModelPackageVersionArn or ModelName can be specified in InputConfig.")
    if not package and not model and not endpoints:
        raise validation("One of ModelPackageVersionArn, ModelName or Endpoints must be specified in InputConfig.")
    for name in endpoints:
        load_endpoint(ctx, tx, name)
    given = config.get("ContainerConfig", {})
    payload = given.get("PayloadConfig", {})
    source = {"Payload": payload.get("SamplePayloadUrl"), "ContentTypes": payload.get("SupportedContentTypes") or []}
    source["Types"] = given.get("SupportedInstanceTypes") or []
    if package:
        _read_package(load_package(ctx, tx, package).document, config, source)
    elif model:
        if any(one.get("InferenceSpecificationName") for one in config.get("EndpointConfigurations", ())):
            raise validation("InferenceSpecificationName can only be specified together with ModelPackageVersionArn.")
        source["Containers"] = {"": _of_model(load_model(ctx, tx, model).document)}
    _check_payload(ctx, source)
    return source


def make_tests(req: dict[str, Any], source: dict[str, Any]) -> list[dict[str, Any]]:
    """Every test of the job, in order, each with a name for people; what this machine cannot measure says so."""
    config = req["InputConfig"]
    tests = [_test(config, name=one["EndpointName"], Endpoint=one["EndpointName"]) for one in config.get("Endpoints", ())]
    if "Containers" in source:
        wanted = config.get("EndpointConfigurations") if req["JobType"] == "Advanced" else None
        tests += _configured(config, wanted) if wanted else [_test(config, InstanceType=kind) for kind in _types(source)]
    limit = config.get("ResourceLimit", {}).get("MaxNumberOfTests", MOST_TESTS)
    return tests[:limit]


def pattern_of(req: dict[str, Any]) -> dict[str, Any]:
    """The load of every test. Raises AwsError for one without phases or stairs."""
    pattern: dict[str, Any] | None = req["InputConfig"].get("TrafficPattern")
    if pattern is None:
        return DEFAULT_PATTERN
    if pattern.get("TrafficType") == "STAIRS":
        if not pattern.get("Stairs"):
            raise validation("Stairs must be specified when TrafficType is STAIRS.")
    elif not pattern.get("Phases"):
        raise validation("Phases must be specified when TrafficType is PHASES.")
    return pattern


def _read_package(package: dict[str, Any], config: dict[str, Any], source: dict[str, Any]) -> None:
    names = {one.get("InferenceSpecificationName") for one in config.get("EndpointConfigurations", ())} | {None}
    source["Containers"] = {}
    for name in sorted(names, key=str):
        found = specification(package, name)
        source["Containers"][name or ""] = [_plain(container) for container in found["Containers"]]
        source["ContentTypes"] = source["ContentTypes"] or found.get("SupportedContentTypes", [])
        source["Types"] = source["Types"] or found.get("SupportedRealtimeInferenceInstanceTypes", [])
    source["Payload"] = source["Payload"] or package.get("SamplePayloadUrl")


def _of_model(model: dict[str, Any]) -> list[dict[str, Any]]:
    return [_plain(container) for container in model.get("Containers") or [model["PrimaryContainer"]]]


def _plain(container: dict[str, Any]) -> dict[str, Any]:
    """A container definition as CreateModel takes it: the data is named once."""
    members = ["ContainerHostname", "Image", "Environment", "Mode", "MultiModelConfig"]
    members.append("ModelDataUrl" if container.get("ModelDataUrl") else "ModelDataSource")
    return {member: container[member] for member in members if container.get(member)}


def _check_payload(ctx: Ctx, source: dict[str, Any]) -> None:
    if not source["Payload"]:
        raise validation("SamplePayloadUrl must be specified in the PayloadConfig of ContainerConfig, or in the model package.")
    source["Payload"] = s3_uri(source["Payload"])
    try:
        found = ctx.ports.objects.get(source["Payload"])
    except AwsError:
        found = None
    if found is None:
        raise validation(f"Could not access the sample payload archive at {source['Payload']}.")


def _types(source: dict[str, Any]) -> list[str]:
    """The types that the model supports; of those that are tried otherwise, the ones that fit."""
    fitting = [kind for kind in DEFAULT_TYPES if not _obstacle(kind)]
    return source["Types"] or fitting or [DEFAULT_TYPES[0]]


def _configured(config: dict[str, Any], wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tests = []
    for one in wanted:
        if bool(one.get("InstanceType")) == bool(one.get("ServerlessConfig")):
            raise validation("Exactly one of InstanceType or ServerlessConfig must be specified in an endpoint configuration.")
        members = {member: one[member] for member in ("InstanceType", "ServerlessConfig", "InferenceSpecificationName") if one.get(member)}
        for environment in environments(one.get("EnvironmentParameterRanges", {}).get("CategoricalParameterRanges", ())):
            tests.append(_test(config, Environment=environment, **members))
    return tests


def _test(config: dict[str, Any], name: str = "", **members: Any) -> dict[str, Any]:
    serverless = members.get("ServerlessConfig", {})
    what = name or members.get("InstanceType") or f"serverless with {serverless['MemorySizeInMB']} MB"
    settings = [f"{key}={value}" for key, value in members.get("Environment", {}).items()]
    extra = [members["InferenceSpecificationName"]] if "InferenceSpecificationName" in members else []
    test = {"Name": ", ".join([what, *extra, *settings]), "Status": "PENDING", "Made": f"sm-epc-{new_id(20, ALPHABET)}", **members}
    hindrance = _obstacle(members["InstanceType"]) if "InstanceType" in members else ""
    return {**test, "Status": "FAILED", "FailureReason": hindrance} if hindrance else test


def _obstacle(kind: str) -> str:
    return obstacle(find_instance(kind), kind, os.cpu_count() or 1, host_memory())
