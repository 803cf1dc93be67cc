"""The image `dewfall/onnx`: model.onnx in onnxruntime, with a module of the user's or without.

onnx.json, where it lies beside the model, says which output, and which column of it, is the prediction; else it is the first output.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dewfall.images import frameworks

ABOUT = "onnx.json"


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A session, and what of its outputs is the prediction."""

    session: Any
    output: str
    column: int | None

    def predict(self, rows: Any) -> Any:
        """The prediction of rows; one row may come without its outer dimension."""
        import numpy as np

        from dewfall.ml.quantize import pick

        given = self.session.get_inputs()[0]
        array = np.asarray(rows, dtype=np.float32)
        if array.ndim == len(given.shape) - 1:
            array = array[None]
        return pick(self.session.run([self.output], {given.name: array})[0], self.column)


def model_fn(model_dir: str) -> OnnxModel:
    """model.onnx, else the only .onnx file."""
    from dewfall.ml.quantize import open_session

    path = Path(model_dir) / "model.onnx"
    if not path.exists():
        found = sorted(name for name in os.listdir(model_dir) if name.endswith(".onnx"))
        if len(found) != 1:
            raise ValueError(f"Exactly one .onnx file is required for ONNX models: {found}")
        path = Path(model_dir) / found[0]
    session = open_session(str(path))
    about = Path(model_dir) / ABOUT
    told = json.loads(about.read_text()) if about.exists() else {}
    return OnnxModel(session, told.get("output") or session.get_outputs()[0].name, told.get("column"))


def input_fn(data: Any, content_type: str) -> Any:
    """npy, csv or json as float32."""
    return frameworks.decode(data, content_type).astype("float32")


def predict_fn(data: Any, model: OnnxModel) -> Any:
    """The model's prediction."""
    return model.predict(data)


ONNX: frameworks.Functions = MappingProxyType({"model_fn": model_fn, "input_fn": input_fn, "predict_fn": predict_fn})
