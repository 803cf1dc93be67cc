"""The example of asynchronous inference, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dewfall.testing import Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "answers_later.py"


@pytest.mark.slow
def test_the_example_of_asynchronous_inference(dewfall: Server) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": dewfall.url, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, str(EXAMPLE)], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "20 answers that waited for an instance" in done.stdout
