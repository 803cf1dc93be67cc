"""`dewfall demo` as a user types it, and the example script against a server of one's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dewfall.demo import find_script
from dewfall.testing_server import Server
from tests.cli.conftest import dewfall_command, port_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_the_demo_trains_serves_and_tells() -> None:
    said = dewfall_command("demo")
    assert said.returncode == 0, said.stderr
    for text in ("train XGBoost and a scikit-learn forest", "The two models", "latency of a call"):
        assert text in said.stdout


def test_the_example_by_itself(sdk_server: Server) -> None:
    said = dewfall_command("exec", "--port", port_of(sdk_server), "--", sys.executable, str(find_script()))
    assert said.returncode == 0, said.stderr
    assert sdk_server.client("sagemaker").list_endpoints()["Endpoints"] == []


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "dewfall", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dewfall ")
