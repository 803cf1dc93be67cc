"""Running the user's entry point: a Python script in this very process, a package, shell script or torchrun as a child.

A script in this process starts at once, and finds imported already what a warm process has imported. It sees what `python train.py …` would show it:
its own `__main__`, arguments, working and search path.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
import traceback
import types
from pathlib import Path
from typing import IO

KEPT_LINES = 400
ERROR_LINE = re.compile(r"\b[A-Z]\w*(?:Error|Exception|Warning|Interrupt|Exit)\b")
SAFE = re.compile(r"^[A-Za-z0-9._][A-Za-z0-9._+-]*(/[A-Za-z0-9._+-]+)*$")


class ScriptError(Exception):
    """The user's code failed; its text is what AWS's toolkit writes as failure."""

    def __init__(self, code: int, message: str, command: str, kind: str = "ExecuteUserScriptError") -> None:
        extra = '\nExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"' if code in (137, -9) else ""
        super().__init__(f'{kind}:\nExitCode {code}\nErrorMessage "{message.strip()}"{extra}\nCommand "{command}"')
        self.code = code


def check_name(program: str) -> str:
    """The entry point when it is a plain path inside the code folder; ValueError with AWS's message otherwise."""
    if not program:
        raise ValueError(
            "The training entry point name is empty. Set the 'sagemaker_program' hyperparameter (or ContainerEntrypoint) to the name of the script"
            " to run, relative to your source directory -- for example 'train.py' or 'train.sh'."
        )
    if not SAFE.match(program) or any(part in (".", "..") for part in program.split("/")):
        raise ValueError(f"The training entry point {program!r} cannot be used: it must be a plain path inside your source directory.")
    return program


def command_of(program: str, arguments: list[str], code: Path) -> list[str]:
    """What AWS's toolkit would run, for logs and failure texts and, where it is no plain script, for running."""
    if program.endswith(".sh"):
        return ["/bin/sh", "-c", f"./{shlex.quote(program)} {' '.join(map(shlex.quote, arguments))}"]
    if (code / "setup.py").exists():
        return [sys.executable, "-m", program.removesuffix(".py"), *arguments]
    if program.endswith(".py"):
        return [sys.executable, program, *arguments]
    return ["/bin/sh", "-c", f"./{shlex.quote(program)} {' '.join(map(shlex.quote, arguments))}"]


def run_here(program: str, arguments: list[str], code: Path, command: str) -> None:
    """`python program arguments` in this process, in its code folder. ScriptError, naming the command, when it raises or exits with a code."""
    path = code / program
    if not path.is_file():
        message = f"{sys.executable}: can't open file '{path}': [Errno 2] No such file or directory"
        print(message, file=sys.stderr, flush=True)
        raise ScriptError(2, message, command)
    os.chdir(code)
    sys.argv[:] = [program, *arguments]
    sys.path.insert(0, str(path.parent))
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=str(path), __builtins__=__builtins__)
    sys.modules["__main__"] = main
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), main.__dict__)
    except SystemExit as error:
        code_ = _exit_code(error)
        if code_:
            raise ScriptError(code_, "" if isinstance(error.code, int) else str(error.code), command) from None
    except BaseException as error:
        _print_traceback(error)
        message = "".join(traceback.format_exception_only(error))
        raise ScriptError(1, message, command) from None
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _exit_code(error: SystemExit) -> int:
    if error.code is None or error.code == 0:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr, flush=True)
    return 1


def _print_traceback(error: BaseException) -> None:
    """Without our own frames, as the interpreter would print it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def run_child(words: list[str], code: Path) -> None:
    """A command in the code folder; its errors are shown as they come and looked through for the message. ScriptError when it fails."""
    process = subprocess.Popen(words, cwd=code, stderr=subprocess.PIPE)
    lines: list[str] = []
    reader = threading.Thread(target=_tee, args=(process.stderr, lines), daemon=True)
    reader.start()
    status = process.wait()
    reader.join(5)
    if status:
        raise ScriptError(status if status > 0 else 128 - status, error_message(lines), " ".join(words))


def _tee(stream: IO[bytes] | None, lines: list[str]) -> None:
    for raw in stream or ():
        line = raw.decode("utf-8", "replace")
        sys.stderr.write(line)
        sys.stderr.flush()
        lines.append(line)
        del lines[:-KEPT_LINES]


def error_message(lines: list[str]) -> str:
    """From the first line that names an error on, each line once."""
    start = next((index for index, line in enumerate(lines) if ERROR_LINE.search(line)), None)
    if start is None:
        return ""
    return "\n".join(dict.fromkeys(line.strip(" :\n") for line in lines[start:] if line.strip()))
