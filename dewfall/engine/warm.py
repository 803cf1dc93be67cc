"""Running a Python command inside a process that has imported its libraries already, so that nobody can tell the difference.

A fork of the zygote (engine/compute/zygote.py) becomes the command: arguments, environment, module search path, random state and thread counts
are set as a new interpreter would have them. Standard library only; what the libraries need is asked for only where they are loaded.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import functools
import importlib.machinery
import io
import os
import random
import runpy
import shutil
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

INTERPRETERS = ("python", "python3")
# An interpreter or loader reads these when it starts, too early for a process that runs already.
TOO_LATE = ("PYTHONHASHSEED", "PYTHONHOME", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONDEVMODE", "PYTHONSTARTUP", "LD_PRELOAD", "MALLOC_ARENA_MAX")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def fits(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether the command is this interpreter with `-m module …` or `script.py …`, and nothing that must be known at its start."""
    if len(arguments) < 2 or any(name in environment for name in TOO_LATE):
        return False
    name = arguments[0]
    program = shutil.which(name, path=environment.get("PATH")) or ""
    same = name in INTERPRETERS and os.path.dirname(program) == os.path.dirname(sys.executable)
    if not same and name != sys.executable:
        return False
    return len(arguments) > 2 if arguments[1] == "-m" else not arguments[1].startswith("-")


def run_here(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Become the command; returns its exit code once its threads and exit handlers are through. Call in a fresh fork, then os._exit."""
    _close_descriptors()
    os.environ.clear()
    os.environ.update(environment)
    sys.orig_argv[:] = list(arguments)
    _reopen_streams()
    _reseed()
    _set_threads(environment)
    is_module = arguments[1] == "-m"
    sys.argv[:] = list(arguments[2:] if is_module else arguments[1:])
    sys.path[:0] = [os.getcwd() if is_module else os.path.dirname(os.path.realpath(arguments[1])), *_python_path(environment)]
    _tell_multiprocessing()
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    code = _guarded(lambda: _run_module(arguments[2]) if is_module else _run_script(arguments[1], main))
    return _finish(code)


def _run_module(name: str) -> None:
    for loaded in (name, f"{name}.__main__"):
        sys.modules.pop(loaded, None)
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _run_script(path: str, main: types.ModuleType) -> None:
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        print(f"{sys.executable}: can't open file {os.path.abspath(path)!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
    path = os.path.abspath(path)
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    main.__dict__.update(__file__=path, __loader__=loader, __spec__=None, __cached__=None)
    exec(compile(source, path, "exec"), main.__dict__)


def _guarded(run: Callable[[], None]) -> int:
    """The exit code that an interpreter gives for what the program raises."""
    try:
        run()
    except SystemExit as request:
        if request.code is None or isinstance(request.code, int):
            return (request.code or 0) & 0xFF
        print(request.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return 130
    except BaseException as error:
        trace = _without_ours(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1
    return 0


def _without_ours(trace: types.TracebackType | None) -> types.TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _finish(code: int) -> int:
    """What an interpreter does at its end, without the slow part of taking itself apart."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    return code


def _close_descriptors() -> None:
    """All but the standard ones and those that libraries hold open on files of their own."""
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number > 2:
            with contextlib.suppress(OSError):
                if not os.get_inheritable(number):
                    os.close(number)


def _reopen_streams() -> None:
    """Unbuffered by line, as PYTHONUNBUFFERED=1 has them."""
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding="utf-8", line_buffering=True, write_through=True)  # noqa: SIM115
    sys.stderr = io.TextIOWrapper(open(2, "wb", 0, closefd=False), encoding="utf-8", errors="backslashreplace", write_through=True)  # noqa: SIM115


def _reseed() -> None:
    """Forks must not draw the same numbers."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _tell_multiprocessing() -> None:
    """It noted the folder and drew the key when it was imported."""
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.ORIGINAL_DIR = os.getcwd()
        process.current_process().authkey = os.urandom(32)


def _set_threads(environment: Mapping[str, str]) -> None:
    """Thread pools as wide as the job's processors, or as its environment says; the zygote kept them from starting."""
    pools = thread_pools()
    if pools is not None:
        asked = next((environment[name] for name in THREADS if environment.get(name, "").isdigit()), "")
        pools.limit(limits=int(asked) if asked else len(os.sched_getaffinity(0)))


@functools.cache
def thread_pools() -> Any:
    """The loaded libraries' thread pools, found once, before the forks; None without scikit-learn's means to find them."""
    threadpoolctl = sys.modules.get("threadpoolctl")
    return threadpoolctl and threadpoolctl.ThreadpoolController()


def _python_path(environment: Mapping[str, str]) -> list[str]:
    return [os.path.abspath(path) for path in environment.get("PYTHONPATH", "").split(":") if path]
