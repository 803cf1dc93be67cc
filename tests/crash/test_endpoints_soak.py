"""Everything that happens to endpoints at once, under load: rollouts, killed replicas, scaling, models that come and go.

No request may be lost or answered by a model that it was not for, and the server's memory stays where it was. A minute, or as many seconds
as SOAK_SECONDS says.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config

from tests.crash.test_soak import Sample, sample
from tests.crash.world import ACCOUNT, ROLE, World, tarball, until

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 300)]
MODELS = [f"m{number}" for number in range(6)]
GROWTH = 24 << 20  # bytes of the server's own, between the second quarter and the last
ONCE = Config(retries={"total_max_attempts": 1}, read_timeout=90)


def blue_green(kind: str, **members: Any) -> dict[str, Any]:
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": 1, **members}}}


HALF = {"Type": "CAPACITY_PERCENT", "Value": 50}
WAYS = (
    blue_green("ALL_AT_ONCE"),
    blue_green("CANARY", CanarySize=HALF),
    blue_green("LINEAR", LinearStepSize=HALF),
    {"RollingUpdatePolicy": {"MaximumBatchSize": HALF, "WaitIntervalInSeconds": 1}},
)


class Soak:
    """Clients that never try again, and those who make trouble."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sagemaker, self.runtime = world.sagemaker, world.server.client("sagemaker-runtime", config=ONCE)
        self.stop, self.wrong = threading.Event(), list[str]()
        self.done: Counter[str] = Counter()
        self.right = {"v1"}  # who may answer at `rolled`
        self.pids: dict[str, int] = {}

    def forever(self, act: Callable[[int], None], pause: float) -> None:
        for turn in itertools.count(1):
            if self.stop.wait(pause):
                return
            try:
                act(turn)
                self.done[act.__name__] += 1
            except Exception as error:
                self.wrong.append(f"{self.done} {act.__name__}: {type(error).__name__}: {error}")

    def ask(self, endpoint: str, body: str, **more: str) -> Any:
        return json.loads(self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body.encode(), **more)["Body"].read())

    # ------------------------------------------------------------ load

    def ask_rolled(self, turn: int) -> None:
        before, body = self.right, f"{turn} " * random.randrange(1, 2000)
        told = self.ask("rolled", body)
        assert told["body"] == body
        assert told["name"] in before | self.right, (told["name"], before, self.right)

    def ask_scaled(self, turn: int) -> None:
        told = self.ask("scaled", str(turn))
        assert (told["body"], told["name"]) == (str(turn), "scaled")
        self.pids["scaled"] = told["pid"]

    def ask_many(self, turn: int) -> None:
        name = random.choice(MODELS)
        told = self.ask("many", "?", TargetModel=f"{name}.tar.gz")
        assert (told["weights"], told["asked"]) == (name, f"{name}.tar.gz")
        self.pids["many"] = told["pid"]

    # ------------------------------------------------------------ trouble

    def roll(self, turn: int) -> None:
        old, new = ("v1", "v2") if turn % 2 else ("v2", "v1")
        self.right = {old, new}
        self.sagemaker.update_endpoint(EndpointName="rolled", EndpointConfigName=new, DeploymentConfig=WAYS[turn % len(WAYS)])
        found = self.world.settled("rolled")
        assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", new), found.get("FailureReason")
        self.right = {new}

    def scale(self, turn: int) -> None:
        wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": turn % 3 + 2}]
        self.sagemaker.update_endpoint_weights_and_capacities(EndpointName="scaled", DesiredWeightsAndCapacities=wanted)
        assert self.world.settled("scaled")["EndpointStatus"] == "InService"

    def murder(self, turn: int) -> None:
        pid = self.pids.pop("scaled" if turn % 2 else "many", 0)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def prepare(world: World) -> None:
    for version in ("v1", "v2"):
        world.model(version, NAME=version)
        world.config(version, version, 2)
    world.sagemaker.create_endpoint(EndpointName="rolled", EndpointConfigName="v1")
    world.endpoint("scaled", 2, NAME="scaled")
    world.s3.create_bucket(Bucket="shelf")
    for name in MODELS:
        world.s3.put_object(Bucket="shelf", Key=f"{name}.tar.gz", Body=tarball({"weights.txt": name.encode()}))
    container = {"Image": f"{ACCOUNT}/shelf:1", "Mode": "MultiModel", "ModelDataUrl": "s3://shelf/"}
    world.sagemaker.create_model(ModelName="many", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    world.config("many", "many", 2)
    world.sagemaker.create_endpoint(EndpointName="many", EndpointConfigName="many")
    for name in ("rolled", "scaled", "many"):
        assert world.settled(name)["EndpointStatus"] == "InService"


def test_no_request_is_lost(world: World) -> None:
    prepare(world)
    soak, began, samples = Soak(world), time.monotonic(), list[Sample]()
    acts: list[tuple[Callable[[int], None], float]] = [(soak.ask_rolled, 0.005), (soak.ask_scaled, 0.005), (soak.ask_many, 0.005)] * 2
    acts += [(soak.roll, 0.5), (soak.scale, 0.5), (soak.murder, 4)]
    with ThreadPoolExecutor(len(acts)) as pool:
        for act, pause in acts:
            pool.submit(soak.forever, act, pause)
        while time.monotonic() - began < SECONDS:
            time.sleep(1)
            samples.append(sample(world, began))
        soak.stop.set()
    early, late = (max(one.memory for one in some) for some in (samples[len(samples) // 4 : len(samples) // 2], samples[-len(samples) // 4 :]))
    print(dict(soak.done), f"memory {early >> 20} -> {late >> 20} MiB, threads {samples[-1].threads}, files {samples[-1].files}")
    assert not soak.wrong, (len(soak.wrong), soak.wrong[:10])
    assert all(soak.done[name] for name in ("ask_rolled", "ask_scaled", "ask_many", "roll", "scale", "murder")), soak.done
    assert late - early < GROWTH
    until(lambda: sample(world, began).zombies == 0)
