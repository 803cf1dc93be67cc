"""`dewfall doctor`: what this machine can run and where this shell points, each line with what to do about a no."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace

from dewfall.launch import health
from dewfall.settings import Settings

Row = tuple[str, str, str]
LIBRARIES = {
    "sklearn": "",
    "xgboost": "",
    "lightgbm": "",
    "catboost": "dewfall[catboost]",
    "fasttext": "dewfall[blazingtext]",
    "torch": "dewfall[torch]",
    "PIL": "dewfall[vision]",
    "transformers": "dewfall[huggingface]",
    "tensorflow": "dewfall[tensorflow]",
    "onnxruntime": "dewfall[onnx]",
    "pyspark": "dewfall[spark]",
    "ray": "dewfall[ray]",
    "boto3": "boto3",
    "sagemaker": "dewfall[sdk]",
}
ENOUGH_GIB = 2.0


def print_checks(settings: Settings) -> int:
    """Print the table; always 0, because nothing here is an error."""
    from rich.table import Table
    from rich.text import Text

    from dewfall.coverage import console

    table = Table("what", "here", "meaning", title="What this machine can run")
    for row in checks(settings):
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)
    return 0


def checks(settings: Settings, environ: Mapping[str, str] | None = None) -> Iterator[Row]:
    """(what, here, meaning) line by line."""
    yield server_check(settings)
    yield from shell_checks(settings, os.environ if environ is None else environ)
    from dewfall.engine.namespaces import probe
    from dewfall.engine.scratch import is_below

    isolation = probe()
    own = "/opt/ml of its own" if is_below(str(settings.data)) else "/opt/ml and /tmp of its own"
    yield "namespaces", isolation.mode, isolation.reason or f"each job and replica sees an {own}"
    for module, package in LIBRARIES.items():
        there = importlib.util.find_spec(module) is not None
        yield module, "yes" if there else "no", "" if there or not package else f"pip install '{package}' where you need it"
    yield from aws_cli_check()
    java = _first_line(["java", "-version"])
    yield "Java", java or "no", "" if java else "Spark applications need it, nothing else does"
    mpi = _first_line(["mpirun", "--version"])
    yield "MPI", mpi or "no", "" if mpi else "jobs with the distribution mpi need it, nothing else does"
    docker = _first_line(["docker", "version", "--format", "{{.Server.Version}}"])
    yield "Docker engine", docker or "no", "Dewfall does not need it"
    yield "processors", str(os.cpu_count()), f"{settings.job_slots} jobs at once (DEWFALL_JOBS)"
    if settings.compute != "local":
        yield cluster_check(settings)
    folder = settings.data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    enough = f"for {settings.data}"
    yield "free space", f"{free:.1f} GiB", enough if free > ENOUGH_GIB else f"little: choose another folder than {settings.data} with --data"
    if not os.access(folder, os.W_OK):
        yield "data folder", "not writable", f"{folder}: choose another with --data or DEWFALL_DATA"


def cluster_check(settings: Settings) -> Row:
    """Whether somebody listens where DEWFALL_COMPUTE says, and what jobs there need."""
    host, port = settings.compute.removeprefix("ray://").rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2.0).close()
    except OSError as error:
        return "Ray cluster", "no", f"none answers at {settings.compute}: {error.strerror or error}"
    return "Ray cluster", "yes", f"jobs run on its nodes; each needs this Dewfall, and the folder {settings.data} at the same path"


def server_check(settings: Settings) -> Row:
    """Whether a server answers where the options and the environment say."""
    found = health(settings.endpoint, timeout=1.0)
    if found is None:
        return "server", "no", f"none answers at {settings.endpoint}; `dewfall up` starts one"
    return "server", "yes", f"{found['url']}, process {found['pid']}, data in {found['data']}"


def shell_checks(settings: Settings, environ: Mapping[str, str]) -> Iterator[Row]:
    """Where clients that are started from this shell go."""
    here = {settings.endpoint, replace(settings, host="localhost").endpoint, f"http://localhost:{settings.port}"}
    found = environ.get("AWS_ENDPOINT_URL", "")
    if found.rstrip("/") in here:
        yield "this shell", "points here", "boto3, the AWS CLI and the SageMaker SDKs go to Dewfall"
    else:
        yield "this shell", f"AWS_ENDPOINT_URL={found}" if found else "goes to AWS", 'eval "$(dewfall env)" points it here'
    for name, value in sorted(environ.items()):
        if name.startswith("AWS_ENDPOINT_URL_") and value.rstrip("/") not in here:
            yield "this shell", name, f"sends one service to {value}; unset it"
    if environ.get("AWS_PROFILE"):
        yield "this shell", "AWS_PROFILE", "a profile with endpoints or keys of its own may lead elsewhere; unset it"


def aws_cli_check() -> Iterator[Row]:
    """Which AWS CLI this shell has, and what of it the variables do not reach."""
    told = _first_line(["aws", "--version"])
    found = re.match(r"aws-cli/(\d+)\.(\d+)", told)
    if found is None:
        yield "AWS CLI", "no", "pip install awscli where you want it"
        return
    version = int(found[1]), int(found[2])
    old = version < ((2, 13) if version[0] == 2 else (1, 29))
    means = "does not know AWS_ENDPOINT_URL: `dewfall exec -- aws …`, or --endpoint-url" if old else ""
    if not old and version[0] == 1:
        means = "`aws sqs` goes to AWS all the same: `dewfall exec -- aws sqs …`, or --endpoint-url"
    yield "AWS CLI", told.split()[0], means


def _first_line(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else ""
