"""Linear models, many at once: mini-batch training of a grid of learning rates and penalties in shared matrix products.

AWS's linear learner explores hyperparameters by training models in parallel and keeps the best by a criterion; so does this.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml.losses import Shape, loss, slope

Table = NDArray[np.float64]
RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
PENALTIES = (0.0, 1e-5, 1e-4, 1e-3)
STEPS_PER_EPOCH = 50
COOLING = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """rates, l2, l1: the values tried, every combination one model; `batch` rows per step at most; `outputs` 1, or the classes.

    normalize scales columns to unit deviation, unbias moves them to mean 0. start: ("uniform" | "normal", size) of the first weights, else 0.
    rate_step: every so many steps rates are multiplied by rate_factor, down to least_rate; 0: they fall evenly to nothing.
    """

    loss: str = "logistic"
    shape: Shape = field(default_factory=Shape)
    outputs: int = 1
    epochs: int = 15
    batch: int = 1000
    rates: tuple[float, ...] = RATES
    l2: tuple[float, ...] = PENALTIES
    l1: tuple[float, ...] = (0.0,)
    models: int = 32
    optimizer: str = "adam"
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    use_bias: bool = True
    bias_rate: float = 1.0
    bias_l2: float = 0.0
    decay: bool = True
    normalize: bool = True
    unbias: bool = True
    normalize_label: bool = False
    unbias_label: bool = False
    start: tuple[str, float] | None = None
    start_bias: float = 0.0
    rate_step: int = 0
    rate_factor: float = 0.5
    least_rate: float = 0.0
    patience: int = 3
    tolerance: float = 0.001
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Models:
    """weights (models, d, outputs) and bias (models, outputs), in the units of the data as they were given."""

    weights: Table
    bias: Table

    def scores(self, data: NDArray[Any]) -> Table:
        """z of rows (n, d): (n, models), or (n, models, outputs) when there are several outputs."""
        models, features, outputs = self.weights.shape
        flat = np.asarray(data, dtype=np.float64) @ self.weights.transpose(1, 0, 2).reshape(features, -1)
        z = flat.reshape(-1, models, outputs) + self.bias
        return z[:, :, 0] if outputs == 1 else z

    def one(self, index: int) -> "Models":
        return Models(self.weights[index : index + 1], self.bias[index : index + 1])


@dataclass(frozen=True, slots=True)
class Epoch:
    """What training tells after each pass: mean loss of every model on the training rows and, if there are any, validation rows."""

    number: int
    train: Table
    validation: Table | None
    models: Models


Watcher = Callable[[Epoch], None]


@dataclass(frozen=True, slots=True)
class _Rate:
    """The share of the learning rate that is left: from `high` at step `first` down to 0 after `steps` steps."""

    high: float
    first: int
    steps: int

    def at(self, step: int) -> float:
        return self.high * max(0.0, 1 - (step - self.first) / self.steps)


@dataclass(slots=True)
class _State:
    weights: Table
    bias: Table
    first: list[Table]
    second: list[Table]
    step: int = 0


def fit(data: NDArray[Any], labels: NDArray[Any], settings: Settings, *, weights: NDArray[Any] | None = None,
        validation: tuple[NDArray[Any], NDArray[Any]] | None = None, watch: Watcher | None = None) -> Models:  # fmt: skip
    """Train every model of the grid; each is returned as it was after its best epoch.

    When no model improves any more, learning rates fall to nothing over two further epochs, and training ends.

    data: (n, d) finite numbers. labels: (n,): 0/1, classes 0..outputs-1, or numbers. weights: (n,) of the rows, default 1.
    validation: rows and labels that judge the epochs, else the training rows do. watch is called after each epoch.
    Returns Models. Raises ValueError when shapes disagree or values are not finite.

    >>> rows = np.linspace(-1, 1, 200)[:, None]
    >>> models = fit(rows, 3 * rows[:, 0] + 1, Settings(loss="squared_loss", rates=(0.1,), l2=(0.0,)))
    >>> [round(float(value), 1) for value in (models.weights[0, 0, 0], models.bias[0, 0])]
    [3.0, 1.0]
    """
    rows, answers, row_weights = _checked(data, labels, weights)
    shift = rows.mean(axis=0) if settings.unbias else np.zeros(rows.shape[1])
    scale = rows.std(axis=0) if settings.normalize else np.ones(rows.shape[1])
    scale = np.where(scale > 0, scale, 1.0)
    label_shift = float(answers.mean()) if settings.unbias_label else 0.0
    label_scale = float(answers.std()) or 1.0 if settings.normalize_label else 1.0
    shape = replace(settings.shape, insensitivity=settings.shape.insensitivity / label_scale)
    table, target = (rows - shift) / scale, (answers - label_shift) / label_scale
    grid = _grid(settings)
    rng = np.random.default_rng(settings.seed)
    state = _start(grid, table.shape[1], settings, rng)
    judged = (
        (table, target) if validation is None else ((np.asarray(validation[0], float) - shift) / scale, (validation[1] - label_shift) / label_scale)
    )
    best = _Best(state, settings)
    size = max(1, min(settings.batch, max(8, len(table) // STEPS_PER_EPOCH)))
    per_epoch = -(-len(table) // size)
    rate, cools = _Rate(1.0, 0, settings.epochs * per_epoch), 0
    for epoch in range(settings.epochs):
        order = rng.permutation(len(table))
        for first in range(0, len(order), size):
            part = order[first : first + size]
            _step(state, table[part], target[part], row_weights[part], grid, settings, shape, rate.at(state.step))
        found = best.judge(state, judged, settings, shape)
        if watch is not None:
            now = _restore(state.weights, state.bias, shift, scale, label_shift, label_scale)
            train = found if validation is None else _mean_loss(state.weights, state.bias, table, target, settings, shape)
            watch(Epoch(epoch, train, found if validation is not None else None, now))
        cools += bool(cools)
        if cools > COOLING:
            break
        if not cools and best.waited >= settings.patience:
            rate, cools = _Rate(rate.at(state.step), state.step, COOLING * per_epoch), 1
    return _restore(best.weights, best.bias, shift, scale, label_shift, label_scale)


def _checked(data: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None) -> tuple[Table, Table, Table]:
    rows, answers = np.asarray(data, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != len(answers) or not len(rows):
        raise ValueError(f"data: {rows.shape} rows do not fit labels {answers.shape}")
    if not (np.isfinite(rows).all() and np.isfinite(answers).all()):
        raise ValueError("data: values must be finite")
    given = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    return rows, answers, given / given.mean()


def _grid(settings: Settings) -> Table:
    """(models, 3): rate, l2, l1 of each model, the rates spread first when there are more combinations than models."""
    every = np.array([(rate, l2, l1) for l2, l1, rate in product(settings.l2, settings.l1, settings.rates)])
    return every[: max(1, settings.models)]


def _start(grid: Table, features: int, settings: Settings, rng: np.random.Generator) -> _State:
    weights, bias = np.zeros((len(grid), features, settings.outputs)), np.full((len(grid), settings.outputs), settings.start_bias)
    if settings.start is not None:
        method, size = settings.start
        weights = rng.uniform(-size, size, weights.shape) if method == "uniform" else rng.normal(0, size, weights.shape)
    return _State(weights, bias, [np.zeros_like(weights), np.zeros_like(bias)], [np.zeros_like(weights), np.zeros_like(bias)])


def _step(state: _State, rows: Table, target: Table, row_weights: Table, grid: Table, settings: Settings, shape: Shape, left: float) -> None:
    models, features, outputs = state.weights.shape
    z = Models(state.weights, state.bias).scores(rows)
    turn = slope(settings.loss, z, target, shape)
    turn = (turn * row_weights.reshape(-1, *[1] * (turn.ndim - 1)) / len(rows)).reshape(len(rows), models, outputs)
    by_weight = (rows.T @ turn.reshape(len(rows), -1)).reshape(features, models, outputs).transpose(1, 0, 2)
    by_weight = by_weight + grid[:, 1, None, None] * state.weights
    by_bias = turn.sum(axis=0) + settings.bias_l2 * grid[:, 1, None] * state.bias
    state.step += 1
    rates = grid[:, 0] * (left if settings.decay else 1.0)
    if settings.decay and settings.rate_step:
        rates = np.maximum(grid[:, 0] * settings.rate_factor ** (state.step // settings.rate_step), settings.least_rate)
    moved = _move(state, 0, by_weight, settings) * rates[:, None, None]
    weights = state.weights - moved
    shrink = (rates * grid[:, 2])[:, None, None]
    state.weights = np.sign(weights) * np.maximum(np.abs(weights) - shrink, 0) if grid[:, 2].any() else weights
    if settings.use_bias:
        state.bias = state.bias - _move(state, 1, by_bias, settings) * (rates * settings.bias_rate)[:, None]


def _move(state: _State, which: int, by: Table, settings: Settings) -> Table:
    """The optimizer's direction; `first` and `second` are its running means of the slope and of its square."""
    if settings.optimizer == "sgd":
        state.first[which] = settings.momentum * state.first[which] + by
        return state.first[which]
    if settings.optimizer == "rmsprop":
        state.second[which] = settings.beta_2 * state.second[which] + (1 - settings.beta_2) * by**2
        return by / (np.sqrt(state.second[which]) + 1e-8)
    state.first[which] = settings.beta_1 * state.first[which] + (1 - settings.beta_1) * by
    state.second[which] = settings.beta_2 * state.second[which] + (1 - settings.beta_2) * by**2
    unbiased = state.first[which] / (1 - settings.beta_1**state.step)
    result: Table = unbiased / (np.sqrt(state.second[which] / (1 - settings.beta_2**state.step)) + 1e-8)
    return result


