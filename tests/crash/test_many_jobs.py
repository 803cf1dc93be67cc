"""Two hundred jobs at once: as many run as there are slots, in the order of their creation, and all end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.crash.world import BUCKET, PATIENCE, PLAIN, World, channel, request, until

pytestmark = pytest.mark.slow

JOBS, SLOTS = 200, 8  # of a machine with two cores
CODE = "import time\ntime.sleep(0.3)\nopen('/opt/ml/model/m', 'w').write('x')"


def test_two_hundred_jobs(world: World) -> None:
    world.s3.put_object(Bucket=BUCKET, Key="code/main.py", Body=CODE.encode())
    names = [f"job-{n:03}" for n in range(JOBS)]
    for name in names:
        world.sagemaker.create_training_job(**request(name, PLAIN, channel("code", "code/")))
    until(lambda: not world.sagemaker.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"], 3 * PATIENCE)
    jobs = [world.describe(name) for name in names]
    assert {job["TrainingJobStatus"] for job in jobs} == {"Completed"}
    assert most_at_once([(job["TrainingStartTime"], upload_end(job)) for job in jobs]) <= SLOTS
    started = [job["TrainingStartTime"] for job in jobs]
    assert max(abs(sorted(started).index(at) - n) for n, at in enumerate(started)) <= SLOTS


def upload_end(job: dict[str, Any]) -> datetime:
    """When its agent was through."""
    found: datetime = next(entry["StartTime"] for entry in job["SecondaryStatusTransitions"] if entry["Status"] == "Uploading")
    return found


def most_at_once(spans: list[tuple[datetime, datetime]]) -> int:
    moments = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return most
