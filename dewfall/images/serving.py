"""Serving in the framework images: the user's model_fn, input_fn, predict_fn, output_fn or transform_fn behind /invocations.

It behaves as AWS's inference toolkits: the module from SAGEMAKER_SUBMIT_DIRECTORY or the model's code folder, defaults of the framework for
what it leaves out, errors with their traceback. The XGBoost image without a module serves AWS's algorithm instead.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dewfall.images import contract, multimodel, packages, sources
from dewfall.images.formats import ANY, JSON, FormatError, UnsupportedFormat, media_type
from dewfall.images.frameworks import UTF8, defaults
from dewfall.images.http import Answer, Invocation, serve
from dewfall.images.requirements import InstallError, activate, enter_private, install

DEFAULT_MODULE = "inference.py"


def main() -> None:
    """Serve the model of this container until SIGTERM."""
    framework = os.environ.get("DEWFALL_FRAMEWORK", "")
    code = place_code()
    program = os.environ.get("SAGEMAKER_PROGRAM", "") or (DEFAULT_MODULE if (code / DEFAULT_MODULE).is_file() else "")
    if not program and framework == "xgboost":
        sys.argv[:] = ["xgboost", "serve"]
        runpy.run_module("dewfall.images.builtin.xgboost", run_name="__main__", alter_sys=True)
        return
    prepare(code)
    if multimodel.is_wanted():
        serve(multimodel.MultiModelHandler(lambda folder: ScriptHandler(program, framework, folder, code=own_code(folder, program, code))))
        return
    serve(ScriptHandler(program, framework), workers=worker_count())


def own_code(folder: Path, program: str, code: Path) -> Path | None:
    """A model's own code folder, where it has the program; else all models share the container's."""
    own = folder / "code"
    return own if own != code and (own / (program or DEFAULT_MODULE)).is_file() else None


def worker_count() -> int:
    """SAGEMAKER_MODEL_SERVER_WORKERS, else one: concurrent requests are taken one after the other."""
    text = os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS", "")
    return max(1, int(text)) if text.isdigit() else 1


def place_code() -> Path:
    """The folder of the user's module: fetched where the submit directory is elsewhere, else the model's code folder."""
    folders = contract.folders()
    source = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", "").strip('"')
    if source.startswith("s3://") or os.environ.get("DEWFALL_SUBMIT_ARCHIVE"):
        sources.place_code(source, folders.code)
        return folders.code
    if source.startswith("file://"):
        source = source.removeprefix("file://")
    if source and Path(source).is_dir():
        return Path(source)
    return folders.model / "code"


def prepare(code: Path) -> None:
    """Requirements, then the module search path."""
    if (code / "requirements.txt").is_file():
        print("Installing dependencies from requirements.txt", flush=True)
        try:
            layer = install(code)
        except InstallError as error:
            sys.exit(f"InstallRequirementsError: {error.command} ended with exit code {error.code}: {error.output}")
        if layer is not None:
            activate(layer)
    enter_private(contract.folders().home)
    sys.path.insert(0, str(code))
    packages.offer(code)
    if code.is_dir():
        os.chdir(code)


class Context:
    """The optional last argument of the user's functions, with the part of the model server's context that scripts use."""

    def __init__(self, model_dir: str) -> None:
        self.system_properties = {"model_dir": model_dir, "gpu_id": None, "batch_size": 1, "server_name": "dewfall", "server_version": "1"}
        self.model_name = "model"
        self.headers: dict[str, str] = {}

    def get_request_header(self, index: int, name: str) -> str | None:
        """A header of the request at hand."""
        return self.headers.get(name.lower())

    def get_all_request_header(self, index: int = 0) -> dict[str, str]:
        """All of them, names in lower case."""
        return dict(self.headers)


class ScriptHandler:
    """The user's module behind the server."""

    def __init__(self, program: str, framework: str, folder: Path | None = None, *, code: Path | None = None) -> None:
        self.folder = folder or contract.folders().model
        self.code = code
        self.program = program
        self.framework = framework
        self.default_accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or JSON
        self._functions: dict[str, Callable[..., Any]] = {}
        self._takes_context: dict[str, bool] = {}
        self._context: Context | None = None
        self._model: Any = None
        self._limits: Callable[[], Any] | None = None
        self.invoke_batch: Callable[[list[Invocation]], list[Answer]] | None = None

    def load(self) -> None:
        """Import the module and load the model."""
        program = self.program or (DEFAULT_MODULE if self.code else "")
        module = multimodel.import_apart(self.code, program) if self.code else _import(program)
        own = {name: getattr(module, name, None) for name in ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")}
        if own["transform_fn"] and (own["input_fn"] or own["predict_fn"] or own["output_fn"]):
            raise ValueError("Cannot use transform_fn implementation in conjunction with input_fn, predict_fn, and/or output_fn implementation")
        together = getattr(module, "predict_batch_fn", None)
        if together and not own["transform_fn"]:
            own["predict_fn"] = own["predict_fn"] or (lambda data, model: together([data], model)[0])
            self.invoke_batch = functools.partial(self._invoke_batch, together)
        self._functions = {**defaults(self.framework), **{name: function for name, function in own.items() if function}}
        self._takes_context = {name: _takes_context(name, function) for name, function in self._functions.items()}
        self._limits = getattr(module, "execution_parameters_fn", None)
        folder = str(self.folder)
        self._context = Context(folder)
        self._optional(module, "pre_model_fn", folder)
        self._model = self._call("model_fn", folder)
        self._optional(module, "model_warmup_fn", folder, self._model)

    def _optional(self, module: Any, name: str, *arguments: Any) -> None:
        function = getattr(module, name, None)
        if function:
            self._functions[name] = function
            self._takes_context[name] = len(inspect.signature(function).parameters) > len(arguments)
            self._call(name, *arguments)

    def ping(self) -> bool:
        return True

    def invoke(self, invocation: Invocation) -> Answer:
        """Through the user's functions; what they raise becomes the answer."""
        accept = self._accept(invocation)
        return self._answered(invocation, lambda: to_answer(self._transform(invocation.body, invocation.content_type or JSON, accept), accept))

    def _invoke_batch(self, together: Callable[[list[Any], Any], Any], invocations: list[Invocation]) -> list[Answer]:
        """Requests that wait together: each through input_fn and output_fn, all through the user's predict_batch_fn(inputs, model) at once."""
        inputs: list[tuple[int, Any]] = []
        answers: dict[int, Answer] = {}
        for place, invocation in enumerate(invocations):
            try:
                kind = invocation.content_type or JSON
                inputs.append((place, self._call("input_fn", self._data(invocation.body, kind), kind)))
            except Exception:
                answers[place] = self.invoke(invocation)  # raises again, and says so in its own words
        predictions = list(together([data for _, data in inputs], self._model)) if inputs else []
        if len(predictions) != len(inputs):
            raise ValueError(f"predict_batch_fn gave {len(predictions)} predictions for {len(inputs)} inputs")
        for (place, _), prediction in zip(inputs, predictions, strict=True):
            invocation = invocations[place]
            accept = self._accept(invocation)
            written = functools.partial(self._written, prediction, accept)
            answers[place] = self._answered(invocation, written)
        return [answers[place] for place in range(len(invocations))]

    def _written(self, prediction: Any, accept: str) -> Answer:
        return to_answer(self._output(prediction, accept), accept)

    def _accept(self, invocation: Invocation) -> str:
        return invocation.accept if invocation.accept and invocation.accept != ANY else self.default_accept

    def _answered(self, invocation: Invocation, work: Callable[[], Answer]) -> Answer:
        """What the user's functions answer to this request, or what becomes of what they raise."""
        if self._context is not None:
            self._context.headers = dict(invocation.headers)
        try:
            return work()
        except UnsupportedFormat as error:
            return _refusal(error, 415)
        except NotAcceptable as error:
            return _refusal(error, 406)
        except FormatError as error:
            return _refusal(error, 400)
        except Exception as error:
            traceback.print_exc()
            status = getattr(error, "status_code", 500)
            message = getattr(error, "message", None) or str(error)
            return Answer(f"{message}\n{traceback.format_exc()}", "text/plain", status if isinstance(status, int) else 500)

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        """GET /execution-parameters where the module has execution_parameters_fn."""
        if path == "/execution-parameters" and method == "GET" and self._limits:
            return to_answer(self._limits(), JSON)
        return None

    def _transform(self, body: bytes, content_type: str, accept: str) -> Any:
        data = self._data(body, content_type)
        if "transform_fn" in self._functions:
            return self._call("transform_fn", self._model, data, content_type, accept)
        return self._output(self._call("predict_fn", self._call("input_fn", data, content_type), self._model), accept)

    def _data(self, body: bytes, content_type: str) -> Any:
        return body.decode("utf-8") if self.framework != "xgboost" and media_type(content_type)[0] in UTF8 else body

    def _output(self, prediction: Any, accept: str) -> Any:
        try:
            return self._call("output_fn", prediction, accept)
        except UnsupportedFormat as error:
            raise NotAcceptable(str(error)) from error

    def _call(self, name: str, *arguments: Any) -> Any:
        function = self._functions[name]
        return function(*arguments, self._context) if self._takes_context[name] else function(*arguments)


def _import(program: str) -> Any:
    return importlib.import_module(program.removesuffix(".py").replace("/", ".")) if program else None


class NotAcceptable(Exception):
    """No output_fn writes what the client accepts."""


ARGUMENTS = {"model_fn": 1, "input_fn": 2, "predict_fn": 2, "output_fn": 2, "transform_fn": 4}


def _takes_context(name: str, function: Callable[..., Any]) -> bool:
    parameters = [p for p in inspect.signature(function).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(parameters) == ARGUMENTS[name] + 1


def _refusal(error: Exception, status: int) -> Answer:
    document = {"error": type(error).__name__, "error-message": str(error), "stack-trace": traceback.format_exc()}
    return Answer(json.dumps(document), JSON, status)


def to_answer(result: Any, accept: str) -> Answer:
    """What a user's function returned: body, (body, content type[, status]), a response object, or an iterator to stream."""
    content_type = accept.split(",")[0].strip()
    status = 200
    if isinstance(result, Answer):
        return result
    if isinstance(result, tuple):
        status = int(result[2]) if len(result) > 2 else 200
        result, content_type = result[0], result[1]
    if hasattr(result, "get_data") and hasattr(result, "status_code"):
        return Answer(result.get_data(), result.mimetype or content_type, int(result.status_code))
    if isinstance(result, (bytes, str)):
        return Answer(result, content_type, status)
    if isinstance(result, (bytearray, memoryview)):
        return Answer(bytes(result), content_type, status)
    if isinstance(result, Iterator):
        return Answer(result, content_type, status)
    return Answer(json.dumps(result, default=_plain), content_type, status)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


if __name__ == "__main__":
    main()
