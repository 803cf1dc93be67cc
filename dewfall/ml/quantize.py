"""Trained models as ONNX, smaller numbers in them, and what that costs: XGBoost, LightGBM, scikit-learn and PyTorch.

Needs onnx, onnxruntime, skl2onnx and onnxmltools (the extra `onnx`). A conversion is only as good as its converter, so `compare` asks both models
the same rows: what was not compared is not claimed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAMEWORKS = ("xgboost", "lightgbm", "sklearn", "pytorch", "onnx")
METHODS = ("dynamic-int8", "static-int8", "fp16")
PRODUCTS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "Attention"})  # operators whose weights become smaller
INPUT = "input"
BATCHES = 20  # of calibration rows
REPEATS = 30

Rows = NDArray[np.float32]
Predict = Callable[[Rows], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Converted:
    """An ONNX model, and where in its outputs the prediction of the original is: `column` of `output`, the whole of it where None."""

    body: bytes
    output: str
    column: int | None = None


def convert(model: Any, framework: str, shape: tuple[int, ...]) -> Converted:
    """A trained model as ONNX, so that its prediction is what the framework's own `predict` gives.

    model: xgboost.Booster, lightgbm.Booster, a scikit-learn estimator, a torch module or script module, or an ONNX model's bytes.
    shape: of one row, (features,) for tables.
    Raises ValueError (framework, model) for what no converter takes.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework: {framework} is not one of {', '.join(FRAMEWORKS)}")
    if framework == "onnx":
        return Converted(bytes(model), _outputs(bytes(model))[0])
    makers: dict[str, Callable[[Any, tuple[int, ...]], Converted]] = {
        "xgboost": _from_xgboost,
        "lightgbm": _from_lightgbm,
        "sklearn": _from_sklearn,
        "pytorch": _from_torch,
    }
    try:
        return makers[framework](model, shape)
    except Exception as error:
        raise ValueError(f"model: it cannot be converted from {framework} to ONNX: {type(error).__name__}: {error}") from error


def original(model: Any, framework: str) -> Predict:
    """The framework's own prediction of rows (n, …) as a function."""
    if framework == "xgboost":
        import xgboost

        return lambda rows: np.asarray(model.predict(xgboost.DMatrix(rows), validate_features=False))
    if framework == "pytorch":
        return _torch_prediction(model)
    if framework == "onnx":
        return prediction(Converted(bytes(model), _outputs(bytes(model))[0]))
    return lambda rows: np.asarray(model.predict(rows))


def prediction(converted: Converted) -> Predict:
    """An ONNX model's prediction of rows (n, …) as a function, on the processors."""
    session = open_session(converted.body)
    name = session.get_inputs()[0].name

    def predict(rows: Rows) -> NDArray[Any]:
        return pick(session.run([converted.output], {name: np.asarray(rows, dtype=np.float32)})[0], converted.column)

    return predict


def pick(found: Any, column: int | None) -> NDArray[Any]:
    """The prediction in an output: one column, or all of it; a single column is one-dimensional."""
    held = np.asarray(found)
    if column is not None:
        return held[:, column]
    return held[:, 0] if held.ndim == 2 and held.shape[1] == 1 else held


def open_session(body: bytes | str) -> Any:
    """An onnxruntime session on the processors, by bytes or path, without its warnings."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])


def has_products(body: bytes) -> bool:
    """Whether there is something to quantize: trees and linear operators of ONNX's ML domain have no matrix products."""
    import onnx

    return any(node.op_type in PRODUCTS for node in onnx.load_from_string(body).graph.node)


def quantize(body: bytes, method: str, calibration: Rows | None = None) -> bytes:
    """An ONNX model with smaller weights: `dynamic-int8` (activations at run time), `static-int8` (by calibration rows), `fp16`.

    A model without matrix products comes back as it was (`has_products`). Inputs and outputs stay float32.
    Raises ValueError (method, calibration).
    """
    if method not in METHODS:
        raise ValueError(f"method: {method} is not one of {', '.join(METHODS)}")
    if method == "static-int8" and (calibration is None or not len(calibration)):
        raise ValueError("calibration: static-int8 needs rows of data to find the ranges of activations")
    if not has_products(body):
        return body
    if method == "fp16":
        return _halved(body)
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "small.onnx"
        source.write_bytes(body)
        if method == "dynamic-int8":
            quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8)
        else:
            name = open_session(body).get_inputs()[0].name
            quantize_static(str(source), str(target), _reader(name, np.asarray(calibration, dtype=np.float32)))
        return target.read_bytes()


def compare(before: Predict, after: Predict, rows: Rows, labels: NDArray[Any] | None = None) -> dict[str, Any]:
    """What a conversion changes on rows: MaxDifference (over the spread of the original's numbers), Agreement of decisions, latencies in
    microseconds (One row, All rows; median of 30 each), and with labels the metric before and after (accuracy, or RMSE for real labels)."""
    old, new = before(rows), after(rows)
    found: dict[str, Any] = {"Rows": len(rows), "Agreement": float(np.mean(_decisions(old) == _decisions(new)))}
    if np.issubdtype(old.dtype, np.number) and np.issubdtype(new.dtype, np.number) and old.shape == new.shape:
        spread = float(np.ptp(old)) or 1.0
        found["MaxDifference"] = float(np.max(np.abs(old.astype(float) - new.astype(float)), initial=0.0)) / spread
    for name, predict in (("Before", before), ("After", after)):
        found[f"Latency{name}"] = {"OneRow": latency(predict, rows[:1]), "AllRows": latency(predict, rows)}
    if labels is not None:
        found |= {"Metric": metric_of(labels), "MetricBefore": score(old, labels), "MetricAfter": score(new, labels)}
    return found


