"""Application Auto Scaling for SageMaker's endpoint variants: targets, policies, schedules, and the tick that acts.

Why one package: what the tick does is told by records of all four kinds.
"""

from dewfall.services.autoscaling import activities, policies, schedules, tags, targets

__all__ = ["activities", "policies", "schedules", "tags", "targets"]
