"""Commands that misbehave: they are ended with all they started, and the reason is said."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from dewfall.engine.processes import wait_for_end
from tests.engine.agents.jobs import Jobs, is_alive

HIDE_A_CHILD = """
import os, sys, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        print("hidden", os.getpid(), flush=True)
        os.write(writer, b"!")
        time.sleep(600)
    os._exit(0)
os.wait()
os.read(reader, 1)
time.sleep(float(sys.argv[1]))
"""
IGNORE_TERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
EAT_MEMORY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "x = b'x' * (300 << 20); import time; time.sleep(600)"])
child.wait()
"""


def hidden_pid(jobs: Jobs, agent: str) -> int:
    line = next(line for line in jobs.log(agent).splitlines() if line.startswith("hidden"))
    return int(line.split()[1])


def test_children_that_left_the_session_end_with_the_command(jobs: Jobs) -> None:
    status = jobs.run("python", "-c", HIDE_A_CHILD, "0")
    assert status.exit_code == 0
    assert not is_alive(hidden_pid(jobs, status.id))


def test_max_runtime_ends_the_whole_tree(jobs: Jobs) -> None:
    status = jobs.run("python", "-c", HIDE_A_CHILD, "600", max_runtime=0.5, grace=0.1)
    assert (status.reason, status.exit_code) == ("MaxRuntimeExceeded", 143)
    assert not is_alive(hidden_pid(jobs, status.id))


def test_a_command_that_ignores_sigterm_is_killed_after_its_grace(jobs: Jobs) -> None:
    agent = jobs.script(IGNORE_TERM, grace=0.2)
    _wait_for_log(jobs, agent, "ready")
    jobs.compute.stop(agent)
    status = jobs.wait(agent)
    assert (status.reason, status.exit_code) == ("Stopped", 137)


def test_a_stopped_command_may_end_its_own_way(jobs: Jobs) -> None:
    trap = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('ready', flush=True); time.sleep(600)"
    agent = jobs.script(trap)
    _wait_for_log(jobs, agent, "ready")
    jobs.compute.stop(agent)
    status = jobs.wait(agent)
    assert (status.reason, status.exit_code) == ("Stopped", 7)


def test_memory_is_that_of_the_whole_tree(jobs: Jobs) -> None:
    status = jobs.run_script(EAT_MEMORY, memory_bytes=150 << 20)
    assert (status.reason, status.exit_code) == ("OutOfMemory", 137)
    assert "more memory than its instance has" in status.message


def test_log_is_bounded_and_says_so(jobs: Jobs) -> None:
    status = jobs.run_script("for n in range(20_000): print('line', n)", log_limit=100_000)
    data = jobs.compute.log_file(status.id).read_bytes()
    assert len(data) < 100_500
    assert data.endswith(b"The log's limit of 100000 bytes is reached; the rest of the output is dropped.\n")


def test_a_line_that_never_ends_is_cut(jobs: Jobs) -> None:
    status = jobs.run_script("print('x' * 3_000_000, end='')")
    lines = jobs.log(status.id).splitlines()
    assert sum(line.count("x") for line in lines if set(line) == {"x"}) == 3_000_000
    assert all(len(line) < 512 * 1024 for line in lines)


def test_the_tail_of_a_failure_is_its_last_fifty_lines(jobs: Jobs) -> None:
    status = jobs.run_script("for n in range(100): print(n)\nraise SystemExit(1)")
    assert status.log_tail.splitlines() == [str(n) for n in range(50, 100)]


def test_an_agent_that_is_killed_is_lost_with_all_it_ran(jobs: Jobs) -> None:
    agent = jobs.start("python", "-c", HIDE_A_CHILD, "600")
    _wait_for_log(jobs, agent, "hidden")
    hidden = hidden_pid(jobs, agent)
    os.kill(jobs.agent_pid(agent), signal.SIGKILL)
    assert jobs.wait(agent).state == "Lost"
    jobs.compute.discard(agent)
    assert not is_alive(hidden)


def test_an_agent_whose_folder_is_gone_ends(jobs: Jobs) -> None:
    agent = jobs.script(IGNORE_TERM)
    _wait_for_log(jobs, agent, "ready")
    pid = jobs.agent_pid(agent)
    shutil.rmtree(jobs.folder / "jobs" / agent, ignore_errors=True)
    wait_for_end([pid], seconds=30)
    assert not is_alive(pid)


@pytest.mark.slow
def test_twenty_agents_at_once(jobs: Jobs) -> None:
    agents = [jobs.script(f"print({n})") for n in range(20)]
    assert [jobs.wait(agent).exit_code for agent in agents] == [0] * 20
    assert [jobs.log(agent).splitlines()[-1] for agent in agents] == [str(n) for n in range(20)]


@pytest.mark.slow
def test_ten_thousand_small_files(jobs: Jobs) -> None:
    channel = jobs.channel({f"part/{n}.txt": "x" for n in range(10_000)})
    count = "import os; print(len(os.listdir(os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml') + '/input/data/train/part')))"
    status = jobs.run_script(count, channels=(channel,))
    assert jobs.log(status.id).splitlines()[-1] == "10000"


def _wait_for_log(jobs: Jobs, agent: str, text: str) -> None:
    jobs.wait(agent, "Running")
    with jobs.compute.log_file(agent).open() as log:
        seen = ""
        while text not in seen:
            seen += log.read()