def latency(predict: Predict, rows: Rows) -> float:
    """Microseconds of one call, the median of 30."""
    predict(rows)
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        predict(rows)
        taken.append(time.perf_counter() - started)
    return 1e6 * float(np.median(taken))


def metric_of(labels: NDArray[Any]) -> str:
    """`accuracy` of labels that are classes, `rmse` of real ones.

    >>> metric_of(np.array([0.0, 1.0, 1.0])), metric_of(np.array([0.5, 1.25]))
    ('accuracy', 'rmse')
    """
    if not np.issubdtype(labels.dtype, np.number):
        return "accuracy"
    return "accuracy" if np.all(labels == np.round(labels)) and len(np.unique(labels)) <= 100 else "rmse"


def score(predictions: NDArray[Any], labels: NDArray[Any]) -> float:
    """A prediction's accuracy or RMSE.

    >>> score(np.array([0.2, 0.9, 0.6]), np.array([0.0, 1.0, 0.0]))
    0.6666666666666666
    """
    if metric_of(labels) == "rmse":
        return float(np.sqrt(np.mean((predictions.astype(float).reshape(len(labels), -1)[:, 0] - labels) ** 2)))
    return float(np.mean(_decisions(predictions).astype(labels.dtype) == labels))


def _decisions(predictions: NDArray[Any]) -> NDArray[Any]:
    """Classes: the likeliest of several columns, a probability's side of a half, whole numbers and words as they are."""
    if predictions.ndim > 1 and predictions.shape[1] > 1:
        return np.asarray(predictions.reshape(len(predictions), predictions.shape[1], -1)[:, :, 0].argmax(axis=1))
    flat = predictions.reshape(len(predictions), -1)[:, 0]
    if not np.issubdtype(flat.dtype, np.floating):
        return flat
    is_probability = flat.size and flat.min() >= 0 and flat.max() <= 1
    return np.asarray((flat > 0.5).astype(int) if is_probability else np.round(flat))


# ---------------------------------------------------------------- converters


def _from_xgboost(model: Any, shape: tuple[int, ...]) -> Converted:
    import json

    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    objective = json.loads(model.save_config())["learner"]["objective"]["name"]
    model.feature_names = None
    body = convert_xgboost(model, initial_types=[(INPUT, FloatTensorType([None, *shape]))]).SerializeToString()
    outputs = _outputs(body)
    if "probabilities" not in outputs:
        return Converted(body, outputs[0])
    if objective == "multi:softmax":
        return Converted(body, "label")
    return Converted(body, "probabilities", None if objective.startswith("multi:") else 1)


def _from_lightgbm(model: Any, shape: tuple[int, ...]) -> Converted:
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    body = convert_lightgbm(model, initial_types=[(INPUT, FloatTensorType([None, *shape]))], zipmap=False).SerializeToString()
    outputs = _outputs(body)
    if "probabilities" not in outputs:
        return Converted(body, outputs[0])
    return Converted(body, "probabilities", 1 if model.num_model_per_iteration() == 1 else None)


def _from_sklearn(model: Any, shape: tuple[int, ...]) -> Converted:
    from skl2onnx import to_onnx

    options = {"zipmap": False} if hasattr(model, "classes_") else None
    body = to_onnx(model, np.zeros((1, *shape), dtype=np.float32), options=options).SerializeToString()
    return Converted(body, _outputs(body)[0])


def _from_torch(model: Any, shape: tuple[int, ...]) -> Converted:
    import torch

    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        axes = {INPUT: {0: "rows"}, "output": {0: "rows"}}
        torch.onnx.export(model, (torch.zeros(1, *shape),), str(path), input_names=[INPUT], output_names=["output"], dynamic_axes=axes, dynamo=False)
        return Converted(path.read_bytes(), "output")


def _torch_prediction(model: Any) -> Predict:
    import torch

    model.eval()

    def predict(rows: Rows) -> NDArray[Any]:
        with torch.no_grad():
            return pick(model(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))).numpy(), None)

    return predict


def _outputs(body: bytes) -> list[str]:
    import onnx

    return [output.name for output in onnx.load_from_string(body).graph.output]


def _halved(body: bytes) -> bytes:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    halved = convert_float_to_float16(onnx.load_from_string(body), keep_io_types=True)
    return bytes(halved.SerializeToString())


def _reader(name: str, rows: Rows) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Rows in batches, as onnxruntime asks for them."""

        def __init__(self) -> None:
            self.batches: Iterator[Rows] = iter([part for part in np.array_split(rows, BATCHES) if len(part)])

        def get_next(self) -> dict[str, Rows] | None:
            batch = next(self.batches, None)
            return None if batch is None else {name: batch}

    return Reader()
