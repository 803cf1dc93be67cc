"""SDK v2 sees a job learn: runs of experiments and Debugger's rules."""

from __future__ import annotations

import subprocess
import sys
from collections import ChainMap
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing_server import Server
from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_runs_and_rules(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_learning.py"))
    assert told["parameters"] == {"eta": 0.1, "kind": "moon", "inside": 1.0}
    assert told["metrics"] == {"rmse": [3, 1 / 3], "depth": [1, 7.5]}
    assert (told["inputs"], told["outputs"]) == (["source"], ["notes"])
    assert told["columns"] == ["eta", "rmse - Last", "depth - Last"]
    assert told["rows"] == 2  # the run, and the job that it has started
    assert told["graphs"] == ["ConfusionMatrix", "PrecisionRecallCurve", "ROCCurve"]
    assert told["rules"] == {"LossNotDecreasing": "IssuesFound"}
    assert told["tensors"] > 5


def test_the_example_has_its_job_stopped(sdk_server: Server) -> None:
    example = Path(__file__).parents[2] / "examples" / "debugger.py"
    words = [sys.executable, "-m", "dewfall", "exec", "--port", sdk_server.url.rsplit(":", 1)[1], "--", sys.executable, str(example)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=True)
    assert "the job is Stopped" in done.stdout
    assert "LossNotDecreasing: IssuesFound" in done.stdout
    assert "ExplodingTensor: NoIssuesFound" in done.stdout
