"""How the SDKs wait, stumble and recover; seconds are printed (-s shows them), not judged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import ChainMap
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing_server import Server
from tests.cli.conftest import dewfall_command, port_of
from tests.sdk.conftest import QUIET, SCRIPTS, Run, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_v2_traps(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_traps.py"))
    print({name: value for name, value in told.items() if name.endswith("_seconds")})
    assert told["log"]
    assert told["tab_metric"] == [["loss", 0.25]]
    assert told["analytics"] == [0.25]
    assert (told["failed"], told["reason"]) == ("Failed", True)
    assert (told["stopped"], told["stopped_twice"]) == ("Stopped", "ValidationException")
    assert (told["attached"], told["attached_answer"]) == (True, "1")
    assert (told["answer"], told["updated"]) == ([1, 1], [7, 7])
    assert told["gone"]


def test_v3_waits_and_kmeans(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v3", "v3_algorithms.py"))
    print({name: value for name, value in told.items() if name.endswith("_seconds")})
    assert (told["good"], told["kmeans"]) == ("Completed", "Completed")
    assert "bad.py" in told["failed"]
    assert "returned non-zero exit status 1" in told["failed"]
    assert told["clusters"][0] == told["clusters"][1] != told["clusters"][2] == told["clusters"][3]


def test_v2_with_variables_alone(sdk_server: Server, tmp_path: Path) -> None:
    exports = dewfall_command("env", "--port", port_of(sdk_server)).stdout
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHONPATH"))} | QUIET | {"HOME": str(tmp_path)}
    program = f"{exports}\nexec {environment('v2')}/python {SCRIPTS}/v2_variables.py {tmp_path}"
    done = subprocess.run(["sh", "-c", program], env=clean, capture_output=True, text=True, timeout=600, check=False)
    assert '"bucket": "sagemaker-us-east-1-000000000000", "prediction": [5.0]' in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]


def test_v2_in_a_notebook(sdk_server: Server, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DEWFALL_"))} | QUIET
    clean |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    program = [str(environment("v2") / "python"), str(SCRIPTS / "v2_notebook.py"), str(tmp_path), sdk_server.url]
    done = subprocess.run(program, env=clean, capture_output=True, text=True, timeout=300, check=False)
    assert '"role": "arn:aws:iam::000000000000:role/DewfallExecutionRole", "status": "Completed"' in done.stdout, done.stderr[-3000:]
    print(done.stdout[-200:])


CLOSED = """
set -e
ip link set lo up
test "$(ip -o link | wc -l)" = 1
export DEWFALL_DATA={folder}/data
{python} -m dewfall up -d --port 4566
trap '{python} -m dewfall down; tail -n 50 $DEWFALL_DATA/server.log' EXIT
{python} -m dewfall exec -- {sdk} {script} {folder}
"""


def test_v2_in_a_network_that_is_only_this_machine(tmp_path: Path) -> None:
    closed = ["unshare", "-rn"]
    if shutil.which("unshare") is None or subprocess.run([*closed, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode:
        pytest.skip("this machine permits no network namespaces to its users")
    script = CLOSED.format(python=sys.executable, sdk=environment("v2") / "python", script=SCRIPTS / "v2_flow.py", folder=tmp_path)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DEWFALL_"))}
    clean = {name: value for name, value in clean.items() if "proxy" not in name.lower()} | QUIET | {"HOME": str(tmp_path)}
    done = subprocess.run([*closed, "sh", "-c", script], env=clean, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert '"kmeans"' in done.stdout
