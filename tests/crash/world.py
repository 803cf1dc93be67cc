"""A server that is treated badly: killed, restarted at its port, filled up, asked nonsense; and what its tests need in one line each.

Images of its own keep the tests quick: `plain` runs the script of the channel `code`, `echo` answers /ping and /invocations.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dewfall.engine.processes import descendants, start_time
from dewfall.testing import Server, start

ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
ACCOUNT = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
PLAIN, ECHO = f"{ACCOUNT}/plain:1", f"{ACCOUNT}/echo:1"
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
SHELF = Path(__file__).parents[1] / "services" / "sagemaker" / "shelf_model.py"
BUCKET = "crash"
MODEL = "open('/opt/ml/model/m', 'w').write('x')\n"
PATIENCE = 180.0


class World:
    """One data folder and the servers that work on it, one after the other."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.data = folder / "data"
        self.port = free_port()
        images = folder / "images.json"
        table = {
            "*/plain:*": {"train": ["python", "/opt/ml/input/data/code/main.py"]},
            "*/echo:*": {"serve": ["python", str(Path(__file__).with_name("echo_model.py"))]},
            "*/shelf:*": {"serve": ["python", str(SHELF)]},
        }
        images.write_text(json.dumps(table))
        self.environment = {**os.environ, "DEWFALL_IMAGES": str(images), "DEWFALL_JOBS": "8", **environment}
        self.server = self.up()
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=tarball({"weights.txt": b"42"}))

    # ------------------------------------------------------------ the server

    def up(self) -> Server:
        """Start a server over the folder, at the same port as the last one."""
        self.server = start(self.data, "--port", str(self.port), environment=self.environment)
        return self.server

    def kill(self) -> None:
        """kill -9."""
        self.server.process.kill()
        self.server.process.wait()

    def down(self) -> None:
        """What `dewfall down` does."""
        if self.server.process.poll() is None:
            self.server.process.send_signal(signal.SIGTERM)
            self.server.process.wait(90)

    def log(self) -> str:
        """All that its servers have written."""
        return self.data.with_name(f"{self.data.name}.log").read_text()

    @property
    def s3(self) -> Any:
        return self.server.client("s3")

    @property
    def sagemaker(self) -> Any:
        return self.server.client("sagemaker")

    @property
    def runtime(self) -> Any:
        return self.server.client("sagemaker-runtime")

    # ------------------------------------------------------------ jobs

    def job(self, name: str, code: str = MODEL, *, image: str = PLAIN, channels: tuple[dict[str, Any], ...] = (), **members: Any) -> None:
        """Create a training job that runs Python code."""
        self.s3.put_object(Bucket=BUCKET, Key=f"code/{name}/main.py", Body=code.encode())
        asked = request(name, image, channel("code", f"code/{name}/"), *channels) | members
        self.sagemaker.create_training_job(**asked)

    def describe(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return found

    def reaches(self, name: str, secondary: str) -> dict[str, Any]:
        """Until the job is in a secondary status or has ended."""
        met: dict[str, Any] = until(lambda: (found := self.describe(name)) and (found["SecondaryStatus"] == secondary or is_over(found)) and found)
        return met

    def ended(self, name: str) -> dict[str, Any]:
        """The job, once it has ended."""
        met: dict[str, Any] = until(lambda: is_over(found := self.describe(name)) and found)
        return met

    def lines(self, name: str) -> list[str]:
        """The job's log so far."""
        logs, group = self.server.client("logs"), "/aws/sagemaker/TrainingJobs"
        try:
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        except logs.exceptions.ResourceNotFoundException:  # the first job's first line makes the group
            return []
        events = [logs.get_log_events(logGroupName=group, logStreamName=s["logStreamName"], startFromHead=True)["events"] for s in streams]
        return [event["message"] for some in events for event in some]

    def prints(self, name: str, text: str) -> str:
        """Until a line of the job's log begins so; the rest of the line."""
        found: str = until(lambda: next((line for line in self.lines(name) if line.startswith(text)), None))
        return found.removeprefix(text)

    def artifact(self, job: dict[str, Any]) -> list[str]:
        """Names in the job's model.tar.gz."""
        bucket, _, key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
        body = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            return archive.getnames()

    def agents(self) -> dict[str, int]:
        """Ids and processes of all agents; 0 for one that has not said its own yet."""
        found = {}
        for folder in (self.data / "jobs").iterdir():
            if folder.is_dir() and folder.suffix != ".discarded":
                with contextlib.suppress(FileNotFoundError):
                    found[folder.name] = int(json.loads((folder / "status.json").read_text()).get("pid", 0))
        return found

    def kill_agent(self, agent: str) -> None:
        """Kill it, once its process is known: a signal to process 0 would go to all of the tests' own."""
        os.kill(until(lambda: self.agents().get(agent)), signal.SIGKILL)

    # ------------------------------------------------------------ endpoints

    def model(self, name: str, *, image: str = ECHO, data: str = f"s3://{BUCKET}/model.tar.gz", **variables: str) -> None:
        """Create a model and a configuration of its name."""
        container = {"Image": image, "ModelDataUrl": data, "Environment": variables}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)

    def config(self, name: str, model: str, count: int = 1) -> None:
        variant = {"VariantName": "AllTraffic", "ModelName": model, "InitialInstanceCount": count, "InstanceType": "ml.m5.large"}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    def endpoint(self, name: str, count: int = 1, **variables: str) -> dict[str, Any]:
        """Create model, configuration and endpoint of one name; the endpoint when it is settled."""
        self.model(name, **variables)
        self.config(name, name, count)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        return self.settled(name)

    def settled(self, name: str) -> dict[str, Any]:
        met: dict[str, Any] = until(
            lambda: (found := self.sagemaker.describe_endpoint(EndpointName=name))["EndpointStatus"] in ("InService", "Failed") and found
        )
        return met

    def ask(self, name: str, body: bytes = b"hello") -> dict[str, Any]:
        """The echo model's answer."""
        answer: dict[str, Any] = json.loads(self.runtime.invoke_endpoint(EndpointName=name, Body=body)["Body"].read())
        return answer

    # ------------------------------------------------------------ what is there

    def processes(self) -> dict[int, str]:
        """Everything that this data folder's servers have started and that lives, with its command line."""
        return processes_of(self.data)


