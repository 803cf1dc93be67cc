"""Inputs, spot capacity and warm pools by the SageMaker SDKs, from their own environments."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_v2_inputs_spot_and_warm_pools(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_inputs.py"))
    assert told["piped"] == "Completed"
    assert told["records"] == [text for n in range(3) for text in (f"text {n}", str(n))]
    assert (told["spot"], told["interrupted"]) == ("Completed", 1)
    assert told["paid"] < told["trained"]
    assert (told["pools"], told["ended"]) == (["Reused", "Available"], "Terminated")


def test_v3_pipes_spot_and_warm_pools(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v3", "v3_inputs.py"))
    assert (told["spot"], told["managed"], told["saved"]) == ("Completed", True, "abc")
    assert told["pool"] == "Available"
