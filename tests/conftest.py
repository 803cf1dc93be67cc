"""What every test's failure tells: a waiter's own words name the status, its last answer names the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import WaiterError


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add the last answer of a waiter that gave up to the report, before the report leaves for the process that prints it."""
    outcome: Any = yield
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, WaiterError):
        outcome.get_result().sections.append(("What the waiter was answered last", json.dumps(error.last_response, default=str, indent=1)))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name binary data by its argument: what a compressor or a clock put into it would differ between the processes that share a run."""
    return argname if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()) else None
