"""Rollouts as users make them: the SDK's update_endpoint, boto3's with a deployment configuration, and the example with an alarm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import ChainMap
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing_server import Server
from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "rollout.py"


def test_the_sdk_updates_an_endpoint(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_rollout.py"))
    assert (told["first"], told["second"], told["count"]) == ("first", "second", 2)
    assert told["both"] == ["first", "second"]
    assert (told["config"], told["shadow"], told["answer"]) == ("back", "Shadow", "first")


def test_the_example_is_saved_by_its_alarm(sdk_server: Server) -> None:
    variables = {**os.environ, **sdk_server.environment(), "ALARM_PERIOD": "10"}
    said = subprocess.run([sys.executable, str(EXAMPLE)], env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "back to v1: One or more alarms" in said.stdout
    assert "now v3 serves" in said.stdout
    assert "errors while v3 came: 0" in said.stdout
