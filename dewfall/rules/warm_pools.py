"""Warm pools of training jobs: which job may take over whose instances, and what is to be said of a pool at a moment.

InUse ─ job ends ─ Available ─┬ a matching job starts ─ Reused (and InUse at that job)
                              └ the keep-alive period is over ─ Terminated
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dewfall.rules.instances import launched

LOST = "InternalServerError"  # what a FailureReason begins with when the instances themselves are to blame


def traits(document: dict[str, Any]) -> dict[str, Any]:
    """What two jobs must have in common to run on the same instances, one after the other."""
    resources, network = document["ResourceConfig"], document.get("VpcConfig", {})
    return {
        "RoleArn": document["RoleArn"],
        **dict(zip(("InstanceType", "InstanceCount"), launched(resources), strict=True)),
        **{member: resources.get(member) for member in ("VolumeKmsKeyId", "VolumeSizeInGB")},
        **{member: sorted(network.get(member, ())) for member in ("SecurityGroupIds", "Subnets")},
        **{member: document[member] for member in ("EnableInterContainerTrafficEncryption", "EnableNetworkIsolation")},
    }


def is_kept(document: dict[str, Any]) -> bool:
    """Whether the instances of a job that has ended stay: they do after success, stops and the user's own mistakes."""
    return keep_alive(document) > 0 and not document.get("FailureReason", "").startswith(LOST)


def keep_alive(document: dict[str, Any]) -> int:
    """Seconds that a job's instances are kept after its end."""
    return int(document["ResourceConfig"].get("KeepAlivePeriodInSeconds", 0))


def status_at(status: dict[str, Any], since: datetime | None, seconds: int, now: datetime) -> dict[str, Any]:
    """A pool's WarmPoolStatus at a moment, `since` being when it became available for so many seconds.

    >>> from datetime import UTC, datetime, timedelta
    >>> ended = datetime(2026, 1, 1, tzinfo=UTC)
    >>> status_at({"Status": "Available"}, ended, 60, ended + timedelta(seconds=90))
    {'Status': 'Terminated', 'ResourceRetainedBillableTimeInSeconds': 60}
    """
    if status["Status"] != "Available" or since is None:
        return status
    kept = int((now - since).total_seconds())
    over = kept >= seconds
    return {"Status": "Terminated" if over else "Available", "ResourceRetainedBillableTimeInSeconds": min(kept, seconds)}
