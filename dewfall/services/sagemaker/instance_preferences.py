"""InstancePreferences: instance types in order of priority, of which a job runs on the first that has capacity.

Why the first always: a job here runs on this machine, whatever type it names, so that each type has capacity.
"""

from __future__ import annotations

from typing import Any

from dewfall.errors import not_built, validation
from dewfall.rules.instances import launched

SELECTED = ("SelectedInstanceType", "SelectedInstanceCount")


def check_preferences(resources: dict[str, Any], *, is_spot: bool = False) -> None:
    """Raise AWS's error for preferences that do not fit a ResourceConfig or ClusterConfig."""
    for member in SELECTED:
        if resources.get(member):
            raise validation(f"{member} is read-only and cannot be specified in a request.")
    preferences = resources.get("InstancePreferences")
    if not preferences:
        return
    for other in ("InstanceType", "InstanceGroups", "InstancePlacementConfig"):
        if resources.get(other):
            raise validation(f"InstancePreferences is mutually exclusive with {other}.")
    if is_spot:
        raise validation("InstancePreferences is mutually exclusive with EnableManagedSpotTraining.")
    kinds = [one["InstanceType"] for one in preferences]
    if len(set(kinds)) != len(kinds):
        raise validation("An instance type can appear only once in InstancePreferences.")
    if any(one.get("TrainingPlanArns") for one in preferences):
        raise not_built("training plans")
    own = [one["InstanceCount"] for one in preferences if one.get("InstanceCount") is not None]
    overall = resources.get("InstanceCount")
    if own and (overall is not None or len(own) != len(preferences)):
        raise validation("InstanceCount must be specified either for each of the InstancePreferences or once for the job, not both.")
    if not (min(own) if own else overall):
        raise validation("InstanceCount must be at least 1.")


def selected(resources: dict[str, Any]) -> dict[str, Any]:
    """What Describe adds to the resources of a job that has preferences."""
    return dict(zip(SELECTED, launched(resources), strict=True)) if resources.get("InstancePreferences") else {}
