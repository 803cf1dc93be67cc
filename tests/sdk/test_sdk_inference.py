"""The SageMaker SDK's captured, asynchronous and serverless predictors from its own environment."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_the_predictors_of_version_2(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_inference.py"))
    assert (told["sent"], told["said"]) == ("-2.0,0.0,0.0", True)
    assert (told["answer"], told["awaited"]) == (True, True)
    assert told["failed"].startswith("Model returned error:")
    assert (told["serverless"], told["config"]) == (True, {"MemorySizeInMB": 1024, "MaxConcurrency": 2})
