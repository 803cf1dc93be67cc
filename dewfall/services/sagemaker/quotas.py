"""AWS's quotas at the largest that an account can have, so that a job which AWS would never start is refused here, too.

Why not the defaults: accounts have them raised, and nothing costs anything here. Instances are the exception: each is a process of this machine, so
that AWS's default, 20 of one job or endpoint, stands until DEWFALL_INSTANCES says otherwise.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.rules.instances import launched

RUN_TIME = ("Longest run time for a training job", "Seconds", 28 * 86_400)
PARALLEL_TRIALS = ("Number of parallel training jobs per hyperparameter tuning job", "Training Jobs", 100)
TRIALS = ("Number of training jobs per hyperparameter tuning job", "Training Jobs", 750)
RANDOM_TRIALS = (*TRIALS[:2], 10_000)
INCREASE = (
    "Please use AWS Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an"
    " increase for this quota."
)


def check_quota(quota: tuple[str, str, int], wanted: int, used: int = 0) -> None:
    """Raise AWS's ResourceLimitExceeded where what is `wanted` beyond what is `used` is more than a quota allows."""
    name, unit, limit = quota
    if wanted > 0 and used + wanted > limit:
        message = f"The account-level service limit '{name}' is {limit} {unit}, with current utilization of {used} {unit} and a request delta of"
        raise AwsError("ResourceLimitExceeded", f"{message} {wanted} {unit}. {INCREASE}")


def check_instances(ctx: Ctx, what: str, wanted: int, used: int = 0) -> None:
    """Raise it for more instances than one job or endpoint (`what`: "training job") may have."""
    check_quota((f"Maximum number of instances per {what}", "Instances", ctx.ports.settings.instances), wanted, used)


def instances_of(resources: dict[str, Any]) -> int:
    """The instances of a ResourceConfig, ClusterConfig or TransformResources, those of its groups together."""
    return sum(launched(one)[1] for one in resources.get("InstanceGroups") or (resources,))
