"""SDK v2's @remote: the function runs as a job, which brings the SDK by itself."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_function_runs_as_a_job(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_remote.py"))
    assert told["quotient"] == 2.5
