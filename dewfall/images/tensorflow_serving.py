"""TensorFlow Serving's REST interface behind /invocations, for SavedModels: what the image tensorflow-inference answers.

    {"instances": [row, …]} → {"predictions": [row, …]}       {"inputs": columns} → {"outputs": columns}       CSV, JSON Lines: instances

A module inference.py may have input_handler and output_handler. One that has `handler` talks to TensorFlow Serving itself, which is not here.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dewfall.images import contract
from dewfall.images.formats import ANY, CSV, JSON, media_type
from dewfall.images.http import Answer, Invocation, serve

LINES = ("application/jsonlines", "application/x-jsonlines")
SAVED_MODEL = "saved_model.pb"
NO_HANDLER = "inference.py has `handler`, which calls TensorFlow Serving by itself. It does not run here: use input_handler and output_handler."


@dataclass(slots=True)
class Context:
    """What handlers are told of a request."""

    request_content_type: str
    accept_header: str
    content_length: int
    custom_attributes: str = ""
    model_name: str = "model"
    model_version: str = "1"
    method: str = "predict"
    rest_uri: str = ""
    grpc_port: str = ""


@dataclass(slots=True)
class Response:
    """TensorFlow Serving's answer, as output_handler sees it."""

    content: bytes
    status_code: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


def find_model(folder: Path) -> Path:
    """The SavedModel's folder, the one with the highest version: `1/`, `name/1/`, `export/Servo/1/` or the folder itself."""
    found = [path.parent for path in folder.rglob(SAVED_MODEL)]
    if not found:
        raise ValueError(f"no SavedModel bundles found in {folder}: there is no {SAVED_MODEL}")
    return max(found, key=lambda path: (int(path.name) if path.name.isdigit() else -1, str(path)))


class SavedModelHandler:
    """One SavedModel and, where there is one, the user's inference.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._signatures: Any = {}
        self._before: Callable[..., Any] | None = None
        self._after: Callable[..., Any] | None = None
        self._model: Any = None

    def load(self) -> None:
        import tensorflow as tf

        self._model = tf.saved_model.load(str(find_model(self.folder)))
        self._signatures = self._model.signatures
        code = self.folder / "code"
        if (code / "inference.py").is_file():
            sys.path.insert(0, str(code))
            import inference  # type: ignore[import-not-found]

            if hasattr(inference, "handler"):
                raise ValueError(NO_HANDLER)
            self._before, self._after = getattr(inference, "input_handler", None), getattr(inference, "output_handler", None)

    def ping(self) -> bool:
        return True

    def invoke(self, invocation: Invocation) -> Answer:
        """TensorFlow Serving's answer, or its error as {"error": …} with 400."""
        accept = invocation.accept if invocation.accept and invocation.accept != ANY else JSON
        attributes = dict(invocation.headers).get("x-amzn-sagemaker-custom-attributes", "")
        context = Context(invocation.content_type or JSON, accept, len(invocation.body), attributes)
        try:
            asked = self._before(io.BytesIO(invocation.body), context) if self._before else _read(invocation.body, context.request_content_type)
            document = json.loads(asked) if isinstance(asked, (str, bytes)) else asked
            response = Response(json.dumps(self.predict(document)).encode())
        except (ValueError, TypeError, KeyError) as error:
            response = Response(json.dumps({"error": str(error)}).encode(), 400)
        if self._after is not None:
            body, content_type = self._after(response, context)
            return Answer(body, content_type)
        return Answer(response.content, JSON, response.status_code)

    def predict(self, document: Any) -> dict[str, Any]:
        """A request of the REST interface → its answer. ValueError, KeyError, TypeError in TensorFlow's words."""
        if not isinstance(document, dict):
            document = {"instances": document}
        name = document.get("signature_name", "serving_default")
        if name not in self._signatures:
            raise ValueError(f'Serving signature name: "{name}" not found in signature def')
        signature = self._signatures[name]
        expected = signature.structured_input_signature[1]
        if "inputs" in document:
            found = self._call(signature, _columns(document["inputs"], expected))
            return {"outputs": next(iter(found.values())) if len(found) == 1 else found}
        if "instances" not in document:
            raise ValueError('JSON Value: {} Type: Object is not formatted correctly for prediction: it has neither "instances" nor "inputs"')
        rows = document["instances"]
        columns = {key: [row[key] for row in rows] for key in rows[0]} if rows and _is_named(rows[0], expected) else _columns(rows, expected)
        found = self._call(signature, columns)
        if len(found) == 1:
            return {"predictions": next(iter(found.values()))}
        return {"predictions": [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]}

    def _call(self, signature: Any, columns: dict[str, Any]) -> dict[str, Any]:
        import tensorflow as tf

        expected = signature.structured_input_signature[1]
        tensors = {name: tf.constant(value, dtype=expected[name].dtype) for name, value in columns.items()}
        try:
            return {name: _plain(value.numpy().tolist()) for name, value in signature(**tensors).items()}
        except tf.errors.OpError as error:
            raise ValueError(error.message) from error


def _is_named(row: Any, expected: Any) -> bool:
    return isinstance(row, dict) and set(row) <= set(expected)


def _columns(given: Any, expected: Any) -> dict[str, Any]:
    """The value of the only input, or values by name."""
    if isinstance(given, dict):
        unknown = set(given) - set(expected)
        if unknown:
            raise ValueError(f"input tensor alias not found in signature: {sorted(unknown)[0]}. Inputs expected to be in the set {sorted(expected)}.")
        return given
    if len(expected) != 1:
        raise ValueError(f"the model has the inputs {sorted(expected)}: give them by name")
    return {next(iter(expected)): given}


def _read(body: bytes, content_type: str) -> Any:
    kind = media_type(content_type)[0]
    if kind == JSON:
        return json.loads(body)
    if kind == CSV:
        return {"instances": [[float(cell) for cell in row] for row in csv.reader(io.StringIO(body.decode())) if row]}
    if kind in LINES:
        return {"instances": [json.loads(line) for line in body.decode().splitlines() if line.strip()]}
    raise ValueError(f"Unsupported Media Type: {content_type}")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return [_plain(part) for part in value] if isinstance(value, list) else value


def main() -> None:
    """Serve until SIGTERM."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    serve(SavedModelHandler(contract.folders().model))


if __name__ == "__main__":
    main()
