"""The losses of the linear learner: value and slope with respect to the score, for many models at once.

Each takes scores z (rows, models) or, for softmax, (rows, models, classes), and labels (rows,); all are vectorised over models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shape:
    """Knobs of some losses, in the labels' units: insensitivity ε, quantile τ in (0, 1), Huber's δ, the hinge's margin."""

    insensitivity: float = 0.01
    quantile: float = 0.5
    huber_delta: float = 1.0
    margin: float = 1.0


def sigmoid(z: NDArray[Any]) -> Table:
    """1/(1+exp(-z)) without overflow.

    >>> sigmoid(np.array([0.0, 1000.0])).tolist()
    [0.5, 1.0]
    """
    result: Table = 0.5 * (1 + np.tanh(0.5 * np.asarray(z, dtype=np.float64)))
    return result


def softmax(z: NDArray[Any]) -> Table:
    """exp(z)/Σexp(z) along the last axis.

    >>> softmax(np.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """
    shifted = np.exp(z - np.max(z, axis=-1, keepdims=True))
    result: Table = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def loss(name: str, z: Table, labels: Table, shape: Shape) -> Table:
    """The loss of each row under each model: (rows, models), each >= 0. Raises ValueError for an unknown name."""
    return _find(name)[0](z, labels, shape)


def slope(name: str, z: Table, labels: Table, shape: Shape) -> Table:
    """The loss's derivative by the score, of z's shape. Raises ValueError for an unknown name."""
    return _find(name)[1](z, labels, shape)


def _find(name: str) -> "tuple[Curve, Curve]":
    if name not in CURVES:
        raise ValueError(f"loss: {name!r} is not one of {', '.join(CURVES)}")
    return CURVES[name]


Curve = Callable[[Table, Table, Shape], Table]


def _logistic(z: Table, y: Table, shape: Shape) -> Table:
    return np.logaddexp(0, z) - y[:, None] * z


def _logistic_slope(z: Table, y: Table, shape: Shape) -> Table:
    return sigmoid(z) - y[:, None]


def _hinge(z: Table, y: Table, shape: Shape) -> Table:
    return np.maximum(0, shape.margin - (2 * y[:, None] - 1) * z)


def _hinge_slope(z: Table, y: Table, shape: Shape) -> Table:
    side = 2 * y[:, None] - 1
    return np.where(side * z < shape.margin, -side, 0.0)


def _squared(z: Table, y: Table, shape: Shape) -> Table:
    result: Table = (z - y[:, None]) ** 2
    return result


def _squared_slope(z: Table, y: Table, shape: Shape) -> Table:
    return 2 * (z - y[:, None])


def _absolute(z: Table, y: Table, shape: Shape) -> Table:
    return np.abs(z - y[:, None])


def _absolute_slope(z: Table, y: Table, shape: Shape) -> Table:
    return np.sign(z - y[:, None])


def _over(z: Table, y: Table, shape: Shape) -> Table:
    return np.maximum(0, np.abs(z - y[:, None]) - shape.insensitivity)


def _over_squared(z: Table, y: Table, shape: Shape) -> Table:
    result: Table = _over(z, y, shape) ** 2
    return result


def _over_slope(z: Table, y: Table, shape: Shape) -> Table:
    return np.sign(z - y[:, None]) * (_over(z, y, shape) > 0)


def _over_squared_slope(z: Table, y: Table, shape: Shape) -> Table:
    return 2 * np.sign(z - y[:, None]) * _over(z, y, shape)


def _quantile(z: Table, y: Table, shape: Shape) -> Table:
    short = y[:, None] - z
    return np.maximum(shape.quantile * short, (shape.quantile - 1) * short)


def _quantile_slope(z: Table, y: Table, shape: Shape) -> Table:
    return np.where(z < y[:, None], -shape.quantile, 1 - shape.quantile)


def _huber(z: Table, y: Table, shape: Shape) -> Table:
    away, delta = np.abs(z - y[:, None]), shape.huber_delta
    return np.where(away <= delta, 0.5 * away**2, delta * (away - 0.5 * delta))


def _huber_slope(z: Table, y: Table, shape: Shape) -> Table:
    return np.clip(z - y[:, None], -shape.huber_delta, shape.huber_delta)


def _softmax_loss(z: Table, y: Table, shape: Shape) -> Table:
    top = z.max(axis=2, keepdims=True)
    total: Table = np.log(np.exp(z - top).sum(axis=2)) + top[:, :, 0]
    return total - np.take_along_axis(z, y.astype(np.intp)[:, None, None], axis=2)[:, :, 0]


def _softmax_slope(z: Table, y: Table, shape: Shape) -> Table:
    result = softmax(z)
    result[np.arange(len(z)), :, y.astype(np.intp)] -= 1
    return result


CURVES: dict[str, tuple[Curve, Curve]] = {
    "logistic": (_logistic, _logistic_slope),
    "hinge_loss": (_hinge, _hinge_slope),
    "squared_loss": (_squared, _squared_slope),
    "absolute_loss": (_absolute, _absolute_slope),
    "eps_insensitive_squared_loss": (_over_squared, _over_squared_slope),
    "eps_insensitive_absolute_loss": (_over, _over_slope),
    "quantile_loss": (_quantile, _quantile_slope),
    "huber_loss": (_huber, _huber_slope),
    "softmax_loss": (_softmax_loss, _softmax_slope),
}
