"""The SageMaker SDKs' own fixed sleeps, shortened: a server cannot answer a question that is not asked.

The SDKs sleep 5, 10 or 30 seconds between their looks at a job. Here each such sleep lasts a fifth of a second, or less. Their log loops look
at the job itself only when 30 seconds have passed, so in those functions the clock runs on by what was not slept.
Standard library only: this file is read by programs in whose environment Dewfall is not installed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import time
import types
from collections.abc import Sequence

SHORT = 0.2  # seconds
LONG = 1.0  # sleeps from here on are looks at a job
HALF = 0.5  # in a notebook SDK v3 looks once in ten of these
TWENTIETH = 20
PACKAGE = "sagemaker"


class ShortTime(types.ModuleType):
    """The time module as the SDKs see it."""

    def __init__(self) -> None:
        super().__init__("time", time.__doc__)
        self.skipped = 0.0
        self.shortened = 0

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Sleep, but not long."""
        if seconds < HALF:
            time.sleep(seconds)
            return
        short = SHORT if seconds >= LONG else seconds / TWENTIETH
        time.sleep(short)
        self.skipped += seconds - short
        self.shortened += 1

    def time(self) -> float:
        """Now; in the log loops as if every sleep had lasted."""
        loop = sys._getframe(1).f_code.co_name
        return time.time() + (self.skipped if "logs_for" in loop else 0.0)


short_time = ShortTime()


def shorten(module: types.ModuleType) -> None:
    """Give a module the short time in place of the real one, whichever way it imported it."""
    names = vars(module)
    if names.get("time") is time:
        names["time"] = short_time
    elif names.get("time") is time.time:
        names["time"] = short_time.time
    if names.get("sleep") is time.sleep:
        names["sleep"] = short_time.sleep


class Remembered(types.ModuleType):
    """The jsonschema module as the SDKs see it: what has passed once is not looked at again.

    Whenever the SDKs look up a default they validate their defaults file anew, and check its schema too: a tenth of a second each,
    ten times for a training job.
    """

    def __init__(self, real: types.ModuleType) -> None:
        super().__init__(real.__name__, real.__doc__)
        self._real = real
        self._passed: dict[tuple[str, int], object] = {}  # holds the schemas, so that their ids stay theirs

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def validate(self, instance: object, schema: object, *args: object, **options: object) -> None:
        """Raise what jsonschema raises."""
        key = (repr(instance), id(schema))
        if args or options or key not in self._passed:
            self._real.validate(instance, schema, *args, **options)
            self._passed[key] = schema


def remember_validation(module: types.ModuleType) -> None:
    """Give a module the remembering jsonschema in place of the real one."""
    real = vars(module).get("jsonschema")
    if isinstance(real, types.ModuleType) and not isinstance(real, Remembered):
        vars(module)["jsonschema"] = _remembered.setdefault(real.__name__, Remembered(real))


_remembered: dict[str, Remembered] = {}


class _Loader(importlib.abc.Loader):
    """A module's own loader, with `shorten` afterwards."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        self._loader.exec_module(module)
        shorten(module)
        remember_validation(module)

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the SDK's modules as everybody does, and wraps their loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.split(".", 1)[0] != PACKAGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def install() -> None:
    """For modules that are imported already and for those that will be."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, module in list(sys.modules.items()):
        if name.split(".", 1)[0] == PACKAGE and module is not None:
            shorten(module)
            remember_validation(module)
