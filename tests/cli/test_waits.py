"""The SDKs' sleeps under `exec`: counted, not timed. A package named like the SDK stands in for its ways of importing time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = Path(__file__).parents[2] / "dewfall" / "hook"
LOOPS = """
import time
from time import sleep

def wait(times, seconds):
    for _ in range(times):
        time.sleep(seconds)

def nap(seconds):
    sleep(seconds)

def logs_for_job(looks):
    start, asked = time.time(), 0
    while asked < looks:
        time.sleep(10)
        if time.time() - start >= 30:
            start, asked = time.time(), asked + 1
    return asked
"""


@pytest.fixture
def sdk(tmp_path: Path) -> Path:
    for package in ("sagemaker", "other"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "session.py").write_text(LOOPS)
    return tmp_path


def counted(sdk: Path, program: str) -> str:
    """Run a program with the hook; the pauses that are left take no time."""
    start = "import dewfall_waits as w\nw.SHORT = 0.0\n"
    path = os.pathsep.join([str(HOOK), str(sdk)])
    done = subprocess.run(
        [sys.executable, "-c", start + program], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_sdks_sleeps_are_shortened(sdk: Path) -> None:
    assert (
        counted(sdk, "from sagemaker import session\nsession.wait(7, 30)\nsession.nap(5)\nprint(w.short_time.shortened, w.short_time.skipped)")
        == "8 215.0"
    )


def test_short_pauses_stay(sdk: Path) -> None:
    assert counted(sdk, "from sagemaker import session\nsession.wait(2, 0.001)\nprint(w.short_time.shortened)") == "0"


def test_half_seconds_of_a_notebook_are_shortened(sdk: Path) -> None:
    program = "from sagemaker import session\nsession.wait(20, 0.5)\nprint(w.short_time.shortened, round(w.short_time.skipped, 3))"
    assert counted(sdk, program) == "20 9.5"


def test_nobody_elses_sleeps_are(sdk: Path) -> None:
    program = "import time\nfrom other import session\nprint(session.time is time, session.sleep is time.sleep)"
    assert counted(sdk, program) == "True True"


def test_log_loops_look_at_the_job_every_third_time(sdk: Path) -> None:
    assert counted(sdk, "from sagemaker import session\nprint(session.logs_for_job(4), w.short_time.shortened)") == "4 12"


def test_elsewhere_the_clock_stays_true(sdk: Path) -> None:
    program = "import time\nfrom sagemaker import session\nsession.wait(9, 1000)\nprint(abs(session.time.time() - time.time()) < 60)"
    assert counted(sdk, program) == "True"


def test_modules_that_are_there_already(sdk: Path) -> None:
    program = "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != '_Finder']\nfrom sagemaker import session\n"
    assert counted(sdk, program + "w.install()\nsession.wait(1, 5)\nprint(w.short_time.shortened)") == "1"


def test_the_users_own_sitecustomize_runs_too(sdk: Path) -> None:
    (sdk / "sitecustomize.py").write_text("import builtins\nbuiltins.mine = 'ran'\n")
    assert counted(sdk, "print(mine)") == "ran"


def test_a_defaults_file_is_validated_once(sdk: Path) -> None:
    (sdk / "jsonschema.py").write_text("calls = []\ndef validate(instance, schema):\n    calls.append(instance)\n    assert instance['n'] < 3\n")
    looks = "import jsonschema\nSCHEMA = {}\nclass Config:\n    def look(self, n):\n        jsonschema.validate({'n': n}, SCHEMA)\n"
    (sdk / "sagemaker" / "config_manager.py").write_text(looks)
    program = "import jsonschema\nfrom sagemaker.config_manager import Config\nfor n in (1, 1, 1, 2): Config().look(n)\nprint(len(jsonschema.calls))"
    assert counted(sdk, program) == "2"


def test_a_wrong_defaults_file_is_refused_each_time(sdk: Path) -> None:
    (sdk / "jsonschema.py").write_text("class Wrong(Exception): pass\ndef validate(instance, schema):\n    raise Wrong\n")
    looks = "import jsonschema\ndef look():\n    try:\n        jsonschema.validate(1, {})\n    except jsonschema.Wrong:\n        return 'refused'\n"
    (sdk / "sagemaker" / "session.py").write_text(looks)
    assert counted(sdk, "from sagemaker import session\nprint(session.look(), session.look())") == "refused refused"
