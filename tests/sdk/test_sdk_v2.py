"""SageMaker SDK v2 from its own environment, against a server of the documented command."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_fit_deploy_and_predict(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_flow.py"))
    assert told["bucket"] == "sagemaker-us-east-1-000000000000"
    assert told["role"] == "arn:aws:iam::000000000000:role/DewfallExecutionRole"
    assert told["sklearn"] == "Completed"
    assert told["metric"] > 0.9
    assert told["prediction"] == told["wanted_classes"]
    assert told["xgboost"] == [round(v) for v in told["wanted"]]
    assert told["kmeans"][0] == told["kmeans"][1] != told["kmeans"][2] == told["kmeans"][3]
