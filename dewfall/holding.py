"""Waiting is instant: which reads may be held until what they watch has changed, and for how long.

Clients poll on fixed sleeps that a server cannot shorten. What it can do is answer the read when the state changes. Only waiters
and the SageMaker SDKs are ever held, only in the asynchronous layer, never in an operation, and never a person's Describe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WAITER_SECONDS = 45.0
SDK_SECONDS = 10.0
SDK_JOB_AGE = 4.0
POLL_LIMIT = 20

FINISHED = frozenset({"Completed", "Failed", "Stopped"})
SETTLED = frozenset({"InService", "Failed", "OutOfService", "UpdateRollbackFailed"})


@dataclass(frozen=True, slots=True)
class Watch:
    """A read that tells of something in motion: the record's kind, the member naming it, its status member, where it ends."""

    kind: str
    name: str
    status: str
    ends: frozenset[str]


WATCHED: dict[str, Watch] = {
    "DescribeTrainingJob": Watch("training-job", "TrainingJobName", "TrainingJobStatus", FINISHED),
    "DescribeProcessingJob": Watch("processing-job", "ProcessingJobName", "ProcessingJobStatus", FINISHED),
    "DescribeTransformJob": Watch("transform-job", "TransformJobName", "TransformJobStatus", FINISHED),
    "DescribeHyperParameterTuningJob": Watch("hyper-parameter-tuning-job", "HyperParameterTuningJobName", "HyperParameterTuningJobStatus", FINISHED),
    "DescribeEndpoint": Watch("endpoint", "EndpointName", "EndpointStatus", SETTLED),
}

_METRICS = re.compile(r"\bm/([A-Za-z0-9,+-]+)")
_SDK = re.compile(r"lib/AWS-SageMaker(?:-Python-SDK|Core)#|AWS-SageMaker-Python-SDK/|AWS-SageMakerCore/")
_ATTEMPT = re.compile(r"attempt=(\d+)")


def poll_seconds(asked: object, queue: object = 0) -> float:
    """How long an SQS ReceiveMessage that found nothing may wait: what it asks for (a number or a form's text), else the queue's setting."""
    wait = queue if asked is None else asked
    text = str(wait)
    return float(min(int(text), POLL_LIMIT)) if text.isdigit() else 0.0


def is_waiter(headers: Mapping[str, str]) -> bool:
    """Whether botocore marked this request as its waiter's (feature id B in the User-Agent), on its first attempt."""
    attempt = _ATTEMPT.search(headers.get("amz-sdk-request", ""))
    if attempt and attempt[1] != "1":
        return False
    features = _METRICS.search(headers.get("user-agent", ""))
    return features is not None and "B" in features[1].split(",")


def is_sagemaker_sdk(headers: Mapping[str, str]) -> bool:
    """Whether a SageMaker Python SDK (v2 or v3) sent this."""
    return _SDK.search(headers.get("user-agent", "")) is not None


def hold_seconds(headers: Mapping[str, str], answer: Mapping[str, Any], watch: Watch, now: float, *, first: bool) -> float:
    """How long this read may be held (0: answer now), given what it would answer.

    `now` and CreationTime are seconds since the epoch, as on the wire. `first`: whether this is the first read of this job by
    a SageMaker SDK.
    """
    if answer.get(watch.status) in watch.ends:
        return 0.0
    if is_waiter(headers):
        return WAITER_SECONDS
    created = answer.get("CreationTime")
    if first and created is not None and is_sagemaker_sdk(headers) and now - float(created) >= SDK_JOB_AGE:
        return SDK_SECONDS
    return 0.0
