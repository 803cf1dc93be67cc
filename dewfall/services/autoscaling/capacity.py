"""What a target's count is now, and how it is set: instances or provisioned concurrency of an endpoint's variant, copies of an inference component.

Why apart: the tick decides about counts and need not know whose they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError, validation
from dewfall.services.autoscaling.places import CONCURRENCY, COPIES, DIMENSION, component_of, variant_of

IN_MOTION = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
NAMES = {DIMENSION: "instance count", CONCURRENCY: "provisioned concurrency", COPIES: "copy count"}


@dataclass(frozen=True, slots=True)
class Capacity:
    """A resource that nothing changes at the moment: its counts, whether they can be changed, and what went wrong last."""

    current: int
    desired: int
    in_service: bool
    problem: str = ""


def noun(dimension: str) -> str:
    """What is counted: `instance count`, `provisioned concurrency` or `copy count`."""
    return NAMES[dimension]


def check_there(ctx: Ctx, req: dict[str, Any]) -> int:
    """Only what is there can be scaled. How low it may go: to none where requests can wait, or are refused in words that scaling understands."""
    try:
        if req["ScalableDimension"] == COPIES:
            ctx.call("sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": component_of(req["ResourceId"])})
            return 0
        endpoint, variant = variant_of(req["ResourceId"])
        found = ctx.call("sagemaker", "DescribeEndpoint", {"EndpointName": endpoint})
    except AwsError as error:
        raise validation(error.message) from None
    shown = found.get("ProductionVariants") or found.get("PendingDeploymentSummary", {}).get("ProductionVariants", [])
    if shown and variant not in [entry["VariantName"] for entry in shown]:
        raise validation(f'The variant name(s) "{variant}" is/are not present within endpoint configuration "{found.get("EndpointConfigName")}".')
    _check_kind(shown, variant, req["ScalableDimension"])
    return 0 if found.get("AsyncInferenceConfig") else 1


def _check_kind(shown: list[dict[str, Any]], variant: str, dimension: str) -> None:
    """Serverless variants have no instances, others no concurrency that could be provisioned."""
    configs = [entry.get("CurrentServerlessConfig") for entry in shown if entry["VariantName"] == variant]
    if dimension == DIMENSION and any(configs):
        raise validation(f"The variant {variant} is serverless and has no instances. Use the scalable dimension {CONCURRENCY}.")
    if dimension == CONCURRENCY and not all(config and config.get("ProvisionedConcurrency") for config in configs):
        raise validation(f"The variant {variant} has no provisioned concurrency.")


def look(ctx: Ctx, target: dict[str, Any]) -> Capacity | None:
    """The counts of a target's resource; None while something is under way there, or when it is gone."""
    try:
        if target["ScalableDimension"] == COPIES:
            return _look_at_component(ctx, component_of(target["ResourceId"]))
        return _look_at_variant(ctx, *variant_of(target["ResourceId"]), target["ScalableDimension"])
    except AwsError:
        return None


def set_capacity(ctx: Ctx, target: dict[str, Any], capacity: int) -> None:
    """Ask SageMaker for the count. Raises AwsError."""
    if target["ScalableDimension"] == COPIES:
        wanted = {"InferenceComponentName": component_of(target["ResourceId"]), "DesiredRuntimeConfig": {"CopyCount": capacity}}
        ctx.call("sagemaker", "UpdateInferenceComponentRuntimeConfig", wanted)
        return
    endpoint, variant = variant_of(target["ResourceId"])
    change: dict[str, Any] = {"VariantName": variant}
    if target["ScalableDimension"] == CONCURRENCY:
        change["ServerlessUpdateConfig"] = {"ProvisionedConcurrency": capacity}
    else:
        change["DesiredInstanceCount"] = capacity
    ctx.call("sagemaker", "UpdateEndpointWeightsAndCapacities", {"EndpointName": endpoint, "DesiredWeightsAndCapacities": [change]})


def _look_at_variant(ctx: Ctx, endpoint: str, variant: str, dimension: str) -> Capacity | None:
    found = ctx.call("sagemaker", "DescribeEndpoint", {"EndpointName": endpoint})
    if found["EndpointStatus"] in IN_MOTION:
        return None
    problem = found.get("FailureReason", "")
    entry = next((entry for entry in found.get("ProductionVariants", ()) if entry["VariantName"] == variant), None)
    if entry is None:
        return Capacity(-1, -1, False, problem)
    current, desired = _counts(entry, dimension)
    return Capacity(-1 if found["EndpointStatus"] == "Failed" else current, desired, found["EndpointStatus"] == "InService", problem)


def _counts(entry: dict[str, Any], dimension: str) -> tuple[int, int]:
    if dimension == CONCURRENCY:
        current, desired = (
            entry.get(member, {}).get("ProvisionedConcurrency", -1) for member in ("CurrentServerlessConfig", "DesiredServerlessConfig")
        )
    else:
        current, desired = (entry.get(member, -1) for member in ("CurrentInstanceCount", "DesiredInstanceCount"))
    return current, desired


def _look_at_component(ctx: Ctx, name: str) -> Capacity | None:
    found = ctx.call("sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": name})
    status, runtime = found["InferenceComponentStatus"], found["RuntimeConfig"]
    if status in IN_MOTION:
        return None
    return Capacity(runtime["CurrentCopyCount"], runtime["DesiredCopyCount"], status == "InService", found.get("FailureReason", ""))
