"""Where a request points: its log group and stream, by name or ARN, and what is said when they are not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from dewfall.context import Ctx
from dewfall.engine.series import LogGroup, LogStream
from dewfall.errors import AwsError, validation
from dewfall.services.common import page

T = TypeVar("T")

_ARN = re.compile(r"^arn:[^:]+:logs:([^:]*):(\d{12}):log-group:([^:]+)(?::\*)?$")
NAME = re.compile(r"[\.\-_/#A-Za-z0-9]+")


def invalid(message: str) -> AwsError:
    """InvalidParameterException."""
    return AwsError("InvalidParameterException", message, status=400)


def not_found(what: str = "log group") -> AwsError:
    """ResourceNotFoundException of a log group or stream."""
    return AwsError("ResourceNotFoundException", f"The specified {what} does not exist.", status=400)


def group_name(req: dict[str, Any]) -> str:
    """The group that logGroupName or logGroupIdentifier names."""
    name, identifier = req.get("logGroupName"), req.get("logGroupIdentifier")
    if name and identifier:
        raise validation("LogGroup name and LogGroup ARN are mutually exclusive parameters.")
    if not name and not identifier:
        raise validation("Either logGroupName or logGroupIdentifier must be specified.")
    return name_in(identifier) if identifier else str(name)


def name_in(identifier: str) -> str:
    """The name in a group's name or ARN."""
    match = _ARN.match(identifier)
    return match[3] if match else identifier


def find_group(ctx: Ctx, name: str) -> LogGroup:
    """A group, or ResourceNotFoundException."""
    group = ctx.ports.series.log_group(ctx.account, ctx.region, name)
    if group is None:
        raise not_found()
    return group


def find_stream(ctx: Ctx, group: LogGroup, name: str) -> LogStream:
    """A stream, or ResourceNotFoundException."""
    stream = ctx.ports.series.log_stream(group, name)
    if stream is None:
        raise not_found("log stream")
    return stream


def group_arn(ctx: Ctx, name: str) -> str:
    """A group's ARN without the `:*` that stands for its streams."""
    return ctx.arn("logs", f"log-group:{name}")


def page_of(items: Sequence[T], req: dict[str, Any], key: Callable[[T], str], default: int = 50) -> tuple[list[T], str | None]:
    """One page; Logs has an error of its own for a bad token."""
    try:
        return page(items, req, key=key, limit_member="limit", token_member="nextToken", default=default)
    except AwsError:
        raise invalid("The specified nextToken is invalid.") from None
