"""What a framework's image does where the user's module is silent: default model_fn, input_fn, predict_fn and output_fn.

One table per framework, each function as in AWS's container for it: scikit-learn, XGBoost, PyTorch, and a plain one without model functions.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dewfall.images.formats import CSV, JSON, LIBSVM, NPY, NPZ, RECORDIO, X_LIBSVM, UnsupportedFormat, media_type

UTF8 = (JSON, CSV)
ENCODED = (NPY, CSV, JSON)
UNSUPPORTED = """Content type {} is not supported by this framework.

Please implement input_fn to to deserialize the request data or an output_fn to
serialize the response. For more information, see the SageMaker Python SDK README."""
NO_FUNCTION = """
Please provide a {name} implementation.
See documentation for {name} at https://github.com/aws/sagemaker-python-sdk
"""

Functions = Mapping[str, Callable[..., Any]]


def defaults(framework: str) -> Functions:
    """model_fn, input_fn, predict_fn, output_fn of a framework (the value of DEWFALL_FRAMEWORK)."""
    if framework == "huggingface":
        from dewfall.images.huggingface import HUGGINGFACE

        return HUGGINGFACE
    if framework == "onnx":
        from dewfall.images.onnx import ONNX

        return {**PLAIN, **ONNX}
    own: dict[str, Functions] = {"sklearn": SKLEARN, "xgboost": XGBOOST, "pytorch": PYTORCH}
    return {**PLAIN, **own.get(framework, {})}


# ---------------------------------------------------------------- any framework


def decode(data: Any, content_type: str) -> Any:
    """npy, npz, csv or json → array, as AWS's toolkits decode: a CSV of one row or column is one-dimensional."""
    import numpy as np

    kind = media_type(content_type or JSON)[0]
    if kind == NPY:
        return np.load(io.BytesIO(data), allow_pickle=True)
    if kind == NPZ:
        from scipy.sparse import load_npz

        return load_npz(io.BytesIO(data))
    text = data.decode() if isinstance(data, (bytes, bytearray)) else data
    if kind == JSON:
        return np.array(json.loads(text))
    if kind == CSV:
        return np.array(list(csv.reader(io.StringIO(text), strict=True))).squeeze()
    raise UnsupportedFormat(UNSUPPORTED.format(content_type))


def encode(prediction: Any, accept: str) -> tuple[Any, str]:
    """(body, content type): the first type of an Accept header that is npy, csv or json."""
    import numpy as np

    wanted = [media_type(part)[0] for part in accept.split(",")]
    kind = next((kind for kind in wanted if kind in ENCODED), "")
    if kind == NPY:
        buffer = io.BytesIO()
        np.save(buffer, prediction)
        return buffer.getvalue(), kind
    if kind == JSON:
        return json.dumps(prediction, default=_plain), kind
    if kind == CSV:
        array = np.array(prediction)
        array = array.reshape(-1, 1) if array.ndim < 2 else array
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows(array)
        return stream.getvalue(), kind
    raise UnsupportedFormat(UNSUPPORTED.format(accept))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def no_model_fn(model_dir: str) -> Any:
    """The user must say how to load a model."""
    raise NotImplementedError(NO_FUNCTION.format(name="model_fn"))


def no_predict_fn(data: Any, model: Any) -> Any:
    """The user must say how to predict."""
    raise NotImplementedError(NO_FUNCTION.format(name="predict_fn"))


PLAIN: Functions = MappingProxyType({"model_fn": no_model_fn, "input_fn": decode, "predict_fn": no_predict_fn, "output_fn": encode})


# ---------------------------------------------------------------- scikit-learn


def sklearn_input(data: Any, content_type: str) -> Any:
    """Text types become float32."""
    import numpy as np

    array = decode(data, content_type)
    return array.astype(np.float32) if media_type(content_type or JSON)[0] in UTF8 else array


def sklearn_predict(data: Any, model: Any) -> Any:
    """model.predict. One row of CSV, which AWS's container hands over one-dimensional and scikit-learn refuses, counts as one row here."""
    if getattr(data, "ndim", 0) == 1 and data.dtype != object:
        data = data.reshape(1, -1)
    return model.predict(data)


SKLEARN: Functions = MappingProxyType({"input_fn": sklearn_input, "predict_fn": sklearn_predict})


# ---------------------------------------------------------------- XGBoost


def xgboost_input(data: Any, content_type: str) -> Any:
    """csv (its delimiter is found out), libsvm or recordio-protobuf → DMatrix."""
    import xgboost

    from dewfall.images import formats

    body = data.encode() if isinstance(data, str) else bytes(data)
    kind = media_type(content_type)[0]
    if kind == CSV:
        return xgboost.DMatrix(formats.read_csv(body.strip(b"\r\n"), delimiter=_delimiter(body)))
    if kind in (LIBSVM, X_LIBSVM):
        return xgboost.DMatrix(formats.read_libsvm(body))
    if kind == RECORDIO:
        return xgboost.DMatrix(formats.read_recordio(body))
    raise UnsupportedFormat(UNSUPPORTED.format(content_type))


def _delimiter(body: bytes) -> str:
    first = body[:512].decode("utf-8", "replace").strip().splitlines()[:1]
    try:
        found = csv.Sniffer().sniff(first[0]).delimiter if first and "," not in first[0] else ","
    except csv.Error:
        return ","
    return "," if found.isalnum() or found in ".-+" else found


def xgboost_predict(data: Any, model: Any) -> Any:
    """model.predict without looking at feature names."""
    return model.predict(data, validate_features=False)


XGBOOST: Functions = MappingProxyType({"input_fn": xgboost_input, "predict_fn": xgboost_predict})


# ---------------------------------------------------------------- PyTorch


def pytorch_model(model_dir: str) -> Any:
    """model.pt, else the only .pt or .pth file, as TorchScript."""
    import torch

    path = Path(model_dir) / "model.pt"
    if not path.exists():
        found = sorted(name for name in os.listdir(model_dir) if name.endswith((".pt", ".pth")))
        if len(found) != 1:
            raise ValueError(f"Exactly one .pth or .pt file is required for PyTorch models: {found}")
        path = Path(model_dir) / found[0]
    try:
        return torch.jit.load(str(path), map_location=_device())
    except RuntimeError as error:
        raise RuntimeError(f"Failed to load {path}. Please ensure model is saved using torchscript.") from error


def pytorch_input(data: Any, content_type: str) -> Any:
    """A float tensor from text, else the array's own type."""
    import torch

    array = decode(data, content_type)
    text = media_type(content_type or JSON)[0] in UTF8
    tensor = torch.FloatTensor(array.astype("float32")) if text else torch.from_numpy(array)
    return tensor.to(_device())


def pytorch_predict(data: Any, model: Any) -> Any:
    """model(data) in evaluation mode, without gradients."""
    import torch

    with torch.no_grad():
        model = model.to(_device())
        model.eval()
        return model(data.to(_device()))


def pytorch_output(prediction: Any, accept: str) -> Any:
    """Tensors as arrays."""
    if hasattr(prediction, "detach"):
        prediction = prediction.detach().cpu().numpy()
    return encode(prediction, accept)


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


PYTORCH: Functions = MappingProxyType(
    {"model_fn": pytorch_model, "input_fn": pytorch_input, "predict_fn": pytorch_predict, "output_fn": pytorch_output}
)
