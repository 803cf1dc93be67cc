"""SDK v2's rules: built in, one's own, Profiler's."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_rules_of_all_kinds(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_rules.py"))
    assert told["rules"] == {"ExplodingTensor": "NoIssuesFound", "Mine": "IssuesFound", "ProfilerReport": "NoIssuesFound"}
    assert {"profiler-report.html", "profiler-report.ipynb", "OverallSystemUsage.json", "BatchSize.json"} <= set(told["report"])
    assert (told["by_default"], told["profiling"]) == ([], "Enabled")
    assert (told["disabled"], told["status"]) == ({"OverallSystemUsage": "Stopped"}, "InProgress")
