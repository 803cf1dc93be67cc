"""A command in a warm process behaves as in a new one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dewfall.engine.compute.local import LocalCompute
from dewfall.engine.warm import fits
from dewfall.images.catalog import families
from tests.engine.agents.jobs import Jobs

FAMILY = next(name for name, modules in families().items() if "sklearn.ensemble" in modules)
LOOK = "import os, sys; print(__name__, sys.argv, os.getcwd(), sys.path[0], os.environ['A'], 'pandas' in sys.modules)"

SPAWN = """
import multiprocessing
def square(x):
    return x * x
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(square, [1, 2]))
"""


@pytest.fixture(scope="module")
def warm_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    opened = Jobs(tmp_path_factory.mktemp("warm"))
    assert isinstance(opened.compute, LocalCompute)
    opened.compute.warm(FAMILY)
    assert opened.compute.zygote(FAMILY).ready.wait(180)
    yield opened
    opened.close()


def run(jobs: Jobs, source: str, *arguments: str, preload: str = FAMILY) -> tuple[int | None, str]:
    environment = {"A": "b", "DEWFALL": "/opt/ml"}
    status = jobs.run("python", *arguments, files={"/opt/ml/code/job.py": source}, environment=environment, preload=preload)
    return status.exit_code, jobs.log(status.id).replace(f"{jobs.folder}/jobs/{status.id}/root", "")


@pytest.mark.slow
def test_script_sees_what_a_new_interpreter_shows(warm_jobs: Jobs) -> None:
    code, log = run(warm_jobs, LOOK, "/opt/ml/code/job.py", "--x", "1")
    assert (code, log) == (0, "__main__ ['/opt/ml/code/job.py', '--x', '1'] /opt/ml/code /opt/ml/code b True\n")
    assert run(warm_jobs, LOOK, "/opt/ml/code/job.py", "--x", "1", preload="") == (0, log.replace("True", "False"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [
        "raise SystemExit('sorry')",
        "raise SystemExit(300)",
        "import sys\ndef f():\n    raise ValueError('x')\nf()",
        "import atexit, threading\natexit.register(print, 'bye')\nthreading.Thread(target=print, args=('thread',)).start()",
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
        SPAWN,
        "import pickle\nclass A: pass\nprint(len(pickle.dumps(A())))",
        "print('é', open('/opt/ml/code/missing'))",
        "import os, sys\nprint(sys.stdout.encoding, os.listdir('/proc/self/fd').__len__() < 12)\nos.write(1, b'raw\\n')\nprint(input.__name__)",
        "def f(:",
    ],
)
def test_ends_and_output_are_the_same(warm_jobs: Jobs, source: str) -> None:
    for arguments in (("job.py",), ("-m", "job")):
        assert run(warm_jobs, source, *arguments) == run(warm_jobs, source, *arguments, preload="")


@pytest.mark.slow
def test_forks_do_not_share_random_numbers(warm_jobs: Jobs) -> None:
    draw = "import numpy, random, uuid; print(numpy.random.rand(), random.random(), uuid.uuid4())"
    first, second = (run(warm_jobs, draw, "job.py")[1].split() for _ in range(2))
    assert not set(first) & set(second)


@pytest.mark.slow
def test_a_layer_with_another_version_of_a_warm_library_wins(warm_jobs: Jobs, tmp_path: Path) -> None:
    packages = tmp_path / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "joblib.py").write_text("__version__ = 'another'")
    source = (
        "import pathlib, dewfall.images.requirements as r\nr.activate(pathlib.Path(%r))\nimport joblib, os; print(joblib.__version__, os.getpid())"
    )
    assert run(warm_jobs, source % str(tmp_path), "job.py")[1].startswith("another")


@pytest.mark.slow
def test_thread_pools_are_as_wide_as_the_job(warm_jobs: Jobs) -> None:
    show = "import os, threadpoolctl; print({p['num_threads'] for p in threadpoolctl.threadpool_info()} == {len(os.sched_getaffinity(0))})"
    assert run(warm_jobs, show, "job.py") == (0, "True\n")


@pytest.mark.slow
def test_agents_survive_the_zygote_and_it_comes_back(warm_jobs: Jobs) -> None:
    assert isinstance(warm_jobs.compute, LocalCompute)
    zygote = warm_jobs.compute.zygote(FAMILY)
    agent = warm_jobs.start("python", "-c", "", preload=FAMILY, id="training-job.0.r.first.1")
    sleeper = warm_jobs.start("python", "job.py", files={"/opt/ml/code/job.py": "import time; time.sleep(600)"}, preload=FAMILY)
    warm_jobs.wait(sleeper, "Running")
    assert zygote.pid > 0
    os.kill(zygote.pid, signal.SIGKILL)
    assert run(warm_jobs, LOOK, "job.py")[0] == 0
    assert warm_jobs.wait(agent).exit_code == 0
    assert (status := warm_jobs.compute.status(sleeper)) is not None
    assert status.state == "Running"
    warm_jobs.compute.stop(sleeper)
    assert warm_jobs.wait(sleeper).reason == "Stopped"
    warm_jobs.compute.warm(FAMILY)
    assert zygote.ready.wait(180)


@pytest.mark.slow
def test_an_agent_does_not_wait_for_imports_that_a_busy_machine_delays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(tmp_path)
    assert isinstance(jobs.compute, LocalCompute)
    jobs.compute.warm(FAMILY)
    zygote = jobs.compute.zygote(FAMILY)
    os.kill(zygote.pid, signal.SIGSTOP)
    try:
        agent = jobs.start("python", "-c", "print('once')", preload=FAMILY)
        assert zygote.owes(agent)
        monkeypatch.setattr("dewfall.engine.compute.zygote.PATIENCE", 0.2)
        assert jobs.wait(agent).exit_code == 0
        os.kill(zygote.pid, signal.SIGCONT)
        assert zygote.ready.wait(180)
        assert jobs.start("python", "-c", "", preload=FAMILY, id="training-job.0.r.next.1")  # forked after the one that is not needed
        assert jobs.wait("training-job.0.r.next.1").exit_code == 0
        assert jobs.log(agent) == "once\n"
    finally:
        jobs.close()


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (("python", "a.py"), {}, True),
        (("python", "-m", "a"), {}, True),
        (("python", "-m"), {}, False),
        (("python", "-c", "1"), {}, False),
        (("python", "-u", "a.py"), {}, False),
        (("/bin/sh", "a.py"), {}, False),
        (("python", "a.py"), {"LD_PRELOAD": "x"}, False),
        (("python",), {}, False),
    ],
)
def test_what_fits(arguments: tuple[str, ...], environment: dict[str, str], expected: bool) -> None:
    path = str(Path(sys.executable).parent)
    assert fits(arguments, {"PATH": path, **environment}) is expected
    assert not fits(arguments, {"PATH": "/nowhere", **environment})
