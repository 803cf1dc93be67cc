"""A container's /opt/ml in a temporary folder, and the toolkits run in it as the platform runs them."""

from __future__ import annotations

import http.client
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

RESOURCES = {
    "current_host": "algo-1",
    "hosts": ["algo-1"],
    "current_instance_type": "ml.m5.large",
    "current_group_name": "homogeneousCluster",
    "instance_groups": [{"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["algo-1"]}],
    "network_interface_name": "eth0",
}


@dataclass
class Container:
    """/opt/ml of one job or replica."""

    home: Path
    replicas: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def configure(self, hyperparameters: dict[str, str], channels: dict[str, dict[str, bytes]]) -> None:
        """Write config files and channels' files."""
        config = self.home / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
        (config / "inputdataconfig.json").write_text(json.dumps({name: {"TrainingInputMode": "File"} for name in channels}))
        (config / "resourceconfig.json").write_text(json.dumps(RESOURCES))
        for folder in (*(f"input/data/{name}" for name in channels), "model", "output/data"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        for name, files in channels.items():
            for path, body in files.items():
                (self.home / "input" / "data" / name / path).write_bytes(body)

    def source(self, files: dict[str, str]) -> Path:
        """A sourcedir.tar.gz."""
        path = self.home.parent / "sourcedir.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))
        return path

    def train(self, files: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the training toolkit on these source files."""
        env = {**os.environ, "SAGEMAKER_BASE_DIR": str(self.home), "DEWFALL_SUBMIT_ARCHIVE": str(self.source(files)), **environment}
        command = [sys.executable, "-m", "dewfall.images.training"]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=180, check=False)

    def failure(self) -> str:
        """What /opt/ml/output/failure says."""
        return (self.home / "output" / "failure").read_text()

    def serve(self, files: dict[str, str], program: str, framework: str, **environment: str) -> Client:
        """Run the serving toolkit on a model folder with code/, until it answers."""
        code = self.home / "model" / "code"
        code.mkdir(parents=True)
        for name, text in files.items():
            (code / name).write_text(text)
        address = str(self.home / "s")
        env = {**os.environ, "SAGEMAKER_BASE_DIR": str(self.home), "SAGEMAKER_SUBMIT_DIRECTORY": str(code), "SAGEMAKER_PROGRAM": program}
        env |= {"SAGEMAKER_BIND_TO_SOCKET": address, "DEWFALL_FRAMEWORK": framework, "PYTHONUNBUFFERED": "1", **environment}
        self.replicas.append(subprocess.Popen([sys.executable, "-m", "dewfall.images.serving"], env=env))
        return Client(address, self.replicas[-1])


class Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket; waits until somebody listens."""

    def __init__(self, path: str, process: subprocess.Popen[bytes]) -> None:
        super().__init__("localhost", timeout=180)
        self.path, self.process = path, process

    def connect(self) -> None:
        import socket

        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            try:
                self.sock.connect(self.path)
                return
            except OSError:
                self.sock.close()
                assert self.process.poll() is None, "the server ended"
                with pytest.raises(subprocess.TimeoutExpired):
                    self.process.wait(0.05)


@dataclass
class Client:
    """Requests to a replica."""

    path: str
    process: subprocess.Popen[bytes]

    def invoke(self, body: bytes, content_type: str, accept: str = "*/*") -> tuple[int, str, bytes]:
        """(status, content type, body) of POST /invocations."""
        connection = Unix(self.path, self.process)
        connection.request("POST", "/invocations", body, {"Content-Type": content_type, "Accept": accept})
        answer = connection.getresponse()
        found = answer.status, answer.headers["Content-Type"], answer.read()
        connection.close()
        return found


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """An empty /opt/ml; replicas in it end with the test."""
    home = tmp_path / "ml"
    home.mkdir()
    made = Container(home)
    yield made
    for process in made.replicas:
        process.terminate()
        process.wait(90)
