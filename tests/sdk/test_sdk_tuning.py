"""The tuners of both SageMaker SDKs: several algorithms, Autotune, scripts."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_several_algorithms_and_autotune(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_tuning_many.py"))
    assert (told["many"], told["best"]) == ("Completed", True)
    assert told["definitions"] == ["line", "line", "trees", "trees"]
    assert told["auto"] == "Completed"
    assert {"eta", "max_depth"} <= set(told["tuned"])


def test_the_third_versions_tuner(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v3", "v3_tuning.py"))
    assert (told["xgboost"], told["trials"], told["best"]) == ("Completed", 3, True)
    assert told["script"] == "Completed"
