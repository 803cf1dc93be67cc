"""SDK v2's PySparkProcessor: Spark really runs, its output and event logs are in S3."""

from __future__ import annotations

import shutil
from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_pyspark_application_runs(run_script: Run) -> None:
    pytest.importorskip("pyspark", reason="the extra spark is not installed")
    if not shutil.which("java"):
        pytest.skip("no Java is installed")
    told: Any = ChainMap(*run_script("v2", "v2_spark.py"))
    assert told["status"] == "Completed"
    assert told["rows"] == [{"kind": "a", "total": 3}, {"kind": "b", "total": 42}]
    assert told["events"] >= 1  # an unfinished log of the same application may have been uploaded before
