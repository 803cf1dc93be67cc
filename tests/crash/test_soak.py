"""Minutes of everything at once: nothing that the server or its fork server holds may grow without bound."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.crash.world import BUCKET, World, processes_of, script_mode, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WARM_UP, SECONDS = 45.0, 180.0
ENDLESS = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.02)"
TRAINS = "import sklearn\nfor n in range(50): print('loss=%d' % n)\nopen('/opt/ml/model/m', 'w').write('x')"


@dataclass(frozen=True)
class Sample:
    """What there is at a moment."""

    at: float
    files: int
    threads: int
    memory: int  # bytes of the server's own
    fork_server: int  # the same of its fork server
    zombies: int
    agents: int
    sockets: int
    staged: int


def sample(world: World, began: float) -> Sample:
    server = world.server.process.pid
    forks = [pid for pid, line in processes_of(world.data).items() if "zygote import main" in line]
    folders = [entry for entry in (world.data / "jobs").iterdir() if entry.is_dir()]
    return Sample(
        at=time.monotonic() - began,
        files=len(os.listdir(f"/proc/{server}/fd")),
        threads=number(server, "Threads"),
        memory=number(server, "RssAnon") * 1024,
        fork_server=sum(number(pid, "RssAnon") for pid in forks) * 1024,
        zombies=zombies({server, *forks}),
        agents=len(folders),
        sockets=len([entry for entry in (world.data / "run").iterdir() if entry.is_socket()]),
        staged=len(list((world.data / "blobs" / "staging").iterdir())),
    )


def imported(world: World) -> bool:
    """Whether the fork server has its libraries: for a second it only waits. Their import yields to all else, so it can take minutes."""
    forks = [pid for pid, line in processes_of(world.data).items() if "zygote import main" in line]
    for _ in range(20):
        if any(states(pid) - {"S"} for pid in forks):
            return False
        time.sleep(0.05)
    return bool(forks)


def states(pid: int) -> set[str]:
    """Of each of its threads: the fork server imports in one of its own."""
    found = set()
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found.add((task / "stat").read_text().rpartition(") ")[2][0])
    return found


def number(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


def zombies(parents: set[int]) -> int:
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
                count += fields[0] == "Z" and int(fields[1]) in parents
    return count


class Load:
    """Clients that go on until they are told to stop; what went wrong is kept."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stop = threading.Event()
        self.wrong: list[str] = []
        self.turns: dict[str, int] = {}

    def forever(self, act: Callable[[int], None], pause: float = 0.0) -> None:
        for turn in itertools.count(1):
            if self.stop.wait(pause):
                return
            try:
                act(turn)
                self.turns[act.__name__] = turn
            except Exception as error:
                self.wrong.append(f"{act.__name__}: {type(error).__name__}: {error}")

    def objects(self, turn: int) -> None:
        key, body = f"soak/{turn % 200}", os.urandom(1) * (turn * 7919 % 400_000)
        self.world.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        assert self.world.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
        if turn % 3 == 0:
            self.world.s3.delete_object(Bucket=BUCKET, Key=key)

    def broken_uploads(self, turn: int) -> None:
        host, _, port = self.world.server.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), 10) as sock:
            sock.sendall(f"PUT /{BUCKET}/cut HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3000000\r\n\r\n".encode() + b"x" * (turn * 991 % 500_000))

    def jobs(self, turn: int) -> None:
        name = f"job-{turn}"
        self.world.job(name, TRAINS, **script_mode() if turn % 2 else {})
        assert self.world.ended(name)["TrainingJobStatus"] == "Completed"
        self.world.sagemaker.delete_training_job(TrainingJobName=name)

    def failures(self, turn: int) -> None:
        self.world.job(f"bad-{turn}", "raise SystemExit(3)")
        assert self.world.ended(f"bad-{turn}")["TrainingJobStatus"] == "Failed"
        self.world.sagemaker.delete_training_job(TrainingJobName=f"bad-{turn}")

    def stops(self, turn: int) -> None:
        self.world.job(f"stop-{turn}", ENDLESS)
        time.sleep(turn % 5 * 0.2)
        with contextlib.suppress(ClientError):
            self.world.sagemaker.stop_training_job(TrainingJobName=f"stop-{turn}")
        assert self.world.ended(f"stop-{turn}")["TrainingJobStatus"] == "Stopped"

    def invocations(self, turn: int) -> None:
        assert self.world.ask("steady")["body"] == "hello"

    def murders(self, turn: int) -> None:
        os.kill(self.world.ask("steady")["pid"], signal.SIGKILL)

    def churn(self, turn: int) -> None:
        name = f"e{turn}"
        self.world.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="steady")
        assert self.world.settled(name)["EndpointStatus"] == "InService"
        assert self.world.ask(name)["body"] == "hello"
        self.world.sagemaker.delete_endpoint(EndpointName=name)

    def impatient_waits(self, turn: int) -> None:
        """A held read whose client leaves."""
        host, _, port = self.world.server.url.removeprefix("http://").partition(":")
        body = b'{"EndpointName":"steady"}'
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nX-Amz-Target: SageMaker.DescribeEndpoint\r\nUser-Agent: Boto3/1 m/B\r\n"
        with socket.create_connection((host, int(port)), 10) as sock:
            sock.sendall(f"{head}Content-Length: {len(body)}\r\nContent-Type: application/x-amz-json-1.1\r\n\r\n".encode() + body)


def test_nothing_grows(world: World) -> None:
    world.endpoint("steady", 2)
    world.job("first", TRAINS, **script_mode())
    assert world.ended("first")["TrainingJobStatus"] == "Completed"
    until(lambda: imported(world))
    load, began, samples = Load(world), time.monotonic(), []
    acts: list[tuple[Any, float]] = [(load.objects, 0.01), (load.broken_uploads, 0.1), (load.jobs, 0), (load.failures, 0.2), (load.stops, 0.2)]
    acts += [(load.invocations, 0.002), (load.murders, 15), (load.churn, 1), (load.impatient_waits, 0.1)]
    with ThreadPoolExecutor(len(acts)) as pool:
        for act, pause in acts:
            pool.submit(load.forever, act, pause)
        while time.monotonic() - began < SECONDS:
            time.sleep(5)
            samples.append(sample(world, began))
        load.stop.set()
    for one in samples:
        print(one)
    print(load.turns, load.wrong[:5])
    assert not load.wrong, load.wrong[:10]
    assert_steady(samples)
    until(lambda: len(world.agents()) == 2)
    until(lambda: sample(world, began).staged == 0)
    until(lambda: sample(world, began).zombies == 0)


def assert_steady(samples: list[Sample]) -> None:
    """The last third is no more than a little above what the time after the warm-up had."""
    early = [one for one in samples if WARM_UP <= one.at < WARM_UP + 45]
    late = samples[-len(early) :]

    def growth(name: str) -> float:
        of = min if name == "fork_server" else max  # a child that has just been forked counts as its parent for a moment
        return float(of(getattr(one, name) for one in late) - of(getattr(one, name) for one in early))

    grown = {name: growth(name) for name in ("files", "threads", "memory", "fork_server", "zombies", "agents", "sockets", "staged")}
    allowed = {"files": 30, "threads": 8, "memory": 24 << 20, "fork_server": 4 << 20, "zombies": 4, "agents": 8, "sockets": 4, "staged": 6}
    assert all(grown[name] <= allowed[name] for name in grown), grown
