"""The example of responsible AI, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dewfall.testing import Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "responsible.py"


@pytest.mark.slow
def test_the_example_of_responsible_ai(dewfall: Server) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": dewfall.url, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, str(EXAMPLE)], env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "Difference in Positive Proportions in Labels (DPL)" in done.stdout
    assert "moves the risk most" in done.stdout
    assert "  age: " in done.stdout
