"""Factorization machines: linear models with an interaction of every pair of features, whose weights are products of short vectors.

Why apart from linear.py: rows are sparse and millions of columns wide, so each step touches only the columns that its rows have.
Source: Rendle, "Factorization Machines", ICDM 2010, eq. 1 and lemma 3.1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
BETA_1, BETA_2 = 0.9, 0.999


@dataclass(frozen=True, slots=True)
class Part:
    """How one group of weights (bias, linear, factors) starts and learns: method normal | uniform | constant with its size."""

    rate: float
    decay: float
    method: str = "normal"
    size: float = 0.01


@dataclass(frozen=True, slots=True)
class Settings:
    """factors k; loss logistic (labels 0/1) or squared; `rescale` multiplies slopes (None: 1/rows of the step)."""

    factors: int
    loss: str = "logistic"
    epochs: int = 1
    batch: int = 1000
    parts: Mapping[str, Part] = field(
        default_factory=lambda: {"bias": Part(0.1, 0.01), "linear": Part(0.001, 0.001), "factors": Part(0.0001, 0.00001, size=0.001)}
    )
    clip: float | None = None
    epsilon: float = 1e-8
    rescale: float | None = None
    seed: int = 0


@dataclass(slots=True)
class Machine:
    """bias (1,), linear (d,), factors (d, k)."""

    bias: Vector
    linear: Vector
    factors: Vector


Watcher = Callable[[int, Machine], None]


def fit(data: Any, labels: NDArray[Any], settings: Settings, *, watch: Watcher | None = None) -> Machine:
    """Train by Adam on mini-batches; the moments of a column move only with rows that have it.

    data: (n, d) csr matrix or array. labels: (n,). watch(epoch, machine) is called after each epoch.
    Returns Machine. Raises ValueError when shapes disagree or the loss is unknown.

    >>> rows = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]] * 50, dtype=np.float32)
    >>> parts = {"bias": Part(0.1, 0), "linear": Part(0.1, 0), "factors": Part(0.1, 0)}
    >>> found = fit(rows, rows[:, 0] * rows[:, 1], Settings(2, "squared", epochs=200, batch=50, parts=parts))
    >>> bool(abs(scores(found, rows)[0] - 1) < 0.05)
    True
    """
    from scipy.sparse import csr_matrix

    rows, answers = csr_matrix(data, dtype=np.float32), np.asarray(labels, dtype=np.float32)
    if rows.shape[0] != len(answers):
        raise ValueError(f"data: {rows.shape[0]} rows do not fit {len(answers)} labels")
    if settings.loss not in ("logistic", "squared"):
        raise ValueError(f"loss: {settings.loss!r} is neither 'logistic' nor 'squared'")
    rng = np.random.default_rng(settings.seed)
    state = _State(_start(rows.shape[1], settings, rng))
    for epoch in range(settings.epochs):
        order = rng.permutation(rows.shape[0])
        for first in range(0, len(order), settings.batch):
            part = np.sort(order[first : first + settings.batch])
            _step(state, rows[part], answers[part], settings)
        if watch is not None:
            watch(epoch, state.machine)
    return state.machine


def scores(machine: Machine, data: Any) -> Vector:
    """z = b + Σ w_i x_i + ½ Σ_f ((Σ v_if x_i)² − Σ v_if² x_i²) of each row, in O(values · k).

    data: (n, d) csr matrix or array. Returns (n,).

    >>> machine = Machine(np.ones(1, np.float32), np.zeros(2, np.float32), np.array([[2.0], [3.0]], np.float32))
    >>> scores(machine, np.array([[1.0, 1.0]])).tolist()
    [7.0]
    """
    from scipy.sparse import csr_matrix

    rows = csr_matrix(data, dtype=np.float32)
    sums = rows @ machine.factors
    return _score(rows, machine.bias, machine.linear, machine.factors, sums)


def _score(rows: Any, bias: Vector, linear: Vector, factors: Vector, sums: Vector) -> Vector:
    squares = rows.power(2) @ (factors**2).sum(axis=1)
    found: Vector = bias[0] + rows @ linear + 0.5 * ((sums**2).sum(axis=1) - squares)
    return found


class _State:
    """The machine, and Adam's means of slopes and of their squares for each part."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.first = {name: np.zeros_like(getattr(machine, name)) for name in ("bias", "linear", "factors")}
        self.second = {name: np.zeros_like(getattr(machine, name)) for name in ("bias", "linear", "factors")}
        self.step = 0


def _start(features: int, settings: Settings, rng: np.random.Generator) -> Machine:
    def draw(name: str, shape: tuple[int, ...]) -> Vector:
        part = settings.parts[name]
        if part.method == "constant":
            return np.full(shape, part.size, np.float32)
        if part.method == "uniform":
            return rng.uniform(-part.size, part.size, shape).astype(np.float32)
        return rng.standard_normal(shape, np.float32) * np.float32(part.size)

    return Machine(draw("bias", (1,)), draw("linear", (features,)), draw("factors", (features, settings.factors)))


def _step(state: _State, rows: Any, labels: Vector, settings: Settings) -> None:
    """One step of the columns that these rows have.

    The slope by v_if is Σ_rows e x_i (s_f − v_if x_i), with s_f = Σ_j v_jf x_j and e the slope of the loss by the score.
    """
    from scipy.sparse import csr_matrix

    columns, places = np.unique(rows.indices, return_inverse=True)
    local = csr_matrix((rows.data, places, rows.indptr), shape=(rows.shape[0], len(columns)))
    machine = state.machine
    linear, factors = machine.linear[columns], machine.factors[columns]
    sums = local @ factors
    z = _score(local, machine.bias, linear, factors, sums)
    miss = (0.5 * (1 + np.tanh(0.5 * z)) if settings.loss == "logistic" else z) - labels
    miss = (miss * (1 / len(labels) if settings.rescale is None else settings.rescale)).astype(np.float32)
    across = local.T.tocsr()
    slopes = across @ (miss[:, None] * sums) - factors * (across.power(2) @ miss)[:, None]
    state.step += 1
    _move(state, "bias", np.zeros(1, np.intp), np.array([miss.sum()], np.float32), settings)
    _move(state, "linear", columns, across @ miss, settings)
    _move(state, "factors", columns, slopes, settings)


def _move(state: _State, name: str, where: NDArray[np.intp], slope: Vector, settings: Settings) -> None:
    part, weights = settings.parts[name], getattr(state.machine, name)
    slope = slope if settings.clip is None else np.clip(slope, -settings.clip, settings.clip)
    slope = slope + np.float32(part.decay) * weights[where]
    first = BETA_1 * state.first[name][where] + (1 - BETA_1) * slope
    second = BETA_2 * state.second[name][where] + (1 - BETA_2) * slope**2
    state.first[name][where], state.second[name][where] = first, second
    rate = part.rate * np.sqrt(1 - BETA_2**state.step) / (1 - BETA_1**state.step)
    weights[where] -= (rate * first / (np.sqrt(second) + settings.epsilon)).astype(np.float32)
