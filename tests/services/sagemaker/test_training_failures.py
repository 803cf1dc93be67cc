"""FailureReason as AWS words it."""

from __future__ import annotations

from typing import Any

import pytest

from dewfall.engine.ports import AgentStatus
from dewfall.services.sagemaker.training_failures import reason


def ended(**members: Any) -> AgentStatus:
    return AgentStatus("training-job.0.r.j.1", "Exited", **members)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ended(exit_code=1), "AlgorithmError: , exit code: 1"),
        (ended(exit_code=1, message="ExecuteUserScriptError:\nExitCode 1"), "AlgorithmError: ExecuteUserScriptError:\nExitCode 1, exit code: 1"),
        (ended(exit_code=2, message="ClientError: bad csv"), "ClientError: bad csv, exit code: 2"),
        (
            ended(exit_code=137, reason="OutOfMemory", message="killed"),
            "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an instance.",
        ),
        (ended(exit_code=-9), "AlgorithmError: , exit code: 137"),
        (ended(exit_code=-15), "AlgorithmError: , exit code: 143"),
        (ended(reason="InputError", message="clash"), "ClientError: Data download failed:clash"),
        (ended(reason="InternalError"), "InternalServerError: We encountered an internal error. Please try again."),
    ],
)
def test_the_reason_names_whose_error_it_was(status: AgentStatus, expected: str) -> None:
    assert reason(status) == expected


def test_long_failures_keep_their_exit_code() -> None:
    text = reason(ended(exit_code=3, message="x" * 5000))
    assert len(text) == 1024
    assert text.endswith(", exit code: 3")
