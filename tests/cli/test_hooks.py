"""The user's own scripts at boot and when ready, and the second port with TLS."""

from __future__ import annotations

import os
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dewfall.hooks import Hooks, command, find_scripts
from dewfall.settings import Settings
from dewfall.testing_server import Server, running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("boot.d", "ready.d"):
        (tmp_path / "hooks" / name).mkdir(parents=True)
    return tmp_path / "hooks"


def hooks(folder: Path, tmp_path: Path) -> Hooks:
    return Hooks(Settings(tmp_path / "data", hooks=str(folder)))


def test_in_order_and_failures_stop_nothing(folder: Path, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    (folder / "ready.d" / "10-first.sh").write_text(f"echo first >> {diary}; exit 3")
    (folder / "ready.d" / "20-second.py").write_text(f"open({str(diary)!r}, 'a').write('second\\n')")
    (folder / "ready.d" / "notes.txt").write_text("not a script")
    made = hooks(folder, tmp_path)
    made.run("ready")
    assert diary.read_text() == "first\nsecond\n"
    assert made.told("ready") == {
        "completed": True,
        "scripts": [
            {"stage": "READY", "name": "10-first.sh", "state": "ERROR"},
            {"stage": "READY", "name": "20-second.py", "state": "SUCCESSFUL"},
        ],
    }


def test_scripts_have_the_servers_variables(folder: Path, tmp_path: Path) -> None:
    (folder / "boot.d" / "say.sh").write_text('echo "$AWS_ENDPOINT_URL $AWS_DEFAULT_REGION $PWD" > said')
    hooks(folder, tmp_path).run("boot")
    assert (folder / "boot.d" / "said").read_text() == f"http://127.0.0.1:4566 us-east-1 {folder / 'boot.d'}\n"


def test_what_is_not_run_yet_is_told_too(folder: Path, tmp_path: Path) -> None:
    (folder / "boot.d" / "a.sh").touch()
    told: Any = hooks(folder, tmp_path).told()
    assert told == {"completed": {"BOOT": False, "READY": False}, "scripts": [{"stage": "BOOT", "name": "a.sh", "state": "UNKNOWN"}]}
    assert hooks(folder, tmp_path).told("nonsense") is None


def test_no_folder_is_no_script(tmp_path: Path) -> None:
    made = Hooks(Settings(tmp_path))
    made.start("ready")
    assert made.told("ready") == {"completed": True, "scripts": []}
    assert find_scripts(tmp_path / "missing") == []


def test_an_executable_script_runs_by_its_first_line(tmp_path: Path) -> None:
    script = tmp_path / "x.sh"
    script.write_text("#!/usr/bin/env perl\n")
    assert command(script)[1:] == [str(script)]
    script.chmod(0o755)
    assert command(script) == [str(script)]


@pytest.fixture
def hooked(folder: Path, tmp_path: Path, free_port: int) -> Iterator[Server]:
    ask = "import os, urllib.request as u; print(u.urlopen(os.environ['AWS_ENDPOINT_URL'] + '/_dewfall/ready').read())\n"
    (folder / "boot.d" / "early.sh").write_text(f"echo boot > {tmp_path}/early")
    (folder / "ready.d" / "ask.py").write_text(f"{ask}open({str(tmp_path / 'asked')!r}, 'w').write('yes')")
    with running(environment=os.environ | {"DEWFALL_HOOKS": str(folder), "DEWFALL_TLS_PORT": str(free_port)}) as server:
        yield server


def test_a_server_with_hooks_and_tls(hooked: Server, tmp_path: Path, free_port: int) -> None:
    assert (tmp_path / "early").exists()
    while not hooked.ask("/_dewfall/init/ready")["completed"]:
        time.sleep(0.05)
    assert (tmp_path / "asked").exists()
    assert hooked.ask("/_localstack/init")["completed"] == {"BOOT": True, "READY": True}
    assert hooked.ask("/_dewfall/health")["tls_url"] == f"https://127.0.0.1:{free_port}"
    trusting = ssl.create_default_context(cafile=str(hooked.data / "authority" / "ca.pem"))
    for host in ("127.0.0.1", "localhost"):
        with urllib.request.urlopen(f"https://{host}:{free_port}/_dewfall/ready", context=trusting, timeout=90) as answer:
            assert answer.read() == b'{"ready": true}'
    bundle = str(hooked.data / "authority" / "ca.pem")
    s3 = hooked.session.client("s3", endpoint_url=f"https://localhost:{free_port}", verify=bundle)
    s3.create_bucket(Bucket="encrypted")
    body = os.urandom(3_000_000)
    s3.put_object(Bucket="encrypted", Key="k", Body=body)
    assert s3.get_object(Bucket="encrypted", Key="k")["Body"].read() == body
    s3.close()
