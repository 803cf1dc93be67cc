"""What CloudWatch says about parameters: its errors by the names of their shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from dewfall.errors import AwsError
from dewfall.services.common import page

T = TypeVar("T")


def invalid_value(message: str) -> AwsError:
    """A value that is not allowed."""
    return AwsError("InvalidParameterValueException", message, status=400)


def invalid_combination(message: str) -> AwsError:
    """Values that do not go together."""
    return AwsError("InvalidParameterCombinationException", message, status=400)


def missing(message: str) -> AwsError:
    """A value that is needed."""
    return AwsError("MissingRequiredParameterException", message, status=400)


def invalid(message: str) -> AwsError:
    """The error of operations that model none."""
    return AwsError("ValidationError", message, status=400)


def page_of(
    items: Sequence[T], req: dict[str, Any], key: Callable[[T], str], *, default: int = 100, models_token: bool = True
) -> tuple[list[T], str | None]:
    """One page; CloudWatch has an error of its own for a bad token, which not every operation models."""
    try:
        return page(items, req, key=key, limit_member="MaxRecords", default=default)
    except AwsError:
        if not models_token:
            raise invalid_value("Request parameter NextToken is invalid") from None
        raise AwsError("InvalidNextToken", "The next token specified is invalid.", status=400) from None
