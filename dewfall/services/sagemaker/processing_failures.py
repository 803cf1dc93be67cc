"""From an agent's last word to the FailureReason of a processing job, which AWS words otherwise than that of a training job.

Why a file: an input may be missing before the start, or be lost while it is delivered, and both must read the same.
"""

from __future__ import annotations

from dewfall.engine.ports import AgentStatus
from dewfall.services.sagemaker import input_sources, training_failures

FAILED = "ClientError: Failed to download data. "
NOTHING_FOUND = FAILED + "S3 key: {uri} matched no files on s3"
TOLD = "AlgorithmError: See job logs for more information"


def reason(status: AgentStatus, exit_message: str) -> str:
    """The FailureReason of a command that did not end well. One that has left an exit message has said there what was wrong."""
    if status.reason == "InputError":
        return download_reason(training_failures.reason(status))
    return TOLD if exit_message and not status.reason and not status.message else training_failures.reason(status)


def download_reason(text: str) -> str:
    """A training job's words about an input, in those of a processing job."""
    return FAILED + text.removeprefix(input_sources.FAILED) if text.startswith(input_sources.FAILED) else text
