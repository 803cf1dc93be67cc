"""Selectable content (SAGEMAKER_INFERENCE_OUTPUT): which of label, probabilities and scores an answer shall hold.

A table of what each objective can tell, because the container answers NaN, with a warning, where it cannot.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

REGRESSION = ("predicted_score",)
LABELED = ("predicted_label", "labels", "raw_score", "raw_scores")
PROBABLE = ("predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores")
CONTENT: Mapping[str, tuple[str, ...]] = {
    "reg:squarederror": REGRESSION,
    "reg:logistic": REGRESSION,
    "reg:gamma": REGRESSION,
    "reg:absoluteerror": REGRESSION,
    "reg:tweedie": REGRESSION,
    "binary:logistic": PROBABLE,
    "binary:logitraw": LABELED,
    "binary:hinge": LABELED,
    "multi:softmax": LABELED,
    "multi:softprob": PROBABLE,
}


def keys(text: str) -> tuple[str, ...]:
    """The keys that SAGEMAKER_INFERENCE_OUTPUT names."""
    return tuple(key for key in text.replace(" ", "").lower().split(",") if key)


def select(predictions: NDArray[Any], wanted: Sequence[str], objective: str, classes: int) -> list[dict[str, Any]]:
    """One dictionary per prediction; NaN for what the objective has not. ValueError for objectives without selectable content."""
    if objective not in CONTENT:
        raise ValueError(f"Objective `{objective}` unsupported for selectable inference predictions.")
    offered = CONTENT[objective]
    ordered = [key for key in (*PROBABLE, *REGRESSION) if key in wanted and key in offered]
    others = [key for key in wanted if key not in offered]
    if others:
        print(f"Selected key(s) {set(others)} incompatible for objective '{objective}'. "
              f"Please use list of compatible selectable inference predictions: {list(offered)}", flush=True)  # fmt: skip
    found = []
    for raw in predictions:
        values = {key: VALUES[key](objective, raw, classes) for key in ordered}
        found.append(values | dict.fromkeys(others, float("nan")))
    return found


def as_csv(chosen: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> str:
    """A line per prediction in the order of the keys; lists are quoted."""
    return "\n".join(",".join(f'"{one[key]}"' if isinstance(one[key], list) else str(one[key]) for key in wanted) for one in chosen)


def _label(objective: str, raw: Any, classes: int) -> float:
    if objective in ("binary:hinge", "multi:softmax"):
        return float(raw)
    if objective == "multi:softprob":
        return int(np.argmax(raw))
    return int(raw > (0.5 if objective == "binary:logistic" else 0))


def _labels(objective: str, raw: Any, classes: int) -> list[int]:
    return [0, 1] if objective.startswith("binary:") else list(range(classes))


def _one(objective: str, raw: Any, classes: int) -> float:
    return float(raw.max()) if objective == "multi:softprob" else float(raw)


def _all(objective: str, raw: Any, classes: int) -> list[float]:
    if objective == "multi:softprob":
        return [float(value) for value in raw]
    return [1.0 - float(raw), float(raw)]


VALUES: dict[str, Callable[[str, Any, int], Any]] = {
    "predicted_label": _label,
    "labels": _labels,
    "probability": _one,
    "probabilities": _all,
    "raw_score": _one,
    "raw_scores": _all,
    "predicted_score": _one,
}
