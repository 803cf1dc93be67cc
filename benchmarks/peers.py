"""The servers that are compared, each pinned to the first core; the load has the last one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER_CORE = "0"
LOAD_CORE = (os.cpu_count() or 1) - 1
MOTO = Path(os.environ.get("DEWFALL_BENCH_ENVS") or Path(__file__).parent.parent / ".sdk") / "moto"


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(command: list[str]) -> list[str]:
    """The command on the servers' core."""
    return ["taskset", "-c", SERVER_CORE, *command] if shutil.which("taskset") else command


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 60) -> float:
    """Wait until a server answers anything; the seconds it took."""
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return time.perf_counter() - began
        except urllib.error.HTTPError:
            return time.perf_counter() - began
        except OSError:
            time.sleep(0.005)
    raise RuntimeError(f"{url} did not answer")


@contextmanager
def dewfall(*, pin: bool = True) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """(address, process, data folder) of a Dewfall server; on the servers' core unless it is to have them all."""
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="dewfall-bench-"))
    command = [sys.executable, "-m", "dewfall", "up", "--port", str(port), "--data", str(folder / "data"), "--ephemeral"]
    command = pinned(command) if pin else command
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/_dewfall/ready", process)
        yield f"http://127.0.0.1:{port}", process, folder / "data"
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def moto() -> Iterator[str]:
    """moto's server, in an environment of its own."""
    if not (MOTO / ".done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(MOTO)], check=True)
        subprocess.run([MOTO / "bin" / "python", "-m", "pip", "install", "--quiet", "moto[server,s3,sagemaker]"], check=True)
        (MOTO / ".done").touch()
    port = free_port()
    process = subprocess.Popen(pinned([str(MOTO / "bin" / "moto_server"), "-p", str(port)]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/moto-api/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def nginx(file: Path) -> Iterator[str]:
    """nginx with one worker and sendfile, serving a file's folder."""
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="nginx-bench-"))
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(
        f"worker_processes 1; daemon off; user root; pid {folder}/pid; error_log {folder}/error;\n"
        "events {} http { access_log off; sendfile on; tcp_nopush on; "
        f"server {{ listen 127.0.0.1:{port}; root {file.parent}; }} }}\n"
    )
    process = subprocess.Popen(pinned(["nginx", "-c", str(folder / "nginx.conf")]), stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/{file.name}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
