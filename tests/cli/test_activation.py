"""`dewfall.activate()`: this process's clients go to the server, those with a hard-coded AWS host too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dewfall.activation import activate
from dewfall.testing_server import Server


def run(program: str, **variables: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DEWFALL_"))}
    done = subprocess.run([sys.executable, "-c", program], env=clean | variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_clients_of_every_kind(dewfall: Server) -> None:
    program = (
        f"import dewfall; print(dewfall.activate({dewfall.url!r}))\n"
        "import boto3\n"
        "print(boto3.client('s3').meta.endpoint_url)\n"
        "print(boto3.client('sts', region_name='us-east-1', endpoint_url='https://sts.us-east-1.amazonaws.com').get_caller_identity()['Account'])\n"
        "print(boto3.client('s3', endpoint_url='http://minio.example:9000').meta.endpoint_url)"
    )
    assert run(program).split() == [dewfall.url, dewfall.url, "000000000000", "http://minio.example:9000"]


def test_the_environment_says_where(dewfall: Server) -> None:
    port = dewfall.url.rsplit(":", 1)[1]
    assert run("import dewfall; print(dewfall.activate())", DEWFALL_PORT=port) == dewfall.url


def test_twice_is_once(dewfall: Server) -> None:
    program = (
        f"import dewfall; dewfall.activate({dewfall.url!r}); dewfall.activate({dewfall.url!r})\n"
        "from botocore.session import Session; print(hasattr(Session.create_client.dewfall_original, 'dewfall_original'))"
    )
    assert run(program) == "False"


def test_without_a_server_nothing_is_changed(free_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(ConnectionError, match="start one with `dewfall up -d`"):
        activate(f"http://127.0.0.1:{free_port}")
    assert "AWS_ENDPOINT_URL" not in os.environ
