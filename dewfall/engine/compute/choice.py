"""Which Compute: the one that DEWFALL_COMPUTE names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dewfall.engine.compute.local import LocalCompute
from dewfall.settings import Settings

if TYPE_CHECKING:
    from dewfall.engine.compute.ray import RayCompute


def open_compute(settings: Settings) -> LocalCompute | RayCompute:
    """Processes of this machine, or agents on a Ray cluster. Raises NoCluster."""
    poke = settings.data / "run" / "poke.sock"
    if settings.compute == "local":
        return LocalCompute(settings.data / "jobs", slots=settings.job_slots, namespaces=settings.namespaces, poke=poke)
    from dewfall.engine.compute.ray import RayCompute

    return RayCompute(settings.compute, settings.data, slots=settings.jobs, namespaces=settings.namespaces, poke=poke)
