"""The one exception that crosses rooms: an error as AWS says it.

Operations raise `AwsError` with a code of the service model and AWS's message; `wire/` gives it the protocol's shape.
"""

from __future__ import annotations

from typing import Any


class AwsError(Exception):
    """An AWS error answer: code, message, and the members the modeled error shape has besides them.

    `status` is only needed for codes that the service model does not describe; the model's status wins otherwise.
    """

    def __init__(self, code: str, message: str, *, status: int | None = None, headers: dict[str, str] | None = None, **members: Any):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}
        self.members = members


def not_implemented(service: str, operation: str) -> AwsError:
    """What Dewfall has not built says so, naming service and operation."""
    message = f"Dewfall has not built {service}:{operation} yet. `dewfall operations {service}` lists what it has."
    return AwsError("NotImplemented", message, status=501)


def not_built(what: str) -> AwsError:
    """The same for a part of an operation: something that AWS would do, and that must not be left out in silence."""
    return AwsError("NotImplemented", f"Dewfall has not built {what} yet.", status=501)


def access_denied(arn: str, action: str, resource: str) -> AwsError:
    """The denial that most services send when no identity-based policy allows the action."""
    message = (
        f"User: {arn} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"
    )
    return AwsError("AccessDeniedException", message, status=403)


def validation(message: str) -> AwsError:
    """The commonest client error of the JSON services."""
    return AwsError("ValidationException", message, status=400)