class _Best:
    """Each model as it was when the judging rows liked it most, and how many epochs the best of all has not improved."""

    def __init__(self, state: _State, settings: Settings) -> None:
        self.weights, self.bias = state.weights.copy(), state.bias.copy()
        self.loss = np.full(len(state.weights), np.inf)
        self.waited = 0

    def judge(self, state: _State, judged: tuple[Table, Table], settings: Settings, shape: Shape) -> Table:
        found = _mean_loss(state.weights, state.bias, *judged, settings, shape)
        before = float(self.loss.min())
        better = found < self.loss
        self.loss = np.where(better, found, self.loss)
        self.weights[better], self.bias[better] = state.weights[better], state.bias[better]
        gained = not np.isfinite(before) or before - float(self.loss.min()) > settings.tolerance * abs(before)
        self.waited = 0 if gained else self.waited + 1
        return found


def _mean_loss(weights: Table, bias: Table, rows: Table, target: Table, settings: Settings, shape: Shape) -> Table:
    models, step, total = Models(weights, bias), 20_000, np.zeros(len(weights))
    for first in range(0, len(rows), step):
        z = models.scores(rows[first : first + step])
        total += loss(settings.loss, z, target[first : first + step], shape).sum(axis=0)
    return np.where(np.isfinite(total), total / len(rows), np.inf)


def _restore(weights: Table, bias: Table, shift: Table, scale: Table, label_shift: float, label_scale: float) -> Models:
    """Undo the normalisation, so that a model applies to rows as they come."""
    original = weights / scale[None, :, None]
    return Models(original * label_scale, (bias - np.einsum("d,mdo->mo", shift, original)) * label_scale + label_shift)
