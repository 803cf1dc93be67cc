"""The training toolkit of the framework images: the user's script, its requirements, its environment, its end.

It behaves as AWS's sagemaker-training: fetch the code, install what it requires, run it with hyperparameters as arguments and SM_* variables,
and leave /opt/ml/output/failure when it fails. The XGBoost image without a script trains AWS's algorithm instead.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from dewfall.images import contract, distributions, packages, sources
from dewfall.images.environment import Environment, read_environment, training_environment, variables
from dewfall.images.requirements import InstallError, activate, enter_private, install
from dewfall.images.scripts import ScriptError, check_name, command_of, run_child, run_here


def main() -> None:
    """Run the job in this container; the process's exit code tells how it went."""
    try:
        train()
    except ScriptError as error:
        _end(str(error))
    except (ValueError, contract.UserError) as error:
        _end(str(error))
    except Exception as error:
        _end(f"Framework Error: \n{traceback.format_exc()}\n{error}")
    say("Reporting training SUCCESS")
    contract.write_success()


def _end(message: str) -> NoReturn:
    """Whatever the script's own exit code, the toolkit's is 1, as on AWS."""
    contract.write_failure(message)
    say("Reporting training FAILURE", "ERROR")
    say(message, "ERROR")
    sys.stdout.flush()
    sys.exit(1)


def say(text: str, level: str = "INFO") -> None:
    """A line of the toolkit's log. Not by `logging`, which the user's script must find untouched."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)) + f",{int(now % 1 * 1000):03d}"
    print(f"{stamp} sagemaker-training-toolkit {level:<8} {text}", flush=True)


def train() -> None:
    """The whole job."""
    env = read_environment()
    framework = os.environ.get("SAGEMAKER_TRAINING_MODULE", "").partition(":")[0]
    if framework:
        say(f"Imported framework {framework}")
    if not env.program and os.environ.get("DEWFALL_FRAMEWORK") == "xgboost":
        say("Running XGBoost Sagemaker in algorithm mode")
        os.environ.update(variables(env))
        sys.argv[:] = ["xgboost", "train"]
        runpy.run_module("dewfall.images.builtin.xgboost", run_name="__main__", alter_sys=True)
        return
    program, code = check_name(env.program), env.folders.code
    place(env)
    prepare(code, program)
    os.environ.update(variables(env))
    packages.offer(code)
    run(env, program, code)


def place(env: Environment) -> None:
    """The user's code in /opt/ml/code: from the submit directory, else from a channel called `code`."""
    channel = env.folders.data / "code"
    if "sagemaker_submit_directory" not in env.settings and "SAGEMAKER_SUBMIT_DIRECTORY" not in os.environ and channel.is_dir():
        if not env.folders.code.is_dir() or not any(env.folders.code.iterdir()):
            shutil.copytree(channel, env.folders.code, dirs_exist_ok=True)
        return
    sources.place_code(env.source, env.folders.code)


def prepare(code: Path, program: str) -> None:
    """Requirements and, for a package, the package itself; execution rights for a command."""
    package = (code / "setup.py").exists() and not program.endswith(".sh")
    if package or (program.endswith(".py") and (code / "requirements.txt").exists()):
        say("Installing module." if package else "Installing dependencies from requirements.txt")
        try:
            layer = install(code, package=package)
        except InstallError as error:
            kind = "InstallModuleError" if package else "InstallRequirementsError"
            raise ScriptError(error.code, error.output, error.command, kind) from None
        if layer is not None:
            activate(layer)
    if not program.endswith(".py") and (code / program).is_file():
        (code / program).chmod(0o777)


def run(env: Environment, program: str, code: Path) -> None:
    """Invoke the script, having said how."""
    words = command_of(program, env.arguments, code)
    launcher = distributions.launcher(env)
    if launcher:
        words = [*launcher, program, *env.arguments]
    _announce(env, words)
    is_script = not launcher and words[:2] == [sys.executable, program]
    enter_private(env.folders.home)
    if distributions.waits(env):
        say(f"{env.current_host} starts what {env.hosts[0]} asks it to.")
        distributions.wait(env, code)
        return
    with distributions.around(env):
        if is_script:
            _run_here(program, env, code, " ".join(words))
        else:
            run_child(words, code)


def _run_here(program: str, env: Environment, code: Path, command: str) -> None:
    """Run the script in this process. One that ends the process (os._exit, a crash) leaves the reason written before; the platform has the code."""
    ended = f'ExecuteUserScriptError:\nErrorMessage ""\nCommand "{command}"'
    contract.write_failure(ended)
    try:
        run_here(program, env.arguments, code, command)
    finally:
        contract.take_back_failure(ended)


def _announce(env: Environment, words: list[str]) -> None:
    shown = "\n".join(f"{name}={value}" for name, value in variables(env).items())
    whole = json.dumps(training_environment(env), indent=4)
    parts = ("Invoking user script", "Training Env:", whole, "Environment variables:", shown)
    say("\n\n".join((*parts, "Invoking script with the following command:", " ".join(words), "")))


if __name__ == "__main__":
    main()
