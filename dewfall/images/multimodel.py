"""Many models in one process: the model server's side of a multi-model endpoint, for the toolkits and the built-in algorithms.

    POST /models {"model_name", "url"}      load                 409 loaded already, 507 no memory, 500 with the reason where it cannot be
    GET /models, GET /models/{name}         what is loaded       404 where it is not
    DELETE /models/{name}                   unload
    POST /models/{name}/invoke              as /invocations of a model alone

Each model is the handler that would serve it alone. A model that cannot be loaded harms no other.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from dewfall.images import contract
from dewfall.images.http import Answer, Handler, Invocation, failure, serve

Make = Callable[[Path], Handler]
TIDY_SECONDS = 2.0  # at least, between two tidyings of the memory, which take many times as long as unloading


def is_wanted() -> bool:
    """Whether this container is to serve many models."""
    return os.environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"


def serve_models(make: Make) -> None:
    """Serve the model of this container, or where many are wanted, those that the platform will name."""
    serve(MultiModelHandler(make) if is_wanted() else make(contract.folders().model))


class MultiModelHandler:
    """The loaded models by name."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._models: dict[str, tuple[str, Handler]] = {}
        self._tidied = 0.0

    def ping(self) -> bool:
        return True

    def invoke(self, invocation: Invocation) -> Answer:
        return _problem(400, "This container serves many models: POST /models/{model_name}/invoke")

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        parts = path.strip("/").split("/")
        if parts[0] != "models" or len(parts) > 3 or (len(parts) == 3 and parts[2] != "invoke"):
            return None
        if len(parts) == 1:
            return self._load(invocation.body) if method == "POST" else self._list()
        found = self._models.get(parts[1])
        if found is None:
            return _problem(404, f"Model {parts[1]} is not loaded.")
        if len(parts) == 3:
            return _invoke(found[1], invocation)
        if method == "DELETE":
            return self._unload(parts[1])
        return Answer(json.dumps({"modelName": parts[1], "modelUrl": found[0]}))

    def _list(self) -> Answer:
        return Answer(json.dumps({"models": [{"modelName": name, "modelUrl": url} for name, (url, _) in self._models.items()]}))

    def _load(self, body: bytes) -> Answer:
        try:
            wanted = json.loads(body)
            name, url = str(wanted["model_name"]), str(wanted["url"])
        except (ValueError, KeyError, TypeError):
            return _problem(400, 'The body must be {"model_name": ..., "url": ...}.')
        if name in self._models:
            return _problem(409, f"Model {name} is already loaded.")
        try:
            handler = self._make(_place(url))
            load = getattr(handler, "load", None)
            if load is not None:
                load()
        except MemoryError as error:
            return _problem(507, f"There is no memory for model {name}: {error}")
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            return failure(error) if isinstance(error, Exception) else _problem(500, f"The model's code has ended the process: {error}")
        self._models[name] = url, handler
        return Answer(json.dumps({"status": f'Model "{name}" loaded'}))

    def _unload(self, name: str) -> Answer:
        del self._models[name]
        if time.monotonic() - self._tidied > TIDY_SECONDS:
            gc.collect()
            _give_back()
            self._tidied = time.monotonic()
        return Answer(json.dumps({"status": f'Model "{name}" unloaded'}))


def import_apart(code: Path, program: str) -> ModuleType:
    """A model's own module, and what it imports from its folder, under no name that another model's could have."""
    before = set(sys.modules)
    name = f"model_{abs(hash(str(code)))}"
    spec = importlib.util.spec_from_file_location(name, code / program)
    if spec is None or spec.loader is None:
        raise ImportError(f"{code / program} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(code))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(code))
        for other in set(sys.modules) - before:
            if str(getattr(sys.modules[other], "__file__", None) or "").startswith(f"{code}/"):
                del sys.modules[other]
    return module


def _invoke(handler: Handler, invocation: Invocation) -> Answer:
    try:
        return handler.invoke(invocation)
    except Exception as error:
        return failure(error)


def _place(url: str) -> Path:
    """A model's folder; where /opt/ml is elsewhere for this process, there."""
    return contract.folders().home / url.removeprefix("/opt/ml/") if url.startswith("/opt/ml/") else Path(url)


def _give_back() -> None:
    """Freed memory goes back to the system, where the C library can."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def _problem(status: int, message: str) -> Answer:
    return Answer(json.dumps({"error": message}), status=status)
