"""Life cycles as tables: which status may follow which, and what AWS says about each.

Why tables: an operation and a job step ask the same question ("may this happen now?") and must get the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Phase:
    """A secondary status of a training job: the status users see with it, AWS's message, and what may come next."""

    status: str
    message: str
    next: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Nothing follows."""
        return not self.next


_ENDS = ("Failed", "Stopping", "Stopped")

#   Starting ⇄ Pending → Downloading → Training → Uploading → Completed
#                            any of them → Stopping → Uploading → Stopped | MaxRuntimeExceeded
#                            any of them → Failed;  a lost instance: → Restarting → Starting
#                            spot capacity taken back: → Interrupted → Starting;  waited too long: → Stopping → MaxWaitTimeExceeded
TRAINING: dict[str, Phase] = {
    "Pending": Phase("InProgress", "Waiting for a free job slot", ("Starting", *_ENDS)),
    "Starting": Phase("InProgress", "Starting the training job", ("Pending", "Downloading", "Training", *_ENDS)),
    "Downloading": Phase("InProgress", "Downloading input data", ("Training", "Restarting", "Interrupted", *_ENDS)),
    "Interrupted": Phase("InProgress", "Training job interrupted: the managed spot training instances were reclaimed", ("Starting", *_ENDS)),
    "Training": Phase(
        "InProgress",
        "Training image download completed. Training in progress.",
        ("Uploading", "Restarting", "Interrupted", "Completed", "MaxRuntimeExceeded", *_ENDS),
    ),
    "Restarting": Phase("InProgress", "Restarting the training job", ("Starting", *_ENDS)),
    "Uploading": Phase("InProgress", "Uploading generated training model", ("Completed", "MaxRuntimeExceeded", *_ENDS)),
    "Stopping": Phase(
        "Stopping",
        "Stopping the training job",
        ("Uploading", "Stopped", "Failed", "Completed", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"),
    ),
    "Completed": Phase("Completed", "Training job completed"),
    "Failed": Phase("Failed", "Training job failed"),
    "Stopped": Phase("Stopped", "Training job stopped"),
    "MaxRuntimeExceeded": Phase("Stopped", "Training job runtime exceeded MaxRuntimeInSeconds provided"),
    "MaxWaitTimeExceeded": Phase("Stopped", "Training job wait time exceeded MaxWaitTimeInSeconds provided"),
}

STARTING_MESSAGES = ("Starting the training job", "Preparing the instances for training")

ON_INSTANCES = ("Downloading", "Training", "Uploading", "Stopping")
FINAL = frozenset(phase.status for phase in TRAINING.values() if phase.is_final)


def may_follow(current: str, coming: str) -> bool:
    """Whether a training job may go from one secondary status to another."""
    return coming in TRAINING[current].next


def may_stop(status: str) -> bool:
    """Whether a job of this status can be told to stop."""
    return status == "InProgress"


def may_delete(status: str) -> bool:
    """Whether a job of this status can be deleted."""
    return status in FINAL


def trained_seconds(transitions: list[dict[str, Any]], now: datetime) -> float:
    """How long a job has been on its instances, all attempts together; an open transition counts until `now`."""
    spans: list[timedelta] = [(entry.get("EndTime") or now) - entry["StartTime"] for entry in transitions if entry["Status"] in ON_INSTANCES]
    return sum(spans, timedelta()).total_seconds()


def enter(transitions: list[dict[str, Any]], coming: str, at: datetime, message: str = "") -> list[dict[str, Any]]:
    """AWS's SecondaryStatusTransitions after the job has entered `coming`; the same status again only changes its message.

    Final statuses begin and end at once.
    """
    phase = TRAINING[coming]
    text = message or phase.message
    if transitions and transitions[-1]["Status"] == coming:
        return [*transitions[:-1], {**transitions[-1], "StatusMessage": text}]
    entry = {"Status": coming, "StartTime": at, "StatusMessage": text}
    if phase.is_final:
        entry["EndTime"] = at
    if not transitions:
        return [entry]
    return [*transitions[:-1], {**transitions[-1], "EndTime": at}, entry]
