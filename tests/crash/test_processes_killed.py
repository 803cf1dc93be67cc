"""kill -9 of an agent, a replica, a user's process, the fork server: the others go on, the lost one is replaced or told of."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from dewfall.engine.processes import start_time
from tests.crash.world import World, alive, script_mode, until

pytestmark = pytest.mark.slow

ENDLESS = "import os, time\nprint('pid', os.getpid(), flush=True)\nwhile True: time.sleep(0.05)"
KILLED_BY_ITSELF = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
IMPORTS = "import sklearn, time; time.sleep(0.5); open('/opt/ml/model/m', 'w').write('x')"


@pytest.fixture
def two(world: World) -> World:
    world.endpoint("a", 2)
    return world


def replicas(world: World) -> set[int]:
    return {world.ask("a")["pid"] for _ in range(8)}


def answers_while(world: World, act: object, done: object) -> Counter[str]:
    """Requests from four clients at once, before, during and after; how they ended."""
    stop, ends = threading.Event(), Counter[str]()

    def load() -> None:
        while not stop.is_set():
            try:
                ends[world.ask("a")["body"]] += 1
            except Exception as error:
                ends[f"{type(error).__name__}: {error}"] += 1

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(load)
        try:
            until(lambda: ends["hello"] > 50)
            act()  # type: ignore[operator]
            until(done)  # type: ignore[arg-type]
            answered = ends["hello"]
            until(lambda: ends["hello"] > answered + 50)
        finally:
            stop.set()
    return ends


def test_the_other_replica_answers_for_a_killed_one(two: World) -> None:
    before = replicas(two)
    victim = min(before)
    ends = answers_while(two, lambda: os.kill(victim, signal.SIGKILL), lambda: len(replicas(two) - before) == 1)
    assert set(ends) == {"hello"}, ends
    assert victim not in replicas(two)


def test_the_other_replica_answers_for_one_whose_agent_was_killed(two: World) -> None:
    before = replicas(two)
    agent = min(two.agents().values())
    ends = answers_while(two, lambda: os.kill(agent, signal.SIGKILL), lambda: len(replicas(two) - before) == 1)
    assert set(ends) == {"hello"}, ends
    assert two.settled("a")["EndpointStatus"] == "InService"
    assert sum(start_time(pid) > 0 for pid in before) == 1


def test_a_replica_that_hangs_is_replaced(two: World) -> None:
    before = replicas(two)
    os.kill(victim := min(before), signal.SIGSTOP)
    until(lambda: not start_time(victim))
    until(lambda: len(replicas(two)) == 2)


def test_both_replicas_killed_are_only_a_pause(two: World) -> None:
    before = replicas(two)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(start_time, before)))  # on a busy machine both may still take a request when they die
    assert two.ask("a")["body"] == "hello"
    until(lambda: len(replicas(two) - before) == 2)


def test_a_killed_user_process_is_an_algorithm_error(world: World) -> None:
    world.job("suicide", KILLED_BY_ITSELF)
    world.job("murdered", ENDLESS)
    os.kill(int(world.prints("murdered", "pid ")), signal.SIGKILL)
    reasons = {name: world.ended(name)["FailureReason"] for name in ("suicide", "murdered")}
    assert reasons == dict.fromkeys(reasons, "AlgorithmError: , exit code: 137")


def test_a_killed_agent_takes_its_command_along(world: World) -> None:
    world.job("job", ENDLESS)
    pid = int(world.prints("job", "pid "))
    (agent,) = world.agents()
    world.kill_agent(agent)
    assert world.ended("job")["FailureReason"].startswith("InternalServerError:")
    assert not start_time(pid)


def test_jobs_do_not_need_the_fork_server_that_started_them(world: World) -> None:
    for n in range(4):
        world.job(f"job{n}", IMPORTS, **script_mode())
    zygote = until(lambda: next((pid for pid, line in alive() if "zygote import main" in line and pid in world.processes()), 0))
    os.kill(zygote, signal.SIGKILL)
    world.job("later", IMPORTS, **script_mode())
    assert {world.ended(name)["TrainingJobStatus"] for name in ("job0", "job1", "job2", "job3", "later")} == {"Completed"}
