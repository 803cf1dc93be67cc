"""One row through a LightGBM booster by the library's own call for single rows, with everything prepared once.

Why: `Booster.predict` prepares parameters and buffers anew for each call, which takes longer than the trees of one row. The numbers
are the same to the last bit.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

NORMAL, DOUBLES, ALL = 0, 1, -1  # of LightGBM's C interface: predictions as the objective has them, rows of float64, all trees

Predict = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def row_predictor(booster: Any, features: int) -> Predict | None:
    """A function from a (1, features) array to what `booster.predict` gives for it, (1,) or (1, classes); None where the library has no such call."""
    from lightgbm import basic

    library: Any = getattr(basic, "_LIB", None)
    handle = getattr(booster, "_handle", None)
    if handle is None or not hasattr(library, "LGBM_BoosterPredictForMatSingleRowFast"):
        return None
    trees = booster.best_iteration if booster.best_iteration > 0 else ALL
    prepared = ctypes.c_void_p()
    code = library.LGBM_BoosterPredictForMatSingleRowFastInit(
        handle, NORMAL, 0, ctypes.c_int(trees), DOUBLES, ctypes.c_int32(features), b"num_threads=1", ctypes.byref(prepared)
    )
    if code:
        return None
    classes = int(booster.num_model_per_iteration())
    answer = np.empty(classes)
    length = ctypes.c_int64(0)
    shape = (1, classes) if classes > 1 else (1,)
    predict, to, count = library.LGBM_BoosterPredictForMatSingleRowFast, ctypes.c_void_p(answer.ctypes.data), ctypes.byref(length)

    def row(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = np.ascontiguousarray(rows, np.float64)
        if predict(prepared, ctypes.c_void_p(rows.ctypes.data), count, to):
            raise basic.LightGBMError(library.LGBM_GetLastError().decode())
        return answer.reshape(shape).copy()

    row.booster = booster  # type: ignore[attr-defined]  # its trees must live as long
    return row