def request(name: str, image: str, *channels: dict[str, Any]) -> dict[str, Any]:
    """CreateTrainingJob's members."""
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "InputDataConfig": list(channels),
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
    }


def channel(name: str, prefix: str, **members: Any) -> dict[str, Any]:
    """One of InputDataConfig."""
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}"}}, **members}


def script_mode() -> dict[str, Any]:
    """The member of a job that runs the channel `code` in the warm scikit-learn image, without its toolkit."""
    entry = {"TrainingImage": SKLEARN, "TrainingInputMode": "File", "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/main.py"]}
    return {"AlgorithmSpecification": entry}


def is_over(job: dict[str, Any]) -> bool:
    return job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")


def until(look: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Look again until there is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def tarball(files: dict[str, bytes]) -> bytes:
    """A tar.gz of files."""
    return archive((tarfile.TarInfo(name), data) for name, data in files.items())


def archive(members: Any) -> bytes:
    """A tar.gz of (TarInfo, data)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member, data in members:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def alive() -> Iterator[tuple[int, str]]:
    """Every process that runs (zombies do not), with its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and start_time(int(entry.name)):
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue


def processes_of(data: Path) -> dict[int, str]:
    """Processes that have a data folder in their arguments, environment or open files, and what descends from them, with their command lines."""
    lines = dict(alive())
    own = {
        pid for pid, line in lines.items() if f"{data}/" in f"{line} {told(pid)}" or line.rstrip().endswith(str(data)) or f"--data {data} " in line
    }
    return {pid: lines[pid] for pid in own.union(*map(descendants, own)) - {os.getpid()} if pid in lines}


def told(pid: int) -> str:
    """A process's environment and open files."""
    found = []
    with contextlib.suppress(OSError):
        found.append(Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace"))
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return " ".join(found)


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The `dewfall` command."""
    command = [sys.executable, "-m", "dewfall", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)
