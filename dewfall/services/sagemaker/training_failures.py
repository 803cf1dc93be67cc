"""From an agent's last word to AWS's FailureReason.

Why a file: the SDKs and people's tooling match these texts, so there must be one place where they are made.
"""

from __future__ import annotations

from dewfall.engine.ports import AgentStatus

LOST = "InternalServerError: We encountered an internal error. Please try again."
OUT_OF_MEMORY = "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an instance."
PREFIXES = ("AlgorithmError:", "ClientError:", "InternalServerError:")
LIMIT = 1024


def reason(status: AgentStatus) -> str:
    """The FailureReason of a command that did not end well.

    /opt/ml/output/failure comes first; its beginning may name another kind of error than AlgorithmError, as AWS's algorithms do.
    """
    if status.reason == "InputError":
        return _prefixed("ClientError: Data download failed:", status.message)[:LIMIT]
    if status.reason == "InternalError":
        return _prefixed("InternalServerError: ", status.message or LOST.partition(": ")[2])[:LIMIT]
    if status.reason == "OutOfMemory":
        return OUT_OF_MEMORY
    code = 137 if status.exit_code is None else status.exit_code
    end = f", exit code: {code if code >= 0 else 128 - code}"
    return _prefixed("AlgorithmError: ", status.message.strip())[: LIMIT - len(end)] + end


def _prefixed(prefix: str, message: str) -> str:
    return message if message.startswith(PREFIXES) else prefix + message
