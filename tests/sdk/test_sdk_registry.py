"""The SageMaker SDK's registry and right-sizing from its own environment."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_registering_and_right_sizing_by_version_2(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_registry.py"))
    assert (told["arn"].endswith("model-package/registry/1"), told["approval"], told["low"]) == (True, "Approved", True)
    assert (told["best"], told["right"]) == ("ml.m5.large", True)
    assert told["metrics"]["MaxInvocations"] > 0
