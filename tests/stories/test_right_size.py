"""The example of right-sizing, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dewfall.testing import Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "right_size.py"


@pytest.mark.slow
def test_the_example_of_right_sizing(dewfall: Server) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": dewfall.url, "PYTHONWARNINGS": "ignore", "PHASE_SECONDS": "1"}
    done = subprocess.run([sys.executable, str(EXAMPLE)], env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert "FAILED ml.m5.24xlarge" in done.stdout
    assert "best ml." in done.stdout
