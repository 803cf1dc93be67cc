"""The training toolkit, run as the platform runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.images.conftest import Container

PROGRAM = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": '"s3://bucket/sourcedir.tar.gz"', "sagemaker_region": '"eu-west-1"'}
REPORT = """
import json, os, sys
import helper
names = [name for name in os.environ if name.startswith("SM_")]
print("REPORT" + json.dumps({"argv": sys.argv, "cwd": os.getcwd(), "name": __name__, "file": __file__, "env": {n: os.environ[n] for n in names}}))
open(os.path.join(os.environ["SM_MODEL_DIR"], "model.txt"), "w").write(helper.TEXT)
"""


def reported(output: str) -> dict[str, object]:
    line = next(line for line in output.splitlines() if line.startswith("REPORT"))
    found: dict[str, object] = json.loads(line.removeprefix("REPORT"))
    return found


def test_script_gets_arguments_variables_and_its_modules(container: Container) -> None:
    hyperparameters = {"n-estimators": "10", "flag": "true", "s": '"abc"', "grid": '{"b": 2, "a": 1}', "text": "plain words"}
    container.configure(hyperparameters | PROGRAM, {"train": {"a.csv": b"1,2\n"}, "test": {}})
    done = container.train({"train.py": REPORT, "helper.py": "TEXT = 'made'"})
    assert done.returncode == 0, done.stderr
    report = reported(done.stdout)
    env = report["env"]
    assert isinstance(env, dict)
    words = ["--flag", "True", "--grid", "a=1,b=2", "--n-estimators", "10", "-s", "abc", "--text", "plain words"]
    assert report["argv"] == ["train.py", *words]
    assert (report["cwd"], report["name"], report["file"]) == (str(container.home / "code"), "__main__", str(container.home / "code" / "train.py"))
    assert json.loads(env["SM_USER_ARGS"]) == words
    assert env["SM_CHANNEL_TRAIN"] == str(container.home / "input/data/train")
    assert (env["SM_CHANNELS"], env["SM_HP_N-ESTIMATORS"], env["SM_HP_FLAG"], env["SM_HP_TEXT"]) == ('["test","train"]', "10", "true", "plain words")
    assert (env["SM_MODULE_NAME"], env["SM_HOSTS"], env["SM_CURRENT_INSTANCE_TYPE"]) == ("train", '["algo-1"]', "ml.m5.large")
    assert (container.home / "model/model.txt").read_text() == "made"
    assert (container.home / "output/success").exists()
    assert not (container.home / "output/failure").exists()


def test_a_script_that_ends_the_process_leaves_a_reason(container: Container) -> None:
    container.configure({"sagemaker_program": "train.py"}, {})
    assert container.train({"train.py": "import os\nos._exit(3)"}).returncode == 3
    assert container.failure().startswith('ExecuteUserScriptError:\nErrorMessage ""\nCommand "')


def test_plain_text_settings_as_newer_sdks_send_them(container: Container) -> None:
    container.configure({"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://bucket/x.tar.gz"}, {})
    assert container.train({"train.py": "print('ran')"}).returncode == 0


@pytest.mark.parametrize(
    ("code", "exit_code", "message"),
    [
        ("raise ValueError('boom')", 1, "ValueError: boom"),
        ("import sys; sys.exit(3)", 3, ""),
        ("import nothing_like_it", 1, "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("def broken(:", 1, "SyntaxError"),
    ],
)
def test_failure_file(container: Container, code: str, exit_code: int, message: str) -> None:
    container.configure(PROGRAM | {"n": "1"}, {})
    assert container.train({"train.py": code}).returncode == 1
    text = container.failure()
    assert text.startswith(f'ExecuteUserScriptError:\nExitCode {exit_code}\nErrorMessage "')
    assert message in text
    assert text.endswith('train.py -n 1"')


def test_traceback_shows_the_users_frames_only(container: Container) -> None:
    container.configure(PROGRAM, {})
    done = container.train({"train.py": "def f():\n    raise KeyError('x')\nf()\n"})
    assert 'train.py", line 3, in <module>' in done.stderr
    assert "dewfall" not in done.stderr.replace(str(container.home), "")


def test_shell_script(container: Container) -> None:
    container.configure(PROGRAM | {"sagemaker_program": '"run.sh"', "n": "1"}, {})
    done = container.train({"run.sh": "#!/bin/sh\necho \"args $* $SM_HP_N\"\necho 'RuntimeError: from the shell' >&2\nexit 4\n"})
    assert "args -n 1 1" in done.stdout
    assert 'ExitCode 4\nErrorMessage "RuntimeError: from the shell"' in container.failure()


def test_without_a_program(container: Container) -> None:
    container.configure({}, {})
    assert container.train({"train.py": ""}).returncode == 1
    assert container.failure().startswith("The training entry point name is empty.")


def test_program_outside_the_code_folder(container: Container) -> None:
    container.configure(PROGRAM | {"sagemaker_program": '"../x.py"'}, {})
    container.train({"train.py": ""})
    assert "cannot be used" in container.failure()


def test_satisfied_requirements_need_no_pip(container: Container) -> None:
    container.configure(PROGRAM, {})
    done = container.train({"train.py": "", "requirements.txt": "numpy>=1  # have it\nscikit-learn\n"})
    assert (done.returncode, "pip install" in done.stdout) == (0, False)


def test_requirements_that_pip_cannot_install(container: Container) -> None:
    container.configure(PROGRAM, {})
    done = container.train({"train.py": "", "requirements.txt": "./no-such-folder\n"}, XDG_CACHE_HOME=str(container.home / "cache"))
    assert done.returncode == 1
    assert container.failure().startswith('InstallRequirementsError:\nExitCode 1\nErrorMessage "ERROR')


def test_logging_is_the_scripts_own(container: Container) -> None:
    container.configure(PROGRAM, {})
    done = container.train({"train.py": "import logging; logging.basicConfig(format='L %(message)s', level=20); logging.info('hello')"})
    assert "L hello" in done.stderr


def test_names_of_aws_packages_are_there(container: Container) -> None:
    container.configure(PROGRAM | {"a": "1"}, {})
    code = "from sagemaker_training import environment\nprint('HP', environment.Environment().hyperparameters, environment.model_dir)\n"
    done = container.train({"train.py": code})
    assert f"HP {{'a': 1}} {container.home / 'model'}" in done.stdout


def test_a_script_goes_on_from_the_checkpoints_of_the_xgboost_container(container: Container) -> None:
    code = """
