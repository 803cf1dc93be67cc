"""What every test's failure tells: a waiter's own words name the status, its last answer names the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from botocore.exceptions import WaiterError


@pytest.hookimpl(hookwrapper=True)
def pytest_exception_interact(node: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> Iterator[None]:
    """Add the last answer of a waiter that gave up to the report."""
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, WaiterError):
        report.sections.append(("What the waiter was answered last", json.dumps(error.last_response, default=str, indent=1)))
    yield


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name binary data by its argument: what a compressor or a clock put into it would differ between the processes that share a run."""
    return argname if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()) else None
