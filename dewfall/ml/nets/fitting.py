"""What training any network needs: optimizers by AWS's names, a patient eye on the loss, batches of row numbers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def optimizer(name: str, parameters: Iterable[Any], rate: float, *, decay: float = 0.0, momentum: float = 0.0, **more: Any) -> Any:
    """An optimizer; `rate` is not used by adadelta, as in the library behind AWS's algorithms.

    more: betas, eps (adam, rmsprop), alpha (rmsprop).
    """
    made: dict[str, Any] = {
        "adam": lambda: torch.optim.Adam(parameters, rate, weight_decay=decay, **_picked(more, "betas", "eps")),
        "adagrad": lambda: torch.optim.Adagrad(parameters, rate, weight_decay=decay),
        "adadelta": lambda: torch.optim.Adadelta(parameters, 1.0, rho=0.9, eps=1e-5, weight_decay=decay),
        "rmsprop": lambda: torch.optim.RMSprop(parameters, rate, weight_decay=decay, momentum=momentum, **_picked(more, "alpha", "eps")),
        "sgd": lambda: torch.optim.SGD(parameters, rate, weight_decay=decay, momentum=momentum),
        "nag": lambda: torch.optim.SGD(parameters, rate, weight_decay=decay, momentum=momentum, nesterov=momentum > 0),
    }
    if name not in made:
        raise ValueError(f"optimizer {name!r} is not one of {', '.join(made)}")
    return made[name]()


def _picked(more: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: more[name] for name in names if name in more}


def batches(rows: int, size: int, rng: np.random.Generator | None = None) -> Iterator[NDArray[np.intp]]:
    """Row numbers in batches, shuffled when a generator is given."""
    order = np.arange(rows) if rng is None else rng.permutation(rows)
    for first in range(0, rows, size):
        yield order[first : first + size]


@dataclass(slots=True)
class Patience:
    """Remembers the best value of a loss (or, with `larger`, of a score) and the weights that had it."""

    epochs: int
    tolerance: float = 0.0
    relative: bool = False
    larger: bool = False
    best: float = field(default=float("inf"))
    since: int = 0
    weights: dict[str, Any] = field(default_factory=dict)

    def ends(self, value: float, network: Any) -> bool:
        """True when `epochs` values in a row were no better than the best by more than the tolerance."""
        loss = -value if self.larger else value
        slack = self.tolerance * abs(self.best) if self.relative and self.best != float("inf") else self.tolerance
        enough = self.best == float("inf") or loss < self.best - slack
        if loss < self.best or not self.weights:
            self.best = min(loss, self.best)
            self.weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self.since = 0 if enough else self.since + 1
        return self.since >= self.epochs

    def restore(self, network: Any) -> None:
        """Put the best weights back."""
        if self.weights:
            network.load_state_dict(self.weights)