import sys, numpy, xgboost
from sagemaker_xgboost_container import checkpointing
rows = numpy.random.default_rng(0).normal(size=(50, 2))
train = xgboost.DMatrix(rows, label=rows[:, 0])
model = checkpointing.train(dict(params={}, dtrain=train, num_boost_round=int(sys.argv[2]), evals=[(train, "train")]), "/opt/ml/checkpoints")
print("ROUNDS", model.num_boosted_rounds(), checkpointing.load_checkpoint("/opt/ml/checkpoints")[1])
"""
    container.configure(PROGRAM | {"rounds": "7"}, {})
    first = container.train({"train.py": code})
    assert "ROUNDS 7 7" in first.stdout, first.stderr
    container.configure(PROGRAM | {"rounds": "9"}, {})
    second = container.train({"train.py": code})
    assert "ROUNDS 9 9" in second.stdout
    assert re.findall(r"^\[(\d)\]\ttrain-rmse", second.stdout, re.MULTILINE) == ["7", "8"]
    assert len(list((container.home / "checkpoints").iterdir())) == 7


def test_xgboost_image_without_a_script_trains_the_algorithm(container: Container) -> None:
    rows = b"".join(b"%d,%d,%d\n" % (n % 2, n % 2, n) for n in range(40))
    container.configure({"num_round": "2", "objective": "binary:logistic"}, {"train": {"a.csv": rows}})
    config = container.home / "input/config/inputdataconfig.json"
    config.write_text(json.dumps({"train": {"ContentType": "text/csv", "TrainingInputMode": "File"}}))
    done = container.train({}, DEWFALL_FRAMEWORK="xgboost")
    assert done.returncode == 0, done.stderr
    assert (container.home / "model/xgboost-model").exists()


def test_what_a_script_installs_is_its_own(container: Container) -> None:
    container.configure(PROGRAM, {})
    code = """
import subprocess, sys
def run(*words): return subprocess.run(words, capture_output=True, text=True).stdout
print("PREFIX", run(sys.executable, "-c", "import sys, numpy; print(sys.prefix)"), run("pip", "--version"))
"""
    done = container.train({"train.py": code})
    assert f"PREFIX {container.home / '.packages'}" in done.stdout
    assert "pip 2" in done.stdout


def test_shell_command_has_a_python_of_its_own(container: Container) -> None:
    command = [
        sys.executable,
        "-m",
        "dewfall.images.command",
        "/bin/sh",
        "-c",
        "command -v python3; command -v pip; python3 -c 'import sagemaker_xgboost_container.checkpointing' || exit 9; exit 3",
    ]
    env = {**os.environ, "SAGEMAKER_BASE_DIR": str(container.home)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.stdout.split() == [str(container.home / ".packages/bin/python3"), str(container.home / ".packages/bin/pip")]
    assert done.returncode == 3, done.stderr
    assert "Error" not in done.stderr
