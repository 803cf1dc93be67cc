"""DeepAR: one recurrent network for many series that predicts the distribution of the next value (Salinas et al. 2020).

lags of the series / its scale ┐
calendar, age, own features    ├→ LSTM → parameters of a likelihood → the next value, which is the lag of a later one
embedded categories, log scale ┘
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.distributions import Beta, NegativeBinomial, Normal, StudentT
from torch.nn.functional import softplus

LIKELIHOODS = {"student-T": 3, "gaussian": 2, "negative-binomial": 2, "beta": 2, "deterministic-L1": 1}
EDGE = 1e-3
TINY = 1e-6


class Forecaster(nn.Module):
    """`features` counts calendar, age and own dynamic ones; `cardinality` the categories of each kind."""

    def __init__(
        self,
        *,
        lags: Sequence[int],
        features: int,
        cardinality: Sequence[int],
        embedding: int = 10,
        cells: int = 40,
        layers: int = 2,
        dropout: float = 0.1,
        likelihood: str = "student-T",
    ) -> None:
        super().__init__()
        self.lags, self.likelihood = list(lags), likelihood
        self.embeddings = nn.ModuleList(nn.Embedding(kinds, embedding) for kinds in cardinality)
        width = 2 * len(lags) + features + embedding * len(cardinality) + 1
        self.recurrent = nn.LSTM(width, cells, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.parameters_of = nn.Linear(cells, LIKELIHOODS[likelihood])

    def scale(self, values: Any, seen: Any) -> Any:
        """(n, 1) the mean size of the values that were seen; one for shares."""
        if self.likelihood == "beta":
            return torch.ones_like(values[:, :1])
        size = (values.abs() * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
        return torch.where(size > TINY, size, torch.ones_like(size))

    def inputs(self, past: Any, seen: Any, places: Any, features: Any, static: Any) -> Any:
        """past (n, history) scaled values; places: which steps of it are asked for; features (n, steps, ·); static (n, ·)."""
        back = places[:, None] - torch.tensor(self.lags)[None, :]
        wanted = back.clamp(min=0).reshape(-1)
        shape = (len(past), len(places), len(self.lags))
        there = (back >= 0).float()[None] * seen[:, wanted].reshape(shape)
        return torch.cat([past[:, wanted].reshape(shape) * there, there, features, static[:, None].expand(-1, len(places), -1)], dim=2)

    def static(self, categories: Any, scale: Any) -> Any:
        """(n, ·) embedded categories and the log of the scale."""
        return torch.cat([table(categories[:, place]) for place, table in enumerate(self.embeddings)] + [scale.log()], dim=1)

    def forward(self, inputs: Any, state: Any = None) -> tuple[Any, Any]:
        found, state = self.recurrent(inputs, state)
        return self.parameters_of(self.dropout(found)), state

    def loss(self, raw: Any, target: Any, scale: Any) -> Any:
        """Negative log likelihood (absolute error for deterministic-L1) of unscaled targets, elementwise."""
        if self.likelihood == "deterministic-L1":
            return (raw[..., 0] - target / scale).abs()
        if self.likelihood == "beta":
            return -self.distribution(raw, scale).log_prob(target.clamp(EDGE, 1 - EDGE))
        if self.likelihood == "negative-binomial":
            return -self.distribution(raw, scale).log_prob(target.clamp(min=0).round())
        return -self.distribution(raw, torch.ones_like(scale)).log_prob(target / scale) + scale.log()

    def distribution(self, raw: Any, scale: Any) -> Any:
        """Of the next value, in the units of the series."""
        if self.likelihood == "student-T":
            return StudentT(2 + softplus(raw[..., 2]), raw[..., 0] * scale, (softplus(raw[..., 1]) + TINY) * scale)
        if self.likelihood == "gaussian":
            return Normal(raw[..., 0] * scale, (softplus(raw[..., 1]) + TINY) * scale)
        if self.likelihood == "beta":
            return Beta(softplus(raw[..., 0]) + EDGE, softplus(raw[..., 1]) + EDGE)
        mean, shape = (softplus(raw[..., 0]) + TINY) * scale, (softplus(raw[..., 1]) + TINY) / scale.sqrt()
        return NegativeBinomial(total_count=1 / shape, logits=(mean * shape).log())

    def draw(self, raw: Any, scale: Any) -> Any:
        """A value of each row."""
        return raw[..., 0] * scale if self.likelihood == "deterministic-L1" else self.distribution(raw, scale).sample()


def window_loss(network: Any, batch: dict[str, Any], steps: int) -> Any:
    """Mean loss over the last `steps` values of each window; batch: past, seen (n, history + steps), features, categories."""
    values, seen = batch["values"], batch["seen"]
    scale = network.scale(values[:, : batch["known"]], seen[:, : batch["known"]])
    places = torch.arange(values.shape[1] - steps, values.shape[1])
    raw, _ = network(network.inputs(values / scale, seen, places, batch["features"], network.static(batch["categories"], scale)))
    there = seen[:, places]
    return (network.loss(raw, values[:, places], scale) * there).sum() / there.sum().clamp(min=1)


def sample(network: Any, batch: dict[str, Any], context: int, ahead: int, samples: int) -> Any:
    """(n, samples, ahead) possible futures; batch: values, seen (n, history) that end now, features (n, context + ahead, ·), categories."""
    with torch.no_grad():
        scale = network.scale(batch["values"], batch["seen"])
        static = network.static(batch["categories"], scale)
        past, seen = batch["values"] / scale, batch["seen"]
        now = past.shape[1]
        places = torch.arange(now - context, now)
        _, state = network(network.inputs(past, seen, places, batch["features"][:, :context], static))
        past, seen, scale, static = (part.repeat_interleave(samples, 0) for part in (past, seen, scale, static))
        state = tuple(part.repeat_interleave(samples, 1) for part in state)
        coming = batch["features"][:, context:].repeat_interleave(samples, 0)
        for step in range(ahead):
            asked = network.inputs(past, seen, torch.tensor([now + step]), coming[:, step : step + 1], static)
            raw, state = network(asked, state)
            drawn = network.draw(raw[:, 0], scale[:, 0])[:, None]
            past, seen = torch.cat([past, drawn / scale], 1), torch.cat([seen, torch.ones_like(drawn)], 1)
        return (past[:, now:] * scale).reshape(-1, samples, ahead)
