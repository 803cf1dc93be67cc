"""`dewfall demo`: the example `first_model.py` against a server of its own, with a temporary folder, gone afterwards.

The example is a script that any user could have written; the demo only gives it a server.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from dewfall.testing_server import running

SCRIPT = "first_model.py"
DROPPED = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SAGEMAKER", "ROLE_ARN")


def run_demo() -> int:
    """Run it; returns the script's exit code."""
    if importlib.util.find_spec("boto3") is None:
        print("dewfall: the demo uses boto3; pip install boto3", file=sys.stderr)
        return 1
    script = find_script()
    if script is None:
        print(f"dewfall: {SCRIPT} is missing; it comes with the source tree, in examples/", file=sys.stderr)
        return 1
    with running() as server:
        print(f"A Dewfall server of the demo's own runs at {server.url}; now {script} runs against it.")
        environment = {name: value for name, value in os.environ.items() if name not in DROPPED}
        return subprocess.call([sys.executable, str(script)], env=environment | server.environment())


def find_script() -> Path | None:
    """In the source tree, else where an installed Dewfall keeps its examples."""
    places = (Path(__file__).parent.parent / "examples", Path(sysconfig.get_path("data")) / "share" / "dewfall" / "examples")
    return next((place / SCRIPT for place in places if (place / SCRIPT).exists()), None)
