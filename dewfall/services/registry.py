"""Which function is which AWS operation. The one piece of module state: a table filled by imports.

`@operation("sagemaker", "CreateEndpoint")` registers; `find_operation` imports the service's modules on first use.
"""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dewfall.context import Operation
from dewfall.services import SERVICES


@dataclass(frozen=True, slots=True)
class Entry:
    """One built operation: its function, and whether it executes or only keeps records."""

    service: str
    name: str
    function: Operation
    records: bool

    @property
    def place(self) -> tuple[str, int]:
        """File and line of the function, for `dewfall operations`."""
        return inspect.getsourcefile(self.function) or "", inspect.getsourcelines(self.function)[1]


_entries: dict[tuple[str, str], Entry] = {}
_loaded: set[str] = set()
_loading = threading.RLock()


F = TypeVar("F", bound=Callable[..., Any])


def operation(service: str, name: str, *, records: bool = False) -> Callable[[F], F]:
    """Register the function as `service`'s operation `name`. `records`: it keeps a record and nothing behind it runs."""

    def register(function: F) -> F:
        _entries[(service, name)] = Entry(service, name, function, records)
        return function

    return register


def find_operation(service: str, name: str) -> Entry | None:
    """The entry of an operation, or None when it is not built."""
    load_service(service)
    return _entries.get((service, name))


def load_service(service: str) -> None:
    """Import the modules that register a service's operations; cheap when already imported.

    Whoever comes while another thread imports them waits: half a module has half the operations.
    """
    if service in _loaded:
        return
    with _loading:
        for module in SERVICES.get(service, ()):
            importlib.import_module(module)
        _loaded.add(service)


def entries(service: str) -> list[Entry]:
    """Every built operation of a service, by name."""
    load_service(service)
    return sorted((e for e in _entries.values() if e.service == service), key=lambda e: e.name)


def resolve(reference: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, _, name = reference.partition(":")
    with _loading:  # two threads that import one package from two ends see each other's half-made modules
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
