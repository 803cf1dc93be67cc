"""JumpStart's tabular models by SageMaker SDK v2, each trained, deployed and asked, on a server whose environment has PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from dewfall import testing_server
from tests.sdk.conftest import environment, run_against

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_each_model_trains_and_answers_or_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_breast_cancer()
    np.savetxt(tmp_path / "table.csv", np.column_stack([data.target, data.data]), delimiter=",")
    monkeypatch.setattr(sys, "executable", str(environment("torch") / "python"))
    with testing_server.running() as server:
        told = run_against(server, tmp_path, "v2", "v2_jumpstart.py")
    found = {one.get("model_id", "notebook"): one for one in told}
    assert found["pytorch-tabtransformerclassification-model"]["accuracy"] > 0.9, told
    assert found["notebook"]["notebook"] > 0.9
    for name, missing in (
        ("catboost-classification-model", "CatBoost is not installed"),
        ("autogluon-classification-ensemble", "AutoGluon is not installed"),
    ):
        one = found[name]
        assert one.get("accuracy", 0) > 0.9 or missing in one["failed"], one
