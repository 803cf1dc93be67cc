"""A trained booster that answers one row in under a tenth of a millisecond.

XGBoost's Python layer costs more than the trees do: it builds descriptions of the array and the call anew each time. Here the call to
`XGBoosterPredictFromDense` of XGBoost's C interface is prepared once, the row is written into a buffer whose description never changes,
so results are XGBoost's own. Boosters that this call does not serve (gblinear) go by DMatrix.
"""

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.builtin.report import threads
from dewfall.images.lean import import_lean

Numbers = NDArray[np.float32]
PICKLE = b"\x80"
MANY_ROWS = 512
VOTED = ("multi:softmax", "binary:hinge")


def load(folder: Path) -> "Predictor":
    """The model files of a folder (hidden ones left out), together an ensemble as the container takes them."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise RuntimeError(f"Model directory {folder} holds no model file")
    return Predictor([load_file(path) for path in files])


def load_file(path: Path) -> Any:
    """The booster in a file, XGBoost's own or pickled."""
    body = path.read_bytes()
    if body.startswith(PICKLE):
        import pickle

        loaded = pickle.loads(body)
        return loaded.get_booster() if hasattr(loaded, "get_booster") else loaded
    import_lean("xgboost")
    import xgboost

    try:
        booster = xgboost.Booster()
        booster.load_model(bytearray(body))
    except xgboost.core.XGBoostError as error:
        raise RuntimeError(f"Model at {path} cannot be loaded:\n{error}")
    return booster


class Predictor:
    """One booster, or several whose predictions are averaged."""

    def __init__(self, boosters: list[Any]) -> None:
        self.boosters = boosters
        learner = json.loads(boosters[0].save_config())["learner"]
        self.features = int(boosters[0].num_features())
        self.objective = str(learner["objective"]["name"])
        self.classes = int(learner["learner_model_param"].get("num_class", 0))
        self._calls = [_Call(booster, self.features) for booster in boosters]

    def predict(self, rows: Any) -> NDArray[np.float32]:
        """Predictions of rows (n, features), dense float32 or csr: (n,), or (n, classes) for multi:softprob."""
        found = [call(rows) for call in self._calls]
        if len(found) == 1:
            return found[0]
        if self.objective in VOTED:
            each = np.stack(found).astype(np.int64)
            return np.array([np.bincount(column).argmax() for column in each.T], dtype=np.float32)
        mean: NDArray[np.float32] = np.mean(found, axis=0)
        return mean


class _Call:
    """One booster's prepared call."""

    def __init__(self, booster: Any, features: int) -> None:
        from xgboost.core import _LIB

        self.booster, self.features = booster, features
        self.threads = 1
        booster.set_param({"nthread": 1})
        best = booster.attr("best_iteration")
        self.end = int(best) + 1 if best is not None else 0
        arguments = {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": self.end, "strict_shape": False, "cache_id": 0}
        self.arguments = json.dumps({**arguments, "missing": float("nan")}).encode()
        self.predict_dense = _LIB.XGBoosterPredictFromDense
        self.handle = booster.handle
        self.row = np.empty((1, features), dtype=np.float32)
        self.row_interface = _interface(self.row)
        self.shape, self.dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        self.answer = ctypes.POINTER(ctypes.c_float)()
        self.out = (ctypes.byref(self.shape), ctypes.byref(self.dimensions), ctypes.byref(self.answer))
        self.is_direct = self._works()

    def _works(self) -> bool:
        self.row[:] = 0
        return bool(self.predict_dense(self.handle, self.row_interface, self.arguments, None, *self.out) == 0)

    def __call__(self, rows: Any) -> NDArray[np.float32]:
        if not self.is_direct or not isinstance(rows, np.ndarray):
            return self._by_matrix(rows)
        if len(rows) == 1:
            self.row[0] = rows[0]
            interface = self.row_interface
        else:
            self._use_threads(threads() if len(rows) >= MANY_ROWS else 1)
            rows = np.ascontiguousarray(rows, dtype=np.float32)
            interface = _interface(rows)
        if self.predict_dense(self.handle, interface, self.arguments, None, *self.out):
            return self._by_matrix(rows)
        shape = [self.shape[i] for i in range(self.dimensions.value)]
        size = int(np.prod(shape))
        if size <= 16:
            return np.array(self.answer[:size], dtype=np.float32).reshape(shape)
        return np.ctypeslib.as_array(self.answer, shape=(size,)).copy().reshape(shape)

    def _use_threads(self, count: int) -> None:
        if count != self.threads:
            self.booster.set_param({"nthread": count})
            self.threads = count

    def _by_matrix(self, rows: Any) -> NDArray[np.float32]:
        import xgboost

        data = xgboost.DMatrix(rows, nthread=threads())
        found: NDArray[np.float32] = self.booster.predict(data, iteration_range=(0, self.end), validate_features=False)
        return found


def _interface(rows: Numbers) -> bytes:
    """NumPy's array interface as XGBoost's C interface reads it."""
    place = {"data": [rows.ctypes.data, True], "shape": list(rows.shape), "strides": None, "typestr": "<f4", "version": 3}
    return json.dumps(place).encode()
