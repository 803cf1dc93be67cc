"""`dewfall logs NAME`: a training job's or endpoint's log lines, as CloudWatch Logs has them."""

from __future__ import annotations

import sys
import time
from typing import Any

from dewfall.environment import clients as make_clients
from dewfall.settings import Settings

GROUPS = ("/aws/sagemaker/TrainingJobs", "/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TransformJobs")
FOLLOW_SECONDS = 0.5
FINISHED = ("Completed", "Failed", "Stopped")


def print_logs(settings: Settings, name: str, *, follow: bool) -> int:
    """Print every stream of the job (prefix `<name>/`) or endpoint (its own group); with `follow` until the job has ended."""
    clients = make_clients(settings, "logs", "sagemaker")
    token: dict[str, str] = {}
    found = False
    while True:
        over = not follow or _is_over(clients["sagemaker"], name)
        for group, prefix in [(g, f"{name}/") for g in GROUPS] + [(f"/aws/sagemaker/Endpoints/{name}", "")]:
            for stream in _streams(clients["logs"], group, prefix):
                found = True
                _print_stream(clients["logs"], group, stream, token)
        if over:
            break
        time.sleep(FOLLOW_SECONDS)
    if not found:
        print(f"dewfall: no log of a job or endpoint called {name}. `aws sagemaker list-training-jobs` names the jobs.", file=sys.stderr)
        return 1
    return 0


def _streams(logs: Any, group: str, prefix: str) -> list[str]:
    try:
        request = {"logGroupName": group} | ({"logStreamNamePrefix": prefix} if prefix else {})
        return [stream["logStreamName"] for stream in logs.describe_log_streams(**request)["logStreams"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def _print_stream(logs: Any, group: str, stream: str, tokens: dict[str, str]) -> None:
    """Print what is new since the last call; `tokens` remembers the place."""
    while True:
        place = {"nextToken": tokens[stream]} if stream in tokens else {}
        page = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **place)
        for event in page["events"]:
            print(event["message"])
        if tokens.get(stream) == page["nextForwardToken"]:
            return
        tokens[stream] = page["nextForwardToken"]


def _is_over(sagemaker: Any, name: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        return sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] in FINISHED
    except ClientError:
        return False
