"""SageMaker SDK v3 from its own environment, against a server of the documented command."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_train_build_deploy_and_invoke(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v3", "v3_flow.py"))
    assert told["bucket"] == "sagemaker-us-east-1-000000000000"
    assert told["script"] == "Completed"
    assert told["xgboost"] == "Completed"
    assert told["predicted"] == [round(v) for v in told["wanted"]]
