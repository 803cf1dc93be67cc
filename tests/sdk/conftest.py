"""Environments with the real clients, made once and kept in .sdk/ (or DEWFALL_SDK_ENVS), and a server of the documented command."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing_server import Server, running

ROOT = Path(os.environ.get("DEWFALL_SDK_ENVS") or Path(__file__).parents[2] / ".sdk")
PACKAGES = {
    "v2": ["sagemaker>=2.257,<3"],
    "v3": ["sagemaker>=3,<4"],
    "cli": ["awscli"],
    "torch": ["torch==2.13.0", "pillow", "pytest", "pytest-timeout", "boto3", "--editable", str(Path(__file__).parents[2])],
    "huggingface": ["torch==2.13.0", "transformers", "--editable", str(Path(__file__).parents[2])],
    "tensorflow": ["tensorflow-cpu", "--editable", str(Path(__file__).parents[2])],
    "ray": ["ray[client]==2.*", "pytest", "pytest-timeout", "pytest-randomly", "boto3", "--editable", str(Path(__file__).parents[2])],
}
OWN_PYTHON = sys.executable
SCRIPTS = Path(__file__).parent / "scripts"
QUIET = {"SAGEMAKER_SUPPRESS_V2_WARNING": "1", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}

Run = Callable[..., list[dict[str, Any]]]


def environment(name: str) -> Path:
    """The bin folder of a client's environment; made when it is not there."""
    ROOT.mkdir(parents=True, exist_ok=True)
    folder, done = ROOT / name, ROOT / name / ".done"
    with (ROOT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *PACKAGES[name]], check=True)
            done.touch()
    return folder / "bin"


@pytest.fixture(scope="session")
def sdk_server() -> Iterator[Server]:
    """A server for the clients of other environments."""
    with running() as server:
        yield server


@pytest.fixture
def run_script(sdk_server: Server, tmp_path: Path) -> Run:
    """Run a script of an SDK's environment under `dewfall exec`; returns what it told."""

    def run(name: str, script: str, *, under_exec: bool = True) -> list[dict[str, Any]]:
        return run_against(sdk_server, tmp_path, name, script, under_exec=under_exec)

    return run


def run_against(server: Server, folder: Path, name: str, script: str, *, under_exec: bool = True) -> list[dict[str, Any]]:
    """Run a script of an SDK's environment, by default under `dewfall exec`; what it told."""
    port = server.url.rsplit(":", 1)[1]
    program = [str(environment(name) / "python"), str(SCRIPTS / script), str(folder)]
    prefix = [OWN_PYTHON, "-m", "dewfall", "exec", "--port", port, "--"] if under_exec else []
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PYTHONPATH", "VIRTUAL_ENV"))} | QUIET
    variables |= {"HOME": str(folder), "DEWFALL_DATA": str(folder / "client")}
    done = subprocess.run(prefix + program, env=variables, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return [json.loads(found) for found in re.findall(r"FOUND (\{.*\})", done.stdout)]
